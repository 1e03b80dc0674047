"""What runs on several networks say together: each network is one observation.

Student's interval over networks, so that their spread is in it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from replication.reporting.headlines import ASKED, OF_HEADLINES, better
from replication.reporting.runs import COMPARED, RealRun
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    shown,
)
from replication.statistics.intervals import over_seeds
from replication.statistics.results import Cell, Grade, estimated
from replication.statistics.verdicts import after_holm, holm, judged

_RANDOM = "itself with a random split in the filters' place"
# What DLSA is compared with: a row of Table 2, or a rung of the ladder.
_AGAINST = {
    "start": ASKED[COMPARED["start"]],
    "plain": ASKED[COMPARED["plain"]],
    "random": _RANDOM,
    "balanced_softmax": ASKED[COMPARED["balanced_softmax"]],
}
# The way from the head to DLSA: one rung less another.
_FROM_ZERO, _DRAWN = ("frequencies", "plain"), ("full", "frequencies")
_STEPS = {
    ("plain", "start"): "of that, more training of the head",
    _FROM_ZERO: "of that, the cascade, weights that it adds starting at zero",
    _DRAWN: "of that, these weights starting at random, as in the released code",
}
_GRADES: dict[str, tuple[Grade, ...]] = {
    "scaled": OF_HEADLINES,
    "verbatim": ("real data, verbatim",),
}


def counted(
    runs: Iterable[RealRun], grades: Sequence[Grade] = OF_HEADLINES
) -> list[RealRun]:
    """One run a network, that of most seeds, whose filter is one."""
    most: dict[str, RealRun] = {}
    for run in runs:
        fair = run.grade in grades and run.separates
        if fair and (run.name not in most or run.seeds > most[run.name].seeds):
            most[run.name] = run
    return list(most.values())


def over_networks(
    runs: Sequence[RealRun], method: str, minus: str, protocol: str
) -> Cell | None:
    """One row's Overall less another's, of the networks that have both; None: of one.

    `runs`: one of each network.
    """
    return _over([run.difference(method, minus, protocol) for run in runs], protocol)


def _over(differences: Iterable[float | None], protocol: str) -> Cell | None:
    known = [value for value in differences if value is not None]
    if len(known) < 2:
        return None
    values = over_seeds(known)
    words = {"method": "", "label": "", "metric": "overall", "minus": ""}
    about = {"section": "evidence", "benchmark": None, "data": "", "protocol": protocol}
    return Cell(**words, **about, **estimated(values) | judged([values]))


def in_words(runs: Sequence[RealRun]) -> str:
    """What they found, protocol *validated*: all comparisons are judged at once."""
    gaps = {
        minus: gap
        for minus in _AGAINST
        if (gap := over_networks(runs, "full", minus, "validated"))
    }
    left = holm([gap.p_value for gap in gaps.values()])
    said = []
    for (minus, gap), value in zip(gaps.items(), left, strict=True):
        if minus == "balanced_softmax":  # the table has it
            continue
        verdict, known = better(after_holm(gap.verdict, value)), gap.per_seed
        lower = f"{sum(one < 0 for one in known)} of {len(known)} lower"
        points = "" if said else " points"
        said.append(f"{shown(gap)}{points} from {_AGAINST[minus]} ({verdict}; {lower})")
    steps = [over_networks(runs, *step, "validated") for step in (_DRAWN, _FROM_ZERO)]
    from_start = ""
    if None not in steps:
        drawn, rest = map(shown, steps)
        from_start = (
            f" Of the difference from the plain classifier {drawn} come from added "
            f"weights that start at random, as in the released code; {rest} remain."
        )
    return (
        f"Over {len(runs)} networks, each one observation, *scaled*, DLSA lies "
        f"{', '.join(said)}.{from_start}"
    )


def together_table(runs: Sequence[RealRun]) -> str:
    """A row a difference, a column a recipe and protocol; empty: of no two networks."""
    columns: dict[str, list[str]] = {}
    for recipe, grades in _GRADES.items():
        of_recipe = counted(runs, grades)
        for protocol, words in PROTOCOL_NAMES.items() if len(of_recipe) > 1 else ():
            columns[f"{recipe}, {words}"] = _column(of_recipe, protocol)
    titles = ["networks", f"minus {_AGAINST['start']}"]
    titles += [f"… {words}" for words in _STEPS.values()]
    titles += [f"minus {_AGAINST['plain']}"]
    titles += ["… each data set and architecture one observation"]
    titles += [f"minus {_AGAINST[key]}" for key in ("random", "balanced_softmax")]
    rows = zip(titles, *columns.values(), strict=True)
    return markdown_table(["DLSA", *columns], rows) if columns else ""


def _column(runs: Sequence[RealRun], protocol: str) -> list[str]:
    def over(method: str, minus: str) -> str:
        return _entry(over_networks(runs, method, minus, protocol), len(runs))

    alike: dict[str, list[float]] = {}
    for run in runs:
        gap = run.difference("full", "plain", protocol)
        alike.setdefault(run.architecture, []).extend([] if gap is None else [gap])
    means = [float(np.mean(gaps)) for gaps in alike.values() if gaps]
    return [
        str(len(runs)),
        over("full", "start"),
        *(over(*step) for step in _STEPS),
        over("full", "plain"),
        _entry(_over(means, protocol), len(means)),
        over("full", "random"),
        over("full", "balanced_softmax"),
    ]


def _entry(gap: Cell | None, of: int) -> str:
    """`−0.6 ± 0.9`; of how many, where not of all."""
    if gap is None:
        return "—"
    known = len(gap.per_seed)
    return emphasised(gap) + f" (of {known})" * (known < of)
