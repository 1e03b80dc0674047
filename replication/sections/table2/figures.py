"""Figures of Table 2's page alone: whom the filters let go, how they fit."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from replication.reporting.figures import GROUP_COLOURS, STYLE, svg_text
from replication.reporting.tables import METRIC_NAMES


def leaving_figure(
    diagnostics: Mapping[str, Any], labels: Mapping[str, str], share: float
) -> str:
    """Whom the first filter lets go: share of each shot group, per variant.

    Args:
        diagnostics: variant -> seed -> what the stage wrote.
        labels: variant -> what a reader calls it.
        share: of the training samples that was meant to leave.
    """
    variants = list(diagnostics)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.0), layout="constrained")
        axis = figure.subplots()
        for number, group in enumerate(GROUP_COLOURS):
            per_seed = [
                [
                    _number(
                        run["filters"][0]["splits"]["test"]["leaving_by_group"][group]
                    )
                    for run in diagnostics[variant].values()
                ]
                for variant in variants
            ]
            place = np.arange(len(variants)) + 0.26 * (number - 1)
            axis.bar(
                place,
                [100 * np.mean(values) for values in per_seed],
                width=0.24,
                color=GROUP_COLOURS[group],
                label=f"{METRIC_NAMES[group]}-shot test images",
            )
            for x, values in zip(place, per_seed, strict=True):
                axis.plot(
                    [x] * len(values),
                    100 * np.array(values),
                    ".",
                    color="#222222",
                    markersize=4,
                )
        axis.axhline(
            100 * share,
            color="#444444",
            linestyle="--",
            linewidth=1,
            label="share of the training images",
        )
        axis.set_xticks(range(len(variants)), [labels[name] for name in variants])
        axis.set_ylabel("leave at depth 1, %")
        axis.grid(axis="x", visible=False)
        figure.legend(loc="outside upper center", ncols=4, fontsize=9)
        return svg_text(figure)


def fitting_figure(
    diagnostics: Mapping[str, Any],
    labels: Mapping[str, str],
    colours: Mapping[str, str],
) -> str:
    """How the first filter fits: likelihood and purity by epoch."""
    panels = {
        "log_likelihood": "mean log P(x), nats, training",
        "purity": "purity of the clusters, %",
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 2.9), layout="constrained")
        axes = figure.subplots(1, len(panels))
        for axis, (name, text) in zip(axes, panels.items(), strict=True):
            for variant, seeds in diagnostics.items():
                curves = np.array(
                    [
                        [_number(epoch[name]) for epoch in run["filters"][0]["history"]]
                        for run in seeds.values()
                    ]
                )
                curves = 100 * curves if name == "purity" else curves
                epochs = np.arange(1, curves.shape[1] + 1)
                colour = colours[variant]
                axis.plot(epochs, curves.mean(0), color=colour, label=labels[variant])
                axis.fill_between(
                    epochs, curves.min(0), curves.max(0), color=colour, alpha=0.12, lw=0
                )
            axis.set_xlabel("epoch of the filter")
            axis.set_title(text, fontsize=9, fontweight="normal")
        axes[0].set_ylim(bottom=_settled(diagnostics))
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=len(names), fontsize=8
        )
        return svg_text(figure)


def _settled(diagnostics: Mapping[str, Any]) -> float:
    """Where the likelihood axis starts: the first two epochs would squash the rest."""
    values = [
        _number(epoch["log_likelihood"])
        for seeds in diagnostics.values()
        for run in seeds.values()
        for epoch in run["filters"][0]["history"][2:] or run["filters"][0]["history"]
    ]
    low, high = np.nanmin(values), np.nanmax(values)
    return float(low - 0.05 * (high - low) - 1e-6)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
