"""What a figure of intervals says can be read in its SVG."""

import matplotlib
from matplotlib.figure import Figure

from replication.reporting.figures import (
    STYLE,
    finished,
    interval_panel,
    paired_panel,
    panels,
    svg_text,
)
from tests.reporting.made import cell, gap


def drawn(rows: list, **options: object) -> tuple[Figure, str]:
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        interval_panel(figure.subplots(), rows, **options)
        return figure, svg_text(figure)


def test_labels_are_text_and_print_stands_in_the_row_of_its_estimate() -> None:
    rows = [("Full model", cell(), "#000000"), ("Not run", None, "#000000")]
    figure, text = drawn(rows, printed=True, name="validated")
    assert ">Full model</text>" in text and ">Not run</text>" in text
    assert text == drawn(rows, printed=True, name="validated")[1]
    mean, printed, *legend = figure.axes[0].lines
    assert (mean.get_xdata()[0], mean.get_ydata()[0]) == (40.0, 0.0)
    assert printed.get_xdata() == [42.1] and printed.get_marker() == "D"
    assert [line.get_label() for line in legend] == ["validated", "printed"]
    figure, _ = drawn([("w/o L_MLE", gap(low=None, high=None), "#000000")])
    assert [0, 0] in [list(line.get_xdata()) for line in figure.axes[0].lines]


def test_both_protocols_stand_in_one_row_and_in_one_legend() -> None:
    """Print once; a title that is too long for a line is broken."""
    with matplotlib.rc_context(STYLE):
        left, right = panels(2.0, 1, 2)
        for axes in (left, right):
            both = [gap(printed=0.01), gap(protocol="as_released")]
            paired_panel(axes, both, "minus", {"no_mle": "w/o L_MLE"}, "Overall")
        text = finished(left.figure, "word " * 30)
    for words in ("protocol: validated", "protocol: as released", "printed"):
        assert text.count(f">{words}</text>") == 1
    assert text.count(">Overall</text>") == 2 and text.count(">word word") == 2
