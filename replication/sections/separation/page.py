"""The page of Fig. 2's experiment: accuracy over p, its claim, what is left open."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from replication.reporting.figures import GROUP_COLOURS, STYLE, svg_text
from replication.reporting.rendering import notice, origin, render
from replication.reporting.tables import (
    METRIC_NAMES,
    find,
    markdown_table,
    percent,
    with_interval,
)

VARIANTS = {
    "images": "networks on images",
    "linear": "linear classifiers on PaCo's features",
}
BOUNDARIES = {
    "half_classes": "the larger half of the classes",
    "many": "classes of more than 100 images",
    "many_medium": "classes of at least 20 images",
    "half_images": "the fewest classes with half of the images",
}
_METRICS = METRIC_NAMES | {"head": "Head", "tail": "Tail"}
_PANELS = (("overall", "head", "tail"), ("many", "medium", "few"))
_SIDES = {"overall": "#000000", "head": "#009E73", "tail": "#CC79A7"}
_LINES = {
    "half_classes": ("#000000", "o"),
    "many": ("#0072B2", "s"),
    "many_medium": ("#E69F00", "^"),
    "half_images": ("#CC79A7", "D"),
}
_SETTINGS = {
    "inputs": "classifier sees",
    "network": "network",
    "probabilities": "p",
    "boundaries": "where head classes end",
    "candidates": "classes a classifier may answer with",
    "epochs": "epochs of a network",
    "linear_epochs": "epochs of a linear classifier",
    "lr": "learning rate (Adam)",
    "batch_size": "batch size",
}
# A loss that falls by more than this over the last fifth of a fit is not at rest.
_AT_REST = 0.01


def separation_page(
    measured: Mapping[str, Any], title: str, figures_folder: str
) -> tuple[str, dict[str, str]]:
    """The page of Fig. 2's experiment on one benchmark.

    Args:
        measured: what the stage `separation` wrote, with `runs`, the run records.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The page, and its figures by file name.
    """
    data, records = measured["data"], measured["records"]
    variant, boundary = main_curve(measured)
    drawn = {
        "accuracy.svg": accuracy_figure(records, variant, boundary),
        "boundaries.svg": boundaries_figure(records),
    }
    page = render(
        "sections/separation/page.md.j2",
        notice=notice(data, title, _paper_data(data)),
        title=title,
        stand_in=data["stand_in"],
        summary=summarise_separation(measured),
        seeds=measured["seeds"],
        variant=_opening(VARIANTS[variant]),
        boundary=BOUNDARIES[boundary],
        has_images=variant == "images",
        values=_values_table(records, variant, boundary),
        by_boundary=_by_boundary_table(records),
        boundaries=_boundaries_table(measured),
        claims=_claims_table(measured["claims"]),
        settings=_settings_table(measured["settings"]),
        fits=_fits_table(measured["fits"]),
        unfinished=_unfinished(measured["fits"]),
        figures=figures_folder,
        origin=origin(
            data["hash"],
            f"dvc repro separation@{measured['benchmark']}",
            measured["runs"],
        ),
    )
    return page, drawn


def main_curve(measured: Mapping[str, Any]) -> tuple[str, str]:
    """Variant and boundary that are shown first: the paper's kind of classifier."""
    first = measured["records"][0]
    return first["variant"], first["boundary"]


