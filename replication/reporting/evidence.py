"""Does DLSA help? Every run on real data, this one and the kept ones, on one page."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from replication.published.reader import PublishedTable
from replication.reporting.figures import (
    MARKS,
    finished,
    interval_panel,
    panels,
    styled,
)
from replication.reporting.headlines import ASKED, OF_HEADLINES, answers
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    points,
    shown,
)
from replication.statistics.intervals import over_seeds
from replication.statistics.results import Cell, Claim, Grade, estimated, pick
from replication.statistics.verdicts import after_holm, holm, judged

# Rows of Table 2 -> the claim that asks about the difference.
COMPARED = {
    "start": "gain_overall",
    "plain": "cascade_helps",
    "balanced_softmax": "over_refitted",
}
# Table 1's rows of that kind.
_IN_TABLE_1 = {
    "paco_dlsa": "full",
    "paco": "start",
    "paco_plain": "plain",
    "paco_refit": "balanced_softmax",
}
# Sections and settings of params.yaml that are DLSA's own.
OF_DLSA = {
    *("lambda_mle", "lambda_bal", "lambda_pure", "num_clusters", "sigma"),
    *("filter", "cascade", "classifier"),
}
_CHANCE = 0.5  # AUROC of a filter that knows nothing
_TITLES = {
    "start": "minus its head",
    "plain": "minus a plain classifier\nof equal budget",
    "balanced_softmax": "minus Balanced\nSoftmax refitted",
}


@dataclass(frozen=True)
class RealRun:
    """A run on real data.

    Fields: `title` of the benchmark; `features` in words; `grade` of evidence; `link`
    to its pages; `cells` and `claims` of Table 2, or of Table 1 where it has no other,
    by Table 2's rows; `filters`, cells of its ladder; `changed`, its settings that are
    not the recipe's; `backbone`, the seed of its network's training; of a kept
    run its whole `params` and the `source` of its features.
    """

    title: str
    features: str
    grade: Grade
    link: str
    cells: Sequence[Cell]
    claims: Sequence[Claim]
    filters: Sequence[Cell] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)
    backbone: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def of(
        cls,
        benchmark: str,
        cells: Iterable[Cell],
        claims: Iterable[Claim],
        **about: Any,
    ) -> Self:
        """By all Cells and Claims that there are; `about`: the other fields."""
        cells = [cell for cell in cells if cell.benchmark == benchmark]
        measured = {cell.section for cell in cells}
        table = "table2" if "table2" in measured else "table1"
        rows = [
            replace(
                cell,
                method=_IN_TABLE_1.get(cell.method, cell.method),
                minus=_IN_TABLE_1.get(cell.minus, cell.minus),
            )
            for cell in cells
            if cell.section == table
        ]
        asked = [c for c in claims if (c.benchmark, c.section) == (benchmark, table)]
        filters = [cell for cell in cells if cell.section == "ladder"]
        return cls(cells=rows, claims=asked, filters=filters, **about)

    @property
    def name(self) -> str:
        """Data and network, which tell runs apart: `PlanktonSet, resnet50, frozen`."""
        network = self.features.removeprefix("a ").split()[0].strip(",")
        frozen = ", frozen" if ", frozen" in self.features else ""
        again = f", seed {self.backbone}" if self.backbone else ""
        return f"{self.title}, {network}{frozen}{again}"

    @property
    def settings(self) -> str:
        """Whose the settings are; which of DLSA's are others; how many seeds."""
        said = [self.grade.removeprefix("real data, ")]
        said += [
            f"{key} {value}"
            for key, value in self.changed.items()
            if key.split(".")[0] in OF_DLSA
        ]
        return ", ".join([*said, f"{self.seeds} seeds"] if self.seeds else said)

    @property
    def seeds(self) -> int:
        """How many there are; 0 where DLSA was not measured."""
        full = self.value("full")
        return len(full.per_seed) if full else 0

    def auroc(self, split: str, protocol: str = "validated") -> Cell | None:
        """Of the first filter's log P(x), Few against Many, on a split."""
        at = {"metric": "auroc", "at": f"depth 1, {split}", "minus": None}
        cell = pick(self.filters, protocol=protocol, **at)
        return cell if cell and cell.low is not None else None

    @property
    def separates(self) -> bool:
        """Whether its first filter ranks Few above Many where it was fitted."""
        train = self.auroc("train")
        return train is None or train.low > _CHANCE

    def gap(self, minus: str, protocol: str) -> Cell | None:
        """DLSA minus another row in Overall."""
        wanted = {"method": "full", "minus": minus, "metric": "overall"}
        return pick(self.cells, protocol=protocol, **wanted)

    def value(self, method: str, protocol: str = "validated") -> Cell | None:
        """Overall of a row."""
        wanted = {"method": method, "minus": None, "metric": "overall"}
        return pick(self.cells, protocol=protocol, **wanted)


