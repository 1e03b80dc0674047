"""What a figure of intervals says can be read in its SVG."""

import matplotlib
from matplotlib.figure import Figure

from replication.reporting.figures import STYLE, interval_panel, svg_text
from tests.reporting.made import cell, gap


def drawn(rows: list, **options: object) -> tuple[Figure, str]:
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        interval_panel(figure.subplots(), rows, **options)
        return figure, svg_text(figure)


def test_labels_are_text_and_the_same_data_gives_the_same_bytes() -> None:
    rows = [("Full model", cell(), "#000000"), ("Not run", None, "#000000")]
    _, text = drawn(rows)
    assert ">Full model</text>" in text and ">Not run</text>" in text
    assert text == drawn(rows)[1]


def test_an_estimate_its_interval_and_print_stand_in_one_row() -> None:
    figure, _ = drawn([("Full model", cell(), "#000000")], printed=True, name="paper")
    mean, printed, *legend = figure.axes[0].lines
    assert (mean.get_xdata()[0], mean.get_ydata()[0]) == (40.0, 0.0)
    assert printed.get_xdata() == [42.1] and printed.get_marker() == "D"
    assert [line.get_label() for line in legend] == ["paper", "printed"]


def test_a_difference_is_seen_against_zero_and_without_ends_is_a_point() -> None:
    figure, _ = drawn([("w/o L_MLE", gap(low=None, high=None), "#000000")])
    assert [0, 0] in [list(line.get_xdata()) for line in figure.axes[0].lines]
