"""How a page is put together: its sections' text, warnings, the runs behind it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from replication.reporting.provenance import Run, disagreements, origin

# What protocol `as_released` does otherwise than `validated`: a word on each field of
# `protocols.Protocol`, so that pages count them alike.
HABITS = {
    "filter_epoch": "keeps a filter's purest epoch and not its last",
    "chosen_on": "keeps each classifier's best epoch **on the test set**",
    "latents": "feeds x once more in place of the flow's z",
    "rest_twice": "gives the last classifier x twice",
    "removed_count": "counts samples already removed, in cluster frequencies and in "
    "the last classifier's prior",
}

STAND_IN = "stand_in/"  # pages on drawn glyphs, below reports/


_SHARE = re.compile(
    r"(?:^|: )([\d,]+) of ([\d,]+) "
)  # `4 of 10,000 test samples are ...`
_LITTLE = 0.001  # of the samples: less than a tenth of a point of accuracy


def _matters(note: str) -> bool:
    """Whether a note or doubt is about more than a few samples."""
    if not (share := _SHARE.search(note)):
        return True
    some, of = (int(number.replace(",", "")) for number in share.groups())
    return some > _LITTLE * of


@dataclass(frozen=True)
class Part:
    """What a page shows of one benchmark, or of none; a line of the index.

    Fields: `name` in the index; `text`, Markdown; `runs`, the run records behind it;
    `command` that makes it again; `data_hash`, None where no data is behind it;
    `figures` by path from the page's folder; `notes` on its input, and those `doubts`
    that make its numbers partial; `settings`, whose they are, in words: empty where
    none are behind it.
    """

    name: str
    text: str
    runs: Sequence[Run]
    command: str
    data_hash: str | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    doubts: Sequence[str] = ()
    settings: str = ""

    def must_be_known(self) -> bool:
        """Whether what stands above its numbers may change them by more than noise."""
        return bool(disagreements(self.runs)) or any(map(_matters, self.doubts))

    def warnings(self) -> list[str]:
        """What a reader must beware of, in a few words each; the rest is folded."""
        notes = filter(_matters, self.notes)
        notes = (note.partition(", the first")[0].rstrip(".") for note in notes)
        said = {"Warning": [*disagreements(self.runs)], "In the data": [*notes]}
        return [f"**{what}.** {'. '.join(of)}." for what, of in said.items() if of]

    def above(self) -> str:
        """What a reader must know first, a line each in one block; empty: nothing."""
        settings = [f"**Settings.** {self.settings}"] if self.settings else []
        return "<br>\n".join(f"> {line}" for line in (*settings, *self.warnings()))

    def whole(self) -> str:
        """Its text: what it rests on below its finding, its runs at its end.

        A finding is the first paragraph below the title.
        """
        title, found, finding = self.text.strip().partition("\n\n")
        while not title.splitlines()[-1].startswith("# ") and found:
            more, found, finding = finding.partition("\n\n")
            title = f"{title}\n\n{more}"
        finding, _, rest = finding.partition("\n\n")
        text = "\n\n".join(filter(None, (title, finding, self.above(), rest)))
        behind = origin(self.runs, self.command, self.data_hash, self.notes)
        return f"{text}\n\n{behind}\n"


@dataclass(frozen=True)
class Page:
    """A page: its file below reports/, and a part a benchmark."""

    file: str
    parts: Sequence[Part]

    @property
    def text(self) -> str:
        """Markdown."""
        return "\n---\n\n".join(part.whole() for part in self.parts)