def evidence_page(
    runs: Sequence[RealRun], print_table: PublishedTable, folder: str
) -> tuple[str, dict[str, str]]:
    """Markdown, and its figure by file name; beside Table 1's printed gain."""
    rows = print_table.rows
    printed = (
        rows["paco_dlsa"].values["overall"] - rows["paco"].values["overall"]
    ) / 100
    text = render(
        "reporting/templates/evidence.md.j2",
        finding=finding(runs),
        figure=f"{folder}/differences.svg" if runs else None,
        table=evidence_table(runs),
        printed=points(printed),
        place=print_table.section,
    )
    return text, {"differences.svg": evidence_figure(runs, printed)} if runs else {}


def finding(runs: Sequence[RealRun]) -> str:
    """How often DLSA is shown to gain or to lose, by rule, protocol *validated*."""
    counted = _counted(runs)
    if not counted:
        none = "No run on real data, with settings made for it, is there yet."
        return none + _without_a_filter(runs)
    where = f"On {counted[0].title}"
    if len(counted) > 1:
        where = f"In {len(counted)} runs with settings made for their data (*scaled*)"
    said = [
        _shown(ASKED[test], verdicts, len(counted) > 1)
        for test in COMPARED.values()
        if (verdicts := _verdicts(counted, test))
    ]
    alone = f"{where}, DLSA is {'; it is '.join(said)}."
    return alone + _together_in_words(counted) + _without_a_filter(runs)


def _together_in_words(counted: Sequence[RealRun]) -> str:
    """What several networks say as one sample, all comparisons judged at once."""
    over = {
        ASKED[test]: gap
        for other, test in COMPARED.items()
        if (gap := over_runs(counted, other, "validated"))
    }
    left = holm([gap.p_value for gap in over.values()])
    said = [
        f"{shown(gap)} points against {other} ({after_holm(gap.verdict, value)})"
        for (other, gap), value in zip(over.items(), left, strict=True)
    ]
    if not said:
        return ""
    return f" Together, each network one observation, that is {', '.join(said)}."


def over_runs(runs: Sequence[RealRun], other: str, protocol: str) -> Cell | None:
    """DLSA minus another row in Overall over networks, with the spread between them.

    `runs`: one of each network. Student's interval; None where there are not two, or
    one has no such row.
    """
    gaps = [run.gap(other, protocol) for run in runs]
    if len(gaps) < 2 or None in gaps:
        return None
    values = over_seeds([gap.mean for gap in gaps])
    return replace(gaps[0], printed=None, **estimated(values) | judged([values]))


def _without_a_filter(runs: Sequence[RealRun]) -> str:
    """How many runs do not test the method, since their filter is none."""
    runs_on = Counter(
        run.name for run in runs if run.grade in OF_HEADLINES and not run.separates
    )
    if not runs_on:
        return ""
    said = (
        f"{'a run' if number == 1 else f'{number} runs'} ({name})"
        for name, number in runs_on.items()
    )
    return (
        f" Not counted: {' and '.join(said)}, whose first filter is not shown to rank "
        "Few above Many even on the images that it was fitted to."
    )


def _counted(runs: Sequence[RealRun]) -> list[RealRun]:
    """Runs that a headline rests on, whose filter is one: of those on one data and
    network that of most seeds.
    """
    most: dict[str, RealRun] = {}
    for run in runs:
        fair = run.grade in OF_HEADLINES and run.separates
        if fair and (run.name not in most or run.seeds > most[run.name].seeds):
            most[run.name] = run
    return list(most.values())


def _shown(other: str, verdicts: Sequence[str], counted: bool) -> str:
    """`better than its head in 1 of 3`; where it is not `counted`, of a single run."""
    counts = {
        "better": verdicts.count("supported"),
        "worse": verdicts.count("contradicted"),
    }
    shown = [
        f"{word} than {other}" + f" in {count} of {len(verdicts)}" * counted
        for word, count in counts.items()
        if count
    ]
    return ", ".join(shown) or f"not shown to be better or worse than {other}"


