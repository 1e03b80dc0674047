"""Does DLSA help? Every run on real data, this one and the kept ones, on one page."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from replication.published.reader import PublishedTable
from replication.reporting.figures import DLSA_COLOUR, STYLE, interval_panel, svg_text
from replication.reporting.headlines import ASKED, OF_HEADLINES, answers
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    points,
    shown,
)
from replication.statistics.results import Cell, Claim, Grade, pick

# Rows of Table 2 -> the claim that asks about the difference.
COMPARED = {
    "start": "gain_overall",
    "plain": "cascade_helps",
    "balanced_softmax": "over_refitted",
}
_TITLES = {
    "start": "minus its head",
    "plain": "minus a plain classifier\nof equal budget",
    "balanced_softmax": "minus Balanced Softmax\nrefitted",
}
_MARKS = {"validated": (-0.14, "o", DLSA_COLOUR), "as_released": (0.14, "s", "#D55E00")}


@dataclass(frozen=True)
class RealRun:
    """A run on real data.

    Fields: `title` of the benchmark; `features` in words; `grade` of evidence; `link`
    to its pages; `cells` and `claims` of Table 2.
    """

    title: str
    features: str
    grade: Grade
    link: str
    cells: Sequence[Cell]
    claims: Sequence[Claim]

    def gap(self, minus: str, protocol: str) -> Cell | None:
        """DLSA minus another row in Overall."""
        where = {"minus": minus, "protocol": protocol, "metric": "overall"}
        return pick(self.cells, **where)

    def value(self, method: str, protocol: str) -> Cell | None:
        """Overall of a row."""
        where = {"method": method, "protocol": protocol, "metric": "overall"}
        return pick(self.cells, minus=None, **where)


def evidence_page(
    runs: Sequence[RealRun], print_table: PublishedTable, folder: str
) -> tuple[str, dict[str, str]]:
    """Markdown, and its figure by file name.

    Args:
        print_table: Table 1 as printed: its gain stands beside ours.
        folder: of the figure, relative to the page.
    """
    rows = print_table.rows
    printed = (
        rows["paco_dlsa"].values["overall"] - rows["paco"].values["overall"]
    ) / 100
    text = render(
        "reporting/templates/evidence.md.j2",
        finding=finding(runs),
        figure=f"{folder}/differences.svg" if runs else None,
        table=evidence_table(runs),
        conclusions=[conclusion(run) for run in runs],
        printed=points(printed),
        place=print_table.section,
    )
    return text, {"differences.svg": evidence_figure(runs, printed)} if runs else {}


def finding(runs: Sequence[RealRun]) -> str:
    """How often DLSA is shown to gain or to lose, by rule, protocol *validated*."""
    counted = [run for run in runs if run.grade in OF_HEADLINES]
    if not counted:
        return "No run on real data, with settings made for it, is there yet."
    words = []
    for test in COMPARED.values():
        verdicts = _verdicts(counted, test)
        words.append(
            f"better than {ASKED[test]} in {verdicts.count('supported')}, worse in "
            f"{verdicts.count('contradicted')}"
        )
    runs_in_words = f"{len(counted)} run{'s' if len(counted) > 1 else ''}"
    return (
        f"In {runs_in_words} on real data, with settings made for it, nothing chosen "
        "on test data and all tests judged at once, DLSA is shown to be "
        f"{'; '.join(words)}."
    )


def conclusion(run: RealRun) -> str:
    """What a run found, in a line."""
    said = " ".join(
        f"*{name}*: {words}." for name, words in answers(run.claims).items()
    )
    return f"[{run.title}]({run.link}), {run.features} ({run.grade}). {said}"


def evidence_table(runs: Sequence[RealRun]) -> str:
    """A row a run and protocol: accuracies, and the paired differences."""
    header = ["Run", "Evidence", "Protocol", "Its head", "DLSA"]
    header += [f"DLSA {title}".replace("\n", " ") for title in _TITLES.values()]
    body = []
    for run in runs:
        for protocol, words in PROTOCOL_NAMES.items():
            values = [run.value(method, protocol) for method in ("start", "full")]
            gaps = [run.gap(minus, protocol) for minus in COMPARED]
            body.append(
                [
                    *(f"[{run.title}]({run.link})", run.grade, words),
                    *(shown(cell) if cell else "not run" for cell in values),
                    *(emphasised(cell) if cell else "not run" for cell in gaps),
                ]
            )
    return markdown_table(header, body, words=3) if runs else ""


def evidence_figure(runs: Sequence[RealRun], printed: float) -> str:
    """Paired differences: a panel a comparison, a row a run, print's gain below."""
    labels = [f"{run.title}\n({run.grade})" for run in runs]
    with matplotlib.rc_context(STYLE):
        size = (9.2, 1.5 + 0.6 * (len(runs) + 1))
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        panels = figure.subplots(1, len(COMPARED), sharex=True, sharey=True)
        for axes, minus in zip(panels, COMPARED, strict=True):
            for protocol, (shift, marker, colour) in _MARKS.items():
                gaps = [run.gap(minus, protocol) for run in runs]
                rows = list(zip(labels, gaps, [colour] * len(runs), strict=True))
                interval_panel(axes, rows, False, shift, marker)
            axes.set_title(_TITLES[minus])
            axes.set_xlabel("points of Overall")
            axes.set_ylim(len(runs) + 0.5, -0.5)
        panels[0].plot(
            *(100 * printed, len(runs), "D"), color="#444444", fillstyle="none"
        )
        panels[0].set_yticks(range(len(runs) + 1), [*labels, "printed: iNat18"])
        for protocol, (_, marker, colour) in _MARKS.items():
            panels[0].plot([], [], marker, color=colour, label=PROTOCOL_NAMES[protocol])
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        figure.suptitle(_figure_title(runs), x=0.01, ha="left", fontweight="bold")
        return svg_text(figure)


def _figure_title(runs: Sequence[RealRun]) -> str:
    verdicts = _verdicts(runs, COMPARED["plain"])
    above, below = (verdicts.count(word) for word in ("supported", "contradicted"))
    return (
        "Beside a plain classifier of equal budget DLSA is shown better in "
        f"{above} of {len(verdicts)} runs, worse in {below}"
    )


def _verdicts(runs: Sequence[RealRun], test: str) -> list[str]:
    """Of a claim in each run, protocol *validated*, all tests judged at once."""
    return [
        claim.verdict
        for run in runs
        for claim in run.claims
        if claim.id == test and claim.protocol == "validated"
    ]
