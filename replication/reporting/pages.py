"""How a page is put together: its sections' text, warnings, the runs behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from replication.reporting.provenance import Run, disagreements, origin
from replication.reporting.rendering import render, warned


@dataclass(frozen=True)
class Part:
    """What a page shows of one benchmark, or of none; a line of the index.

    Fields: `name` in the index; `data` and `finding` in words; `text`, Markdown;
    `runs`, the run records behind it; `command` that makes it again; `data_hash`, None
    where no data is behind it; `figures` by path below reports/.
    """

    name: str
    data: str
    finding: str
    text: str
    runs: Sequence[Run]
    command: str
    data_hash: str | None = None
    figures: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What keeps the runs behind it from being one run."""
        return disagreements(self.runs)

    def with_origin(self) -> str:
        """Its text, with warnings at the top and the folded block at the end."""
        block = origin(self.runs, self.command, self.data_hash)
        return f"{warned(self.text, self.warnings).rstrip()}\n\n{block}\n"


@dataclass(frozen=True)
class Page:
    """A page: its file below reports/, and a part a benchmark."""

    file: str
    parts: Sequence[Part]

    @property
    def text(self) -> str:
        """Markdown."""
        return "\n---\n\n".join(part.with_origin() for part in self.parts)

    def entries(self) -> Iterable[Mapping[str, str]]:
        """Lines of the index; they send a reader to a warning, and do not repeat it."""
        for part in self.parts:
            mark = " **See the warning at its top.**" if part.warnings else ""
            yield {
                "name": part.name,
                "link": self.file,
                "data": part.data,
                "finding": part.finding + mark,
            }


def index_page(pages: Iterable[Page]) -> str:
    """reports/README.md: every page with its data and its finding."""
    entries = [entry for page in pages for entry in page.entries()]
    return render("reporting/templates/README.md.j2", entries=entries)
