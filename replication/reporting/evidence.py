"""Does DLSA help? Every run on real data, this one and the kept ones, on one page."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from replication.published.reader import PublishedTable
from replication.reporting.figures import (
    MARKS,
    finished,
    interval_panel,
    panels,
    styled,
)
from replication.reporting.headlines import ASKED, OF_HEADLINES, answers, better
from replication.reporting.networks import (
    counted,
    in_words,
    over_networks,
    together_table,
)
from replication.reporting.rendering import render
from replication.reporting.runs import COMPARED, RealRun
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    points,
    shown,
)
from replication.statistics.verdicts import DECIDED

_TITLES = {
    "start": "minus its head",
    "plain": "minus a plain classifier\nof equal budget",
    "balanced_softmax": "minus Balanced\nSoftmax refitted",
}


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
        together=together_table(runs),
        printed=points(printed),
        place=print_table.section,
    )
    return text, {"differences.svg": evidence_figure(runs, printed)} if runs else {}


def finding(runs: Sequence[RealRun]) -> str:
    """What networks say together, or what a single run is shown to be, by rule."""
    fair = counted(runs)
    if not fair:
        none = "No run on real data, with settings made for it, is there yet."
        return none + _without_a_filter(runs)
    said = in_words(fair) if len(fair) > 1 else _alone(fair[0])
    return said + _without_a_filter(runs)


_OPEN = "not shown to be better or worse"


def _alone(run: RealRun) -> str:
    """`On CIFAR, DLSA is better than its head; it is not shown to be ...`."""
    said = []
    for test in COMPARED.values():
        word = _shown(run, test)
        said += [f"{word} than {ASKED[test]}"] if word else []
    return f"On {run.title}, DLSA is {'; it is '.join(said)}."


def _shown(run: RealRun, test: str) -> str:
    """What a claim is shown to be, protocol *validated*; empty where it was not run."""
    for claim in run.claims:
        if (claim.id, claim.protocol) == (test, "validated"):
            decided = claim.verdict in DECIDED
            return better(claim.verdict) if decided else _OPEN
    return ""


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
        "Few above Many even where it was fitted."
    )


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
    return markdown_table(header, body, words=2) if runs else ""


def _both_splits(run: RealRun, protocol: str) -> str:
    """AUROC on training and on test images: `0.92, 0.60`."""
    both = [run.auroc(split, protocol) for split in ("train", "test")]
    return "—" if None in both else ", ".join(f"{cell.mean:.2f}" for cell in both)


@styled
def evidence_figure(runs: Sequence[RealRun], printed: float) -> str:
    """Paired differences: a panel a comparison, a row a run, print's gain below."""
    labels = [f"{run.name}\n{textwrap.fill(run.settings, 42)}" for run in runs]
    fair = counted(runs)
    labels += [f"{len(fair)} networks together"] if len(fair) > 1 else []
    last = len(labels)
    height = 1.3 + 0.44 * (last + 1)
    drawn = panels(height, 1, len(COMPARED), sharex=True, sharey=True)
    for axes, minus in zip(drawn, COMPARED, strict=True):
        for protocol, (shift, marker, colour) in MARKS.items():
            gaps = [run.gap(minus, protocol) for run in runs]
            over = over_networks(fair, "full", minus, protocol)
            gaps += [over] * (last - len(runs))
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
    fair = counted(runs) or runs
    if gap := over_networks(fair, "full", "plain", "validated"):
        return (
            f"DLSA on {len(fair)} networks: {shown(gap)} points from a plain "
            "classifier of equal budget"
        )
    said = _shown(fair[0], COMPARED["plain"]) or _OPEN
    return f"DLSA is {said} than a plain classifier"