def summarise_separation(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    variant, boundary = main_curve(measured)
    claim = find(measured["claims"], variant=variant, boundary=boundary)
    curve = [
        record
        for record in measured["records"]
        if (record["variant"], record["boundary"]) == (variant, boundary)
    ]
    shares = sorted({record["p"] for record in curve})
    ends = {
        metric: [find(curve, metric=metric, p=p) for p in (shares[0], shares[-1])]
        for metric in ("overall", "head", "tail")
    }
    parts = [
        f"{_METRICS[metric]} {percent(low['mean'])} to {percent(high['mean'])} %"
        for metric, (low, high) in ends.items()
    ]
    others = [one["verdict"] for one in measured["claims"] if one is not claim]
    on = " on the stand-in" if measured["data"]["stand_in"] else ""
    text = (
        f"From p = {shares[0]:g} to p = {shares[-1]:g}, {VARIANTS[variant]}, head = "
        f"{BOUNDARIES[boundary]}: {', '.join(parts)}. Overall changes by "
        f"{with_interval({**claim, 'kind': 'difference'})} points: that larger p "
        f"leads to higher accuracy is **{claim['verdict']}**{on}"
    )
    if others:
        said = sum(verdict == "supported" for verdict in others)
        text += f", and supported on {said} of the {len(others)} other curves"
    if _unfinished(measured["fits"]):
        text += (
            ". Classifiers were still getting better when their training ended: the "
            "accuracies are those of a short budget"
        )
    return text + "."


def accuracy_figure(
    records: Sequence[Mapping[str, Any]], variant: str, boundary: str
) -> str:
    """Accuracy over p with 95 % intervals: overall, head, tail; many, medium, few."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        axes = figure.subplots(1, len(_PANELS), sharey=True)
        for axis, metrics in zip(axes, _PANELS, strict=True):
            for metric, marker in zip(metrics, "os^", strict=True):
                curve = _curve(records, variant, boundary, metric)
                colour = (_SIDES | GROUP_COLOURS)[metric]
                axis.fill_between(*curve[[0, 2, 3]], color=colour, alpha=0.15, lw=0)
                axis.plot(
                    *curve[:2],
                    marker=marker,
                    markersize=5,
                    color=colour,
                    label=_METRICS[metric],
                )
            axis.set_xticks(curve[0])
            axis.set_xlabel("p, probability of the right group")
        # An interval of few seeds may reach beyond what an accuracy can be.
        axes[0].set_ylim(0, min(axes[0].get_ylim()[1], 100))
        axes[0].set_ylabel("accuracy, %")
        axes[0].set_title("Overall, and the mean of each side's classes")
        axes[1].set_title("Shot groups")
        figure.legend(loc="outside lower center", ncols=6, fontsize=9)
        return svg_text(figure)


def boundaries_figure(records: Sequence[Mapping[str, Any]]) -> str:
    """Overall over p for every boundary, linear classifiers; 95 % intervals."""
    linear = [record for record in records if record["variant"] == "linear"]
    names = list(dict.fromkeys(record["boundary"] for record in linear))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        axis = figure.subplots()
        for place, name in enumerate(names):
            colour, marker = _LINES[name]
            p, mean, low, high = _curve(linear, "linear", name, "overall")
            shift = 0.004 * (place - (len(names) - 1) / 2)
            axis.errorbar(
                p + shift,
                mean,
                yerr=[mean - low, high - mean],
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.4,
                elinewidth=1.0,
                label=BOUNDARIES[name],
            )
        axis.set_xticks(p)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("p, probability of the right group")
        axis.set_ylabel("Overall, %")
        axis.set_title("Linear classifiers on PaCo's features; head is ...")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        return svg_text(figure)


def _curve(
    records: Sequence[Mapping[str, Any]], variant: str, boundary: str, metric: str
) -> np.ndarray:
    """One curve, (4, P): p, then mean, low and high in percent; NaN where n/a."""
    found = sorted(
        (
            record
            for record in records
            if (record["variant"], record["boundary"], record["metric"])
            == (variant, boundary, metric)
        ),
        key=lambda record: record["p"],
    )
    p = [record["p"] for record in found]
    # None, JSON's word for a missing number, becomes NaN.
    rest = [[record[name] for record in found] for name in ("mean", "low", "high")]
    return np.vstack([p, 100 * np.array(rest, dtype=float)])


def _values_table(
    records: Sequence[Mapping[str, Any]], variant: str, boundary: str
) -> str:
    mine = [
        record
        for record in records
        if (record["variant"], record["boundary"]) == (variant, boundary)
    ]
    metrics = [metric for panel in _PANELS for metric in panel]
    shares = sorted({record["p"] for record in mine})
    rows = [
        [f"{p:g}", *(_cell(mine, p=p, metric=metric) for metric in metrics)]
        for p in shares
    ]
    return markdown_table(["p", *(_METRICS[metric] for metric in metrics)], rows)


def _by_boundary_table(records: Sequence[Mapping[str, Any]]) -> str:
    overall = [
        record
        for record in records
        if record["variant"] == "linear" and record["metric"] == "overall"
    ]
    names = list(dict.fromkeys(record["boundary"] for record in overall))
    rows = [
        [f"{p:g}", *(_cell(overall, p=p, boundary=name) for name in names)]
        for p in sorted({record["p"] for record in overall})
    ]
    return markdown_table(["p", *(BOUNDARIES[name] for name in names)], rows)


def _cell(records: Sequence[Mapping[str, Any]], **wanted: Any) -> str:
    record = find(records, **wanted)
    return "not run" if record is None else with_interval(record)


def _boundaries_table(measured: Mapping[str, Any]) -> str:
    """The head of each reading, in the order of the curves."""
    order = dict.fromkeys(record["boundary"] for record in measured["records"])
    boundaries = {name: measured["boundaries"][name] for name in order}
    header = ["Head is", "Head classes", "Tail classes", "Images of head classes, %"]
    rows = [
        [
            BOUNDARIES[name],
            str(sizes["head_classes"]),
            str(sizes["tail_classes"]),
            percent(
                sizes["head_images"] / (sizes["head_images"] + sizes["tail_images"])
            ),
        ]
        for name, sizes in boundaries.items()
    ]
    return markdown_table(header, rows)


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    header = ["Classifiers", "Head is", "Test", "Points", "Steps that fall", "Verdict"]
    rows = []
    for claim in claims:
        falls = [
            f"{step['from']:g} to {step['to']:g}"
            for step in claim["steps"]
            if step["verdict"] == "contradicted"
        ]
        rows.append(
            [
                VARIANTS[claim["variant"]],
                BOUNDARIES[claim["boundary"]],
                claim["test"],
                with_interval({**claim, "kind": "difference"}),
                ", ".join(falls) or "none",
                claim["verdict"],
            ]
        )
    return markdown_table(header, rows, words=3)


def _settings_table(settings: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name in sorted(settings, key=list(_SETTINGS).index):
        one = settings[name]
        used, published = _shown(one["value"]), _shown(one["published"])
        rows.append([_SETTINGS[name], used, published, one["source"]])
    return markdown_table(
        ["Setting", "Used", "Recipe", "The recipe's source"], rows, words=4
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def _fits_table(fits: Sequence[Mapping[str, Any]]) -> str:
    header = [
        "Classifiers",
        "Head is",
        "p",
        "Group",
        "Training images",
        "Last training loss, nats",
        "Fell over the last fifth, %",
    ]
    rows = [
        [
            VARIANTS[fit["variant"]],
            BOUNDARIES[fit["boundary"]],
            f"{fit['p']:g}",
            ("head's", "tail's")[fit["group"]],
            f"{fit['images']:.0f}",
            f"{fit['loss']:.3f}",
            percent(fit["fell"]),
        ]
        for fit in fits
    ]
    return markdown_table(header, rows)


def _unfinished(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence a variant whose fits were still getting better when they ended."""
    sentences = []
    for variant in dict.fromkeys(fit["variant"] for fit in fits):
        mine = [fit for fit in fits if fit["variant"] == variant]
        known = [fit["fell"] for fit in mine if fit["fell"] is not None]
        moving = [fell for fell in known if fell > _AT_REST]
        if moving:
            sentences.append(
                f"{_opening(VARIANTS[variant])}: {len(moving)} of {len(mine)} fits "
                f"lowered their training loss by more than {percent(_AT_REST, 0)} % "
                f"(at most {percent(max(moving))} %) over the last fifth of their "
                "epochs: the curves are those of this budget, and a longer one may "
                "move them."
            )
    return sentences


def _opening(text: str) -> str:
    """As the first words of a sentence; names in it keep their capitals."""
    return text[0].upper() + text[1:]


def _paper_data(data: Mapping[str, Any]) -> str | None:
    """What the paper's figure is made from; drawn glyphs are not the benchmark."""
    return (
        None if data["stand_in"] else "Fig. 2 (whose data the supplement does not name)"
    )
