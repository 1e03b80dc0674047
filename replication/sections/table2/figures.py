"""The figure of Table 2's page alone: whom the filters let go."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replication.reporting.figures import GROUP_COLOURS, finished, panels, styled
from replication.reporting.tables import METRIC_NAMES


@styled
def leaving_figure(
    diagnostics: Mapping[str, Any], labels: Mapping[str, str], share: float
) -> str:
    """Whom the first filter lets go, per variant: share of each shot group.

    Under protocol `validated`; the title is about the first variant.

    Args:
        diagnostics: variant -> seed -> what the stage wrote.
        labels: variant -> what a reader calls it.
        share: of the training samples that was meant to leave.
    """
    (axis,), places = panels(3.0, 1, 1), np.arange(len(diagnostics))
    first = []
    for number, (group, colour) in enumerate(GROUP_COLOURS.items()):
        runs = [[*seeds.values()] for seeds in diagnostics.values()]
        leaving = 100 * np.array(
            [[_leaving(run, group) for run in seeds] for seeds in runs], dtype=float
        )
        x, mean = places + 0.26 * (number - 1), leaving.mean(1)
        first.append(f"{mean[0]:.0f} % of {METRIC_NAMES[group]}")
        axis.bar(x, mean, width=0.24, color=colour, label=METRIC_NAMES[group])
        axis.plot(x, leaving, ".", color="#222222", markersize=4)
    axis.axhline(
        100 * share,
        color="#444444",
        linestyle="--",
        linewidth=1,
        label="meant to leave, of the training images",
    )
    axis.set_xticks(places, [labels[name] for name in diagnostics])
    axis.set_ylabel("test images that leave, %")
    axis.grid(axis="x", visible=False)
    title = f"The full model's first filter lets go {', '.join(first)} test images"
    return finished(axis.figure, title.replace("nan %", "none"), columns=4)


def _leaving(run: Mapping[str, Any], group: str) -> float | None:
    first = run["filters"]["validated"][0]
    return first["splits"]["test"]["leaving_by_group"][group]
