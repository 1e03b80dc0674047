"""The page of what DLSA would need: finding, models, factors, search."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting.figures import (
    DLSA_COLOUR,
    finished,
    interval_panel,
    panels,
    styled,
)
from replication.reporting.rendering import section_page, unless_published
from replication.reporting.tables import (
    METRIC_NAMES,
    emphasised,
    entry,
    in_unit,
    markdown_table,
    percent,
)
from replication.samples.metrics import ACCURACIES
from replication.sections.diagnosis.experiment import AUGMENTED, METHODS, PAIRS
from replication.sections.diagnosis.search import FACTORS, value_in_words
from replication.statistics.results import Cell, Measurement, pick


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of the search on one benchmark, and its figure by file name."""
    details, cells = measured.details, measured.cells
    plain = details["settings"]["plain"]
    text = section_page(
        measured,
        title,
        unless_published(measured),
        finding=finding(measured),
        figures=folder,
        validation=measured.data["images"]["val"],
        methods=_methods_table(cells),
        differences=_differences_table(cells),
        plain=", ".join(
            f"{FACTORS[name]} {value_in_words(name, plain[name])}"
            for name in ("lr", "refitted")
        ),
        features=_features_table(cells),
        factors=_factors_table(measured),
        steps=_steps_table(details["steps"]),
    )
    return text, {"models.svg": _models_figure(cells)}


# ---- In words ---------------------------------------------------------------------


def finding(measured: Measurement) -> str:
    """Whether tuning helps DLSA, and whether the cascade is what it helps."""
    tuned, head = (_overall(measured, name) for name in ("chosen", "head"))
    of_head, of_plain = (_overall(measured, "chosen", m) for m in ("head", "plain"))
    does = {"supported": "beats", "contradicted": "loses to"}.get(
        of_head.verdict, "is not shown to differ from"
    )
    first = (
        f"Tuned on validation images, DLSA {does} the head that it starts from: "
        f"{percent(tuned.mean)} % Overall on test against {percent(head.mean)} %, "
        f"{in_unit(of_head)}."
    )
    if not measured.details["steps"]:
        first = (
            f"No other settings help DLSA on validation images; with those in use it "
            f"reaches {percent(tuned.mean)} % Overall on test, {in_unit(of_head)} "
            "against the head that it starts from."
        )
    words = {
        "supported": "the cascade itself helps",
        "contradicted": "the cascade itself costs accuracy",
    }.get(of_plain.verdict, "no gain of the cascade itself is shown")
    return (
        f"{first} Against a plain classifier without any cascade, tuned in the same "
        f"way, it makes {in_unit(of_plain)}: {words}."
    )


def _overall(measured: Measurement, method: str, minus: str | None = None) -> Cell:
    """Overall on test of a method, or a difference of two."""
    wanted = {"method": method, "minus": minus, "metric": "overall", "at": ""}
    return pick(measured.cells, **wanted)


# ---- Tables -----------------------------------------------------------------------


def _methods_table(cells: Sequence[Cell]) -> str:
    """A row a model: validation Overall, and its accuracies on test."""
    header = ["", "Overall, validation"]
    header += [f"{METRIC_NAMES[metric]}, test" for metric in ACCURACIES]
    rows = []
    for method, label in METHODS.items():
        values = [c for c in cells if c.method == method and c.minus is None]
        tested = (entry(values, metric=metric, at="") for metric in ACCURACIES)
        validation = percent(pick(values, at="validation").mean)
        rows.append([label, validation, *tested])
    return markdown_table(header, rows)


def _differences_table(cells: Sequence[Cell]) -> str:
    """A row a pair of models: first minus second on test."""
    header = ["First", "minus second", *(METRIC_NAMES[m] for m in ACCURACIES)]
    rows = []
    for first, second in PAIRS:
        of = {"method": first, "minus": second, "at": ""}
        gaps = (entry(cells, metric=metric, **of) for metric in ACCURACIES)
        rows.append([METHODS[first], METHODS[second], *gaps])
    return markdown_table(header, rows, words=2)


def _features_table(cells: Sequence[Cell]) -> str:
    """A row a model: fitted to clean features minus to augmented ones; may be empty."""
    gaps = [cell for cell in cells if cell.minus == AUGMENTED]
    header = ["", *(METRIC_NAMES[metric] for metric in ACCURACIES)]
    rows = [
        [label, *(entry(gaps, label=label, metric=metric) for metric in ACCURACIES)]
        for label in dict.fromkeys(gap.label for gap in gaps)
    ]
    return markdown_table(header, rows) if rows else ""


def _factors_table(measured: Measurement) -> str:
    """A row a changed factor, the most helpful on validation first."""
    rows = []
    for changed in measured.details["factors"]:
        factor, value = changed["factor"], changed["value"]
        of_it = [c for c in measured.cells if c.method == f"{factor}={value}"]
        gaps = [pick(of_it, metric="overall", at=at) for at in ("validation", "")]
        words = [value_in_words(factor, changed[name]) for name in ("value", "base")]
        row = [FACTORS[factor], *words, *map(emphasised, gaps)]
        rows.append((gaps[0].mean, row))
    rows.sort(key=lambda row: -row[0])
    header = ["Setting", "Value", "instead of", "Overall, validation", "Overall, test"]
    return markdown_table(header, [row for _, row in rows], words=3)


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    """A row a change that the search made."""
    if not steps:
        return "Nothing: no change helped."
    header = ["Setting", "from", "to", "validation, before", "after"]
    rows = [
        [
            FACTORS[step["factor"]],
            *(value_in_words(step["factor"], step[name]) for name in ("old", "new")),
            *(percent(step[name], 2) for name in ("before", "after")),
        ]
        for step in steps
    ]
    return markdown_table(header, rows, words=3)


# ---- The figure -------------------------------------------------------------------


@styled
def _models_figure(cells: Sequence[Cell]) -> str:
    """What tuning and the cascade are each worth on test: Overall, then the groups."""
    labels = {
        (first, second): f"{METHODS[first]}\nminus {METHODS[second]}"
        for first, second in PAIRS
    }
    drawn = panels(0.9 + 0.42 * len(PAIRS), 1, len(ACCURACIES), sharey=True)
    for axis, metric in zip(drawn, ACCURACIES, strict=True):
        rows = [
            (label, pick(cells, method=a, minus=b, metric=metric, at=""), DLSA_COLOUR)
            for (a, b), label in labels.items()
        ]
        interval_panel(axis, rows)
        axis.set_title(METRIC_NAMES[metric])
        axis.set_xlabel("points")
    gap = pick(cells, method="chosen", minus="plain", metric="overall", at="")
    title = f"Tuned DLSA against a plain classifier tuned as much: {in_unit(gap)}"
    return finished(drawn[0].figure, title)
