"""The figure of Table 2's page alone: whom the filters let go."""

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
    """Whom the first filter lets go, per variant: share of each shot group.

    Under protocol `validated`.

    Args:
        diagnostics: variant -> seed -> what the stage wrote.
        labels: variant -> what a reader calls it.
        share: of the training samples that was meant to leave.
    """
    places = np.arange(len(diagnostics))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.0), layout="constrained")
        axis = figure.subplots()
        for number, (group, colour) in enumerate(GROUP_COLOURS.items()):
            leaving = 100 * np.array(
                [
                    [_leaving(run, group) for run in seeds.values()]
                    for seeds in diagnostics.values()
                ],
                dtype=float,
            )
            x = places + 0.26 * (number - 1)
            label = f"{METRIC_NAMES[group]}-shot test images"
            axis.bar(x, leaving.mean(1), width=0.24, color=colour, label=label)
            axis.plot(x, leaving, ".", color="#222222", markersize=4)
        axis.axhline(
            100 * share,
            color="#444444",
            linestyle="--",
            linewidth=1,
            label="share of the training images",
        )
        axis.set_xticks(places, [labels[name] for name in diagnostics])
        axis.set_ylabel("leave at depth 1, %")
        axis.grid(axis="x", visible=False)
        figure.legend(loc="outside upper center", ncols=4, fontsize=9)
        return svg_text(figure)


def _leaving(run: Mapping[str, Any], group: str) -> float | None:
    first = run["filters"]["validated"][0]
    return first["splits"]["test"]["leaving_by_group"][group]