def conclusion(run: RealRun) -> str:
    """What a run found, in a paragraph that can be cited."""
    unfair = ""
    if not run.separates:
        unfair = (
            " It is no test of the method: its first filter is not shown to rank Few "
            "above Many even on the images that it was fitted to "
            f"({shown(run.auroc('train'))})."
        )
    return (
        f"**[{run.name}]({run.link})** ({run.grade}). {answers(run.claims)}{unfair} "
        f"Features: {run.features}."
    )


def evidence_table(runs: Sequence[RealRun]) -> str:
    """A row a run and protocol: accuracies, and the paired differences.

    The first row of a run names it, the second its settings.
    """
    header = ["Run", "Protocol", "Filter", "Its head", "DLSA"]
    header += [f"M{title[1:]}".replace("\n", " ") for title in _TITLES.values()]
    body = []
    for run in runs:
        said = (f"[{run.name}]({run.link})", run.settings)
        for says, (protocol, words) in zip(said, PROTOCOL_NAMES.items(), strict=True):
            values = [run.value(method, protocol) for method in ("start", "full")]
            gaps = [run.gap(minus, protocol) for minus in COMPARED]
            body.append(
                [
                    *(says, words, _both_splits(run, protocol)),
                    *(shown(cell) if cell else "not run" for cell in values),
                    *(emphasised(cell) if cell else "—" for cell in gaps),
                ]
            )
    counted = _counted(runs)
    said = (f"{len(counted)} networks together", "those that are counted")
    for says, (protocol, words) in zip(said, PROTOCOL_NAMES.items(), strict=True):
        gaps = [over_runs(counted, other, protocol) for other in COMPARED]
        together = [emphasised(cell) if cell else "—" for cell in gaps]
        body += [[says, words, *["—"] * 3, *together]] if any(gaps) else []
    return markdown_table(header, body, words=2) if runs else ""


def _both_splits(run: RealRun, protocol: str) -> str:
    """AUROC on training and on test images: `0.92, 0.60`."""
    both = [run.auroc(split, protocol) for split in ("train", "test")]
    return "—" if None in both else ", ".join(f"{cell.mean:.2f}" for cell in both)


@styled
def evidence_figure(runs: Sequence[RealRun], printed: float) -> str:
    """Paired differences: a panel a comparison, a row a run, print's gain below."""
    labels = [f"{run.name}\n{textwrap.fill(run.settings, 42)}" for run in runs]
    counted = _counted(runs)
    labels += [f"{len(counted)} networks together"] if len(counted) > 1 else []
    last = len(labels)
    height = 1.3 + 0.44 * (last + 1)
    drawn = panels(height, 1, len(COMPARED), sharex=True, sharey=True)
    for axes, minus in zip(drawn, COMPARED, strict=True):
        for protocol, (shift, marker, colour) in MARKS.items():
            gaps = [run.gap(minus, protocol) for run in runs]
            gaps += [over_runs(counted, minus, protocol)] * (last - len(runs))
            rows = [(*row, colour) for row in zip(labels, gaps, strict=True)]
            name = PROTOCOL_NAMES[protocol]
            interval_panel(axes, rows, False, shift, marker, name)
        axes.set_title(_TITLES[minus])
        axes.set_xlabel("points of Overall")
        axes.set_ylim(last + 0.5, -0.5)
    drawn[0].plot(100 * printed, last, "D", color="#444444", fillstyle="none")
    ticks = [*labels, "printed: iNat18"]
    drawn[0].set_yticks(range(len(ticks)), ticks, fontsize=7.5)
    return finished(drawn[0].figure, _figure_title(runs), columns=2)


def _figure_title(runs: Sequence[RealRun]) -> str:
    runs, test = _counted(runs) or runs, COMPARED["plain"]
    said = _shown(ASKED[test], _verdicts(runs, test), len(runs) > 1)
    return f"DLSA is {said}" + " runs" * said[-1].isdigit()


def _verdicts(runs: Sequence[RealRun], test: str) -> list[str]:
    """Of a claim in each run, protocol *validated*, all tests judged at once."""
    return [
        claim.verdict
        for run in runs
        for claim in run.claims
        if claim.id == test and claim.protocol == "validated"
    ]
