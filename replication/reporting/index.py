"""reports/README.md: what was found, one scoreboard, a few words, the way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from replication.published.reader import PublishedTable, Sentence
from replication.reporting.headlines import ASKED
from replication.reporting.pages import HABITS, Page
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    bold,
    data_of,
    in_unit,
    markdown_table,
    percent,
    points,
    shown,
)
from replication.statistics.claims import by_sentence, overall
from replication.statistics.results import GRADES, Cell, Claim

# The way through the pages: a heading, and the pages below it by name.
WAY = {
    "First": ("evidence", "ladder", "audit"),
    "The supplement, section by section": (
        *("separation", "estimator", "sigma", "confusion", "settings"),
        *("table1", "table2"),
    ),
    "More": ("diagnosis", "claims", "discrepancies", "reproducibility"),
}
ELSEWHERE = "On the stand-in"
_ORDER = [name for names in WAY.values() for name in names]
_HEADER = ["Question or sentence", "Printed", "Measured", "Data", "Verdict", "Page"]
_NONE = "—"


def index_page(
    pages: Iterable[Page],
    evidence: str,
    of_print: Sequence[str],
    scoreboard: str,
    what_moved: str = "",
) -> str:
    """The index, of what its parts have in words; `what_moved` is empty for nothing."""
    headings = {name: heading for heading, names in WAY.items() for name in names}
    way: dict[str, list[str]] = {heading: [] for heading in (*WAY, ELSEWHERE)}
    for page in sorted(pages, key=lambda page: _place(page.file)):
        heading = headings.get(page.file.removesuffix(".md"), ELSEWHERE)
        for part in page.parts:
            mark = " ⚠" if part.must_be_known() else ""
            way[heading].append(f"[{part.name}]({page.file}){mark}")
    return render(
        "reporting/templates/README.md.j2",
        evidence=evidence,
        of_print=of_print,
        scoreboard=scoreboard,
        what_moved=what_moved,
        habits=HABITS,
        way={heading: links for heading, links in way.items() if links},
        marked=any("⚠" in link for links in way.values() for link in links),
    )


def stand_in_page(pages: Iterable[Page], what_moved: str) -> str:
    """What the stand-in is for, and its pages; `what_moved` as on the index."""
    return render(
        "reporting/templates/stand_in.md.j2",
        what_moved=what_moved,
        links=[
            f"[{part.name}]({page.file.rpartition('/')[2]})"
            for page in pages
            for part in page.parts
        ],
    )


def _place(file: str) -> tuple[int, str]:
    """Of a page on the way."""
    name = file.removesuffix(".md")
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name


# ---- The scoreboard ---------------------------------------------------------------


def scoreboard(
    sentences: Sequence[Sentence],
    claims: Sequence[Claim],
    cells: Iterable[Cell],
    tables: Mapping[str, PublishedTable],
    titles: Mapping[str | None, str],
) -> str:
    """A row a question, sentence or printed number; findings before algebra.

    A sentence is shown on the best data at hand: never on the stand-in. Claims and
    cells are of all sections and benchmarks, as `corrected` leaves them.
    """
    board = _Board(tables, titles)
    by_quote, _ = by_sentence(sentences, claims)
    rows = [*board.does_it_help(claims), *board.printed_numbers(cells)]
    on_data, of_print, algebra, silent = [], [], {}, []
    for sentence, tests in by_quote.items():
        words = overall(sentence, tests)
        on = [grade for grade in GRADES[:3] if grade in words]
        if on:
            on_data += board.on_data(sentence, tests, on[0], words)
        if (word := words.get("none needed")) == "supported":
            claim = _deciding(tests, "none needed", word)
            algebra.setdefault(claim.section, []).append(sentence.short)
        elif word:
            claim = _deciding(tests, "none needed", word)
            given = sentence.short, sentence.printed, claim, claim.verdict
            of_print.append(board.row(*given))
        if not on and not word:
            label = sentence.short or sentence.quote
            printed = sentence.printed or _NONE
            silent.append([label, printed, _NONE, _NONE, "not run", _NONE])
    of_print.sort(key=lambda row: "**" not in row[4])  # what is decided first
    holds = [  # without any data: a row a page
        [
            *(", ".join(shorts), _NONE, "all hold" if shorts[1:] else "holds"),
            *("none needed", "**supported**", f"[{section}]({section}.md)"),
        ]
        for section, shorts in algebra.items()
    ]
    rows += [*of_print, *on_data, *holds, *silent]
    data = {row[3] for row in rows} - {"none needed", _NONE}
    said = ""
    if len(data) == 1:  # the same in every row: once, below
        said = f"\n\n*This run's* data: {data.pop()}."
        for row in rows:
            row[3] = row[3] if row[3] in ("none needed", _NONE) else "this run's"
    return markdown_table(_HEADER, rows, words=len(_HEADER)) + said


@dataclass(frozen=True)
class _Board:
    """Rows of the scoreboard, by printed tables and titles of benchmarks."""

    tables: Mapping[str, PublishedTable]
    titles: Mapping[str | None, str]

    def row(self, label: str, printed: str, claim: Claim, word: str) -> list[str]:
        """A claim with the word for it."""
        return [
            label.rstrip("."),
            printed or _NONE,
            in_unit(claim).removesuffix(" points"),
            data_of(claim, self.titles),
            bold(word),
            f"[{claim.section}]({claim.section}.md)",
        ]

    def does_it_help(self, claims: Iterable[Claim]) -> Iterator[list[str]]:
        """DLSA minus what it is compared with: on the best grade, Table 2 first."""
        asked = [c for c in claims if c.id in ASKED and c.grade in GRADES[:3]]
        asked.sort(key=lambda c: (GRADES.index(c.grade), c.section != "table2"))
        for protocol, name in PROTOCOL_NAMES.items():
            under = "" if protocol == "validated" else f", *{name}*"
            for claim in asked:
                best = asked[0].section, asked[0].benchmark, protocol
                if (claim.section, claim.benchmark, claim.protocol) == best:
                    printed = self.printed_difference(claim.id)
                    label = f"DLSA is better than {ASKED[claim.id]}{under}"
                    yield self.row(label, printed, claim, claim.verdict)

    def printed_numbers(self, cells: Iterable[Cell]) -> list[list[str]]:
        """Overall of DLSA's own rows, on the paper's own benchmark."""
        return [
            [
                f"Overall of {cell.label}, %",
                percent(cell.printed),
                shown(cell),
                self.titles[cell.benchmark],
                cell.verdict or _NONE,
                f"[{cell.section}]({cell.section}.md)",
            ]
            for cell in cells
            if cell.method in ("paco_dlsa", "full")
            and cell.metric == "overall"
            and (cell.protocol, cell.minus) == ("validated", None)
            and cell.printed is not None
            and cell.data != "stand-in"
        ]

    def on_data(
        self,
        sentence: Sentence,
        tests: Sequence[Claim],
        grade: str,
        words: Mapping[str, str],
    ) -> list[list[str]]:
        """A row; one a test where each has a printed number of its own."""
        asked = _asked(tests, grade)
        printed = [self.printed_difference(claim.id) for claim in asked]
        if sentence.quantifier == "every" and all(printed):
            return [
                self.row(claim.statement, number, claim, claim.verdict)
                for claim, number in zip(asked, printed, strict=True)
            ]
        claim = _deciding(tests, grade, words[grade])
        label = sentence.short
        if not label or "none needed" in words:  # its algebra has a row of its own
            label = claim.statement
        elif sentence.quantifier == "every":
            label += f" ({claim.test.partition(',')[0]})"
        return [self.row(label, sentence.printed, claim, words[grade])]

    def printed_difference(self, test: str) -> str:
        """What print has for a difference in Overall, in points; empty: nothing."""
        table, more, less = "table2", "full", test.removeprefix("drop_")
        if test == "gain_overall":
            table, more, less = "table1", "paco_dlsa", "paco"
        rows = self.tables[table].rows
        if less not in rows:
            return ""
        gap = rows[more].values["overall"] - rows[less].values["overall"]
        return points(gap / 100)


def _asked(tests: Iterable[Claim], grade: str) -> list[Claim]:
    """Tests that the word for a sentence rests on, of its first benchmark."""
    asked = [
        claim
        for claim in tests
        if claim.grade == grade
        and claim.protocol in (None, "validated")
        and claim.verdict != "not run"
    ]
    return [claim for claim in asked if claim.benchmark == asked[0].benchmark]


def _deciding(tests: Iterable[Claim], grade: str, word: str) -> Claim:
    """The first test whose verdict begins as the word for its sentence."""
    asked = _asked(tests, grade)
    like = [claim for claim in asked if claim.verdict.startswith(word.split()[0])]
    return (like or asked)[0]
