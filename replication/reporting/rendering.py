"""What every page shares: its template, and the words on its data."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from replication.reporting.tables import METRIC_NAMES, PROTOCOL_NAMES
from replication.samples.shots import SHOT_GROUPS
from replication.statistics.results import Measurement

_RECIPES = {
    "published": "*Published*: the paper's for this benchmark",
    "scaled": "*Scaled*: ImageNet-LT's, fitted to the size of this data",
    "verbatim": "*Verbatim*: ImageNet-LT's as they stand, on data of another size",
}
# Spaces inside a number and its interval, range or percent sign: no line ends there.
_HELD = re.compile(
    r"(?<=\d) (?=[±%]|to \d)|(?<=±) (?=\d)|(?<=\d to) (?=\d)|(?<=\d,) (?=\S+\d\])"
)
_LINK = re.compile(  # words with brackets in them too: E[x]
    r"\[(?P<words>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<file>\w+\.md)(?P<place>[^)]*)\)"
)


# What DLSA starts from.
HEADS = {
    "own_head": "the network's own head, as PaCo trained it",
    "balanced_softmax": "a Balanced Softmax head fitted to the features",
}
HOW_JUDGED = (
    "*Supported*: the 95 % interval lies above zero. *Contradicted*: below it. "
    "*Undecided*: zero is inside. *Undecided after correction*: zero is outside, but "
    "would be inside if all tests of this run were judged at once (Holm's p-value is "
    "5 % or more)."
)


def section_page(
    measured: Measurement, title: str, of_paper: str | None, **values: Any
) -> str:
    """A section's page: what each says of its data, then what is its own."""
    data = measured.data
    return render(
        f"sections/{measured.section}/page.md.j2",
        notice=notice(data, title, of_paper),
        title=title + " (stand-in)" * data["stand_in"],
        stand_in=data["stand_in"],
        about=measured.about,
        details=measured.details,
        how_judged=HOW_JUDGED,
        data_sentence=data_sentence(data),
        **values,
    )


def unless_published(measured: Measurement) -> str | None:
    """For `section_page`, where the paper has settings for its own benchmarks alone."""
    known = measured.data["stand_in"] or measured.about["recipe"] == "published"
    return None if known else "benchmarks"


def covered(seeds: Sequence[str | int]) -> str:
    """What an interval covers, in words."""
    if len(seeds) == 1:
        return f"test images alone: there is one seed, {seeds[0]}"
    return f"seeds ({', '.join(map(str, seeds))}) and test images together"


def render(template: str, **values: Any) -> str:
    """Fill a template, named from the package on; a missing value is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(**values)


def relinked(
    text: str, page: Path, pages: Collection[Path], folders: Iterable[Path]
) -> str:
    """A page's text with every link to another page where that one is.

    A page that is not in this one's folder is looked for in others; a link to one that
    is nowhere becomes plain text. No line ends inside a number with its interval.
    """

    def found(link: re.Match[str]) -> str:
        for folder in (page.parent, *folders):
            if folder / link["file"] in pages:
                way = os.path.relpath(folder / link["file"], page.parent)
                return f"[{link['words']}]({way}{link['place']})"
        return link["words"]

    return _HELD.sub("\N{NO-BREAK SPACE}", _LINK.sub(found, text))


def notice(data: Mapping[str, Any], title: str, paper_data: str | None) -> str:
    """The first line of a page: what its numbers are about.

    `paper_data`: what the paper's are made from, in words; None: from this benchmark.
    """
    if data["stand_in"]:
        return (
            f"> **Stand-in data.** Drawn glyphs in place of {title}: the numbers say "
            "nothing about the paper's. They show that everything runs, and what its "
            "pages look like."
        )
    if paper_data is None:
        return f"> **{title}**, the paper's own benchmark."
    return (
        f"> **{title}**, not the paper's {paper_data}: a verdict here is about this "
        "data, backbone and budget."
    )


def settings_sentence(about: Mapping[str, Any]) -> str:
    """Whose the settings behind a page are, and for how many no source has a value.

    `about`: facts of the artefacts behind it, Flow Filters among them or not.
    """
    guesses = about["guesses"]
    kept = f" {epochs_sentence(about)}" if "epochs_kept" in about else ""
    return (
        f"{_RECIPES[about['recipe']]}. No source names a value for {guesses['count']} "
        f"of the {guesses['of']} settings behind this page." + kept
    )


def epochs_sentence(about: Mapping[str, Any]) -> str:
    """Which epochs of the Flow Filters were kept: `50/48/50`, depth by depth.

    Once for all seeds where they agree.
    """
    words = []
    for protocol, name in PROTOCOL_NAMES.items():
        seeds = ("/".join(map(str, of)) for of in about["epochs_kept"][protocol])
        words.append(f"*{name}* {', '.join(dict.fromkeys(seeds))}")
    return (
        f"Epoch kept of each Flow Filter, of {about['filter']['epochs']}, depth by "
        f"depth: {'; '.join(words)}."
    )


def data_sentence(data: Mapping[str, Any]) -> str:
    """How many classes and images, and how uneven."""
    groups, images = data["shot_groups"], data["images"]
    named = ", ".join(f"{groups[name]} {METRIC_NAMES[name]}" for name in SHOT_GROUPS)
    return (
        f"{data['classes']} classes ({named}), {images['train']:,} training images "
        f"({data['largest']} of the largest class, {data['smallest']} of the "
        "smallest), "
        f"{images['val']:,} for validation, {images['test']:,} for testing."
    )
