"""What the pages of Table 1, Table 2 and Sect. 4 share: methods, both protocols."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import matplotlib
from matplotlib.figure import Figure

from replication.reporting.figures import STYLE, interval_panel, svg_text
from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    labels_of,
    percent,
    protocol_table,
    shown,
    value_table,
)
from replication.statistics.results import Cell, Claim, Measurement, pick

HEADS = {
    "own_head": "the network's own head, as PaCo trained it",
    "balanced_softmax": "a Balanced Softmax head fitted to the features",
}
HOW_JUDGED = (
    "*Supported*: the 95 % interval lies above zero; *contradicted*: below it; "
    "*undecided*: zero is inside; *not run*: there is nothing to compare. † does not "
    "stand where all tests of this page under one protocol (or none) are judged at "
    "once (Holm's p-value is 5 % or more)."
)
_EFFECTS = {
    "supported": "a gain",
    "contradicted": "a loss",
    "undecided": "undecided",
    "not run": "not measured",
}
UNDER = {
    "paper": "Under the paper protocol",
    "released_code": "Under the released code's protocol",
}
TITLE = {"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold"}
_MARKS = {"paper": (-0.16, "o"), "released_code": (0.16, "s")}


def beside_print(measured: Measurement) -> tuple[Cell, ...]:
    """The Cells as a page shows them: beside the stand-in stands no printed number."""
    if not measured.data["stand_in"]:
        return measured.cells
    return tuple(replace(cell, printed=None) for cell in measured.cells)


def values_once(cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """Every method's numbers; under the released code those that differ, below."""
    values = [cell for cell in cells if cell.minus is None]
    differ = _differ(values)
    once = [cell for cell in values if cell.protocol == "paper"] + [
        replace(
            cell,
            method=f"{cell.method}, released code",
            label=f"{cell.label}, released code",
            protocol="paper",
        )
        for cell in values
        if cell.protocol == "released_code" and cell.method in differ
    ]
    return value_table(once, "paper", metrics, labels_of(once))


def protocols_apart(cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """Released code minus paper, of the methods that differ between them."""
    values = [cell for cell in cells if cell.minus is None]
    differ = _differ(values)
    return protocol_table([cell for cell in values if cell.method in differ], metrics)


def _differ(values: Sequence[Cell]) -> set[str]:
    """Methods that have other numbers under the released code."""
    paper = {
        (cell.method, cell.metric): cell.per_seed
        for cell in values
        if cell.protocol == "paper"
    }
    return {
        cell.method
        for cell in values
        if cell.protocol == "released_code"
        and cell.per_seed != paper[cell.method, cell.metric]
    }


def differences_figure(
    cells: Sequence[Cell],
    metrics: Sequence[str],
    colours: Mapping[str, str],
    name: str,
) -> str:
    """The full row minus every other, paired: a panel a metric, both protocols.

    Args:
        colours: method -> its colour.
        name: of the full row.
    """
    gaps = [cell for cell in cells if cell.minus is not None and cell.metric in metrics]
    labels = {gap.minus: gap.label.replace(", ", ",\n") for gap in gaps}
    across = min(len(metrics), 3 if len(metrics) > 4 else 4)
    down = -(-len(metrics) // across)
    height = 1.0 + down * (0.65 + 0.3 * len(labels))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, height), layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, metric in zip(panels, metrics, strict=False):
            for protocol, (shift, marker) in _MARKS.items():
                rows = [
                    (
                        label,
                        pick(gaps, minus=method, metric=metric, protocol=protocol),
                        colours[method],
                    )
                    for method, label in labels.items()
                ]
                show = protocol == "paper"
                words = f"protocol: {PROTOCOL_NAMES[protocol].split(' (')[0]}"
                interval_panel(axes, rows, show, shift, marker, words)
            axes.set_title(METRIC_NAMES[metric])
            axes.set_xlabel("points")
        for axes in panels[len(metrics) :]:
            axes.set_visible(False)
        figure.suptitle(_title(gaps, name), **TITLE)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        return svg_text(figure)


def _title(gaps: Sequence[Cell], name: str) -> str:
    """`DLSA is above 0 of 6 rows in Overall, below 6 (protocol: paper)`."""
    verdicts = [
        gap.verdict
        for gap in gaps
        if gap.metric == "overall" and gap.protocol == "paper"
    ]
    above, below = (verdicts.count(one) for one in ("supported", "contradicted"))
    return (
        f"{name} is above {above} of {len(verdicts)} rows in Overall, below {below} "
        "(protocol: paper)"
    )


def tally(results: Iterable[Cell | Claim]) -> str:
    """`2 supported, 1 undecided`: how many have each verdict."""
    verdicts = Counter(result.verdict for result in results)
    order = ("supported", "contradicted", "undecided", "not run")
    return ", ".join(f"{verdicts[v]} {v}" for v in order if verdicts[v]) or "no test"


def gain_in_words(
    cells: Sequence[Cell], plain: str, full: str, protocol: str, name: str = "DLSA"
) -> str:
    """What the full row does to the plain one: Overall, then the other metrics."""
    before, after = (
        pick(cells, method=method, minus=None, protocol=protocol, metric="overall")
        for method in (plain, full)
    )
    gaps = {
        cell.metric: cell
        for cell in cells
        if cell.minus == plain and cell.protocol == protocol
    }
    if before is None or after is None or "overall" not in gaps:
        return f"{name} was not run."
    overall, start = gaps.pop("overall"), before.label.removesuffix(", no DLSA")
    others = [
        f"{word} in {_listed([METRIC_NAMES[metric] for metric in metrics])}"
        for verdict, word in _EFFECTS.items()
        if (metrics := [m for m, gap in gaps.items() if gap.verdict == verdict])
    ]
    return (
        f"{UNDER[protocol]} {name} takes {start} from "
        f"{percent(before.mean)} % to {percent(after.mean)} % Overall, "
        f"{_EFFECTS[overall.verdict]} ({shown(overall)} points)"
        + "".join(f"; {other}" for other in others)
        + "."
    )


def _listed(names: Sequence[str]) -> str:
    """`Many, Medium and Few`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def covered(seeds: Sequence[str]) -> str:
    """What an interval covers, in words."""
    if len(seeds) == 1:
        return f"test images alone: there is one seed, {seeds[0]}"
    return f"seeds ({', '.join(map(str, seeds))}) and test images together"
