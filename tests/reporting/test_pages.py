"""How pages are put together."""

from typing import Any

from replication.reporting.pages import Page, Part
from replication.reporting.provenance import FOLDED
from replication.reporting.rendering import settings_sentence
from tests.reporting.made import measurement, record


def part(name: str, **changes: Any) -> Part:
    plain = {
        "name": name,
        "text": f"> Data.\n\n# {name}\n\nFound.\n\nThe rest.\n",
        "runs": [record("prepare@x")],
        "command": "dvc repro",
    }
    return Part(**plain | changes)


def test_each_part_has_its_text_and_its_runs() -> None:
    page = Page("made.md", [part("First"), part("Second")])
    first, second = page.text.split("\n---\n\n")
    assert first.startswith("> Data.\n\n# First\n\nFound.\n\nThe rest.\n\n" + FOLDED)
    assert second.startswith("> Data.\n\n# Second\n\nFound.\n\nThe rest.\n\n" + FOLDED)
    assert page.text.endswith("</details>\n")


def test_what_to_beware_of_stands_below_the_finding() -> None:
    """Of runs that disagree, and of the input; which and where is said at the end."""
    runs = [record("dlsa@x", clean=False)]
    notes = ["Half is missing, the first a.", "The rest too."]
    few = "X: 4 of 10,000 test samples are training samples too."
    warned = part("First", runs=runs, notes=[*notes, few])
    warning = (
        "> **Warning.** Uncommitted code ran.<br>\n"
        "> **In the data.** Half is missing. The rest too.\n\nThe rest."
    )
    assert warned.whole().startswith(f"> Data.\n\n# First\n\nFound.\n\n{warning}")
    bare = part("First", runs=runs, notes=notes, text="# First\n\nFound.\n\nThe rest.")
    assert bare.whole().startswith(f"# First\n\nFound.\n\n{warning}")
    behind = warned.whole().split(FOLDED)[1]
    for said in ("Uncommitted code ran in dlsa@x.", *notes, few):
        assert f"\n- {said}\n" in behind
    assert warned.warnings() and not part("First").warnings()


def test_the_settings_behind_a_part_are_said_and_are_no_warning() -> None:
    settings = settings_sentence(measurement().about)
    made = part("First", settings=settings)
    assert made.whole().startswith(
        "> Data.\n\n# First\n\nFound.\n\n"
        "> **Settings.** *Scaled*: ImageNet-LT's, fitted to the size of this data. "
        "No source names a value for 41 of the 74 settings behind this page."
    )
    assert not made.warnings()


def test_a_part_on_dlsa_says_which_epochs_of_its_filters_were_kept() -> None:
    """Depth by depth; once for the seeds that agree."""
    kept = {"validated": [[50, 50], [50, 50]], "as_released": [[3, 1], [1, 1]]}
    about = measurement().about | {"filter": {"epochs": 50}, "epochs_kept": kept}
    assert settings_sentence(about).endswith(
        "Epoch kept of each Flow Filter, of 50, depth by depth: *validated* 50/50; "
        "*as released* 3/1, 1/1."
    )
