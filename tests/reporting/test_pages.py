"""How pages are put together."""

from dataclasses import fields
from typing import Any

from replication.cascade import AS_RELEASED, VALIDATED, Protocol
from replication.reporting.pages import HABITS, Page, Part, index_page
from replication.reporting.provenance import FOLDED
from replication.reporting.rendering import settings_sentence
from tests.reporting.made import measurement, record


def part(name: str, **changes: Any) -> Part:
    plain = {
        "name": name,
        "data": "stand-in",
        "finding": f"Of {name}.",
        "text": f"> Data.\n\n# {name}\n",
        "runs": [record("prepare@x")],
        "command": "dvc repro",
    }
    return Part(**plain | changes)


def test_each_part_has_its_text_its_runs_and_a_line_of_the_index() -> None:
    page = Page("made.md", [part("First"), part("Second")])
    first, second = page.text.split("\n---\n\n")
    assert first.startswith("> Data.\n\n# First\n\n" + FOLDED)
    assert second.startswith("> Data.\n\n# Second\n\n" + FOLDED)
    assert page.text.endswith("</details>\n")
    lines = index_page([page, Page("none.md", [])], [], [], []).splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- **[First](made.md)** (stand-in). Of First.",
        "- **[Second](made.md)** (stand-in). Of Second.",
    ]


def test_runs_that_disagree_are_said_at_the_top_and_in_the_index() -> None:
    """Below the line about the data, where there is one."""
    runs = [record("dlsa@x", clean=False)]
    page = Page("made.md", [part("First", runs=runs)])
    warning = "> **Warning.** Uncommitted code ran in dlsa@x.\n\n# First"
    assert page.text.startswith(f"> Data.\n\n{warning}")
    assert "Of First. **See the warning at its top.**" in index_page([page], [], [], [])
    bare = Page("made.md", [part("First", runs=runs, text="# First\n\nText.")])
    assert bare.text.startswith(warning)


def test_notes_on_the_input_stand_at_the_top_of_the_page_and_in_the_index() -> None:
    page = Page("made.md", [part("First", notes=["Half is missing.", "The rest too."])])
    note = "> **Of the input.** Half is missing. The rest too."
    assert page.text.startswith(f"> Data.\n\n{note}\n\n# First")
    assert "Of First. **See the warning at its top.**" in index_page([page], [], [], [])


def test_the_settings_behind_a_part_are_said_and_are_no_warning() -> None:
    settings = settings_sentence(measurement().about)
    page = Page("made.md", [part("First", settings=settings)])
    assert page.text.startswith(
        "> Data.\n\n> **Settings.** *Scaled*: ImageNet-LT's, at the size of this data; "
        "41 of 74 that stand behind this page are guesses, where no source has a value."
    )
    assert "warning" not in index_page([page], [], [], [])


def test_a_part_on_dlsa_says_which_epochs_of_its_filters_were_kept() -> None:
    """Depth by depth; once for the seeds that agree."""
    kept = {"validated": [[50, 50], [50, 50]], "as_released": [[3, 1], [1, 1]]}
    about = measurement().about | {"filter": {"epochs": 50}, "epochs_kept": kept}
    assert settings_sentence(about).endswith(
        "Epochs of the Flow Filters that were kept, by depth, of 50: *validated* "
        "50/50; *as released* 3/1, 1/1."
    )


def test_the_index_leads_with_headlines_and_has_none_on_the_stand_in() -> None:
    page = Page("made.md", [part("First")])
    text = index_page([page], ["**X**: helps."], ["**Y**: hurts."], ["MCC."])
    assert text.index("- **X**") < text.index("as they stand") < text.index("- **Y**")
    assert text.index("- MCC.") < text.index("[First](made.md)")
    nothing = index_page([page], [], [], [])
    assert "says nothing about the paper" in nothing
    assert "as they stand" not in nothing and "Of print" not in nothing


def test_habits_of_the_released_code_are_counted_by_the_protocol() -> None:
    """One word on each field in which the protocols can differ, and all of them do."""
    habits = {field.name for field in fields(Protocol)} - {"key"}
    assert HABITS.keys() == habits
    assert all(getattr(VALIDATED, h) != getattr(AS_RELEASED, h) for h in habits)
    text = index_page([], [], [], [])
    assert f"has {len(habits)} habits" in text
    assert all(words in text for words in HABITS.values())
