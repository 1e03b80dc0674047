"""Every figure runs at a tiny size, ours and the reference; counts as worked."""

import pytest
import torch
from PIL import Image

from bench.__main__ import FULL, QUICK
from bench.figures import FIGURES, flow_operations
from bench.growth import PANELS, QUICK_PANELS, measure
from bench.loading import write_photographs
from bench.measuring import take

CPU = torch.device("cpu")
TINY = {"N": 40, "B": 8, "K": 3, "D": 4, "C": 5, "layers": 50, "pixels": 32}
TINY |= {"width": 64, "height": 48}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_and_its_reference_run(name) -> None:
    figure = FIGURES[name]
    for build in (figure.ours, figure.reference):
        assert take(build(TINY, CPU), 2, CPU).seconds > 0
    assert figure.operations(TINY) >= 0 and figure.moved(TINY) >= 0


def test_operations_of_a_sample_worked() -> None:
    # Two MADEs: D x D twice and D x 2D once each is 4 D^2; then K products of D.
    assert flow_operations({"D": 4, "K": 3}) == 2 * (2 * 4 * 16 + 3 * 4)


def test_operations_of_a_step_worked() -> None:
    # Two batches of 8; a forward pass, and a gradient of twice that.
    step = FIGURES["filter step"].operations(TINY)
    assert step == 3 * 2 * 8 * flow_operations(TINY)


def test_operations_of_resnet50_are_those_known() -> None:
    """4.1 billion multiply-adds at 224 x 224 (He et al., Table 1: 3.8; v1.5: 4.1)."""
    size = {"B": 1, "layers": 50, "pixels": 224}
    found = FIGURES["extraction"].operations(size)
    assert found == pytest.approx(2 * 4.1e9, rel=0.02)


def test_every_size_names_what_its_figure_needs() -> None:
    for name, size, repeats in [*FULL, *QUICK]:
        assert FIGURES[name].operations(size) >= 0
        assert FIGURES[name].reference_mb(size) >= 0
        assert min(repeats) >= 2
    assert PANELS.keys() == QUICK_PANELS.keys() == {"N", "D", "K", "C"}


def test_photographs_are_as_large_as_photographs(tmp_path) -> None:
    """ImageNet's have 110 kB on average."""
    size = {"B": 2, "width": 500, "height": 375}
    paths = write_photographs(tmp_path, size)
    assert len(paths) == 2
    for path in paths:
        assert Image.open(path).size == (500, 375)
        assert 60_000 < path.stat().st_size < 160_000


def test_loading_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    FIGURES["decode"].ours(TINY, CPU)()
    assert torch.get_num_threads() == before


def test_growth_has_points_of_both() -> None:
    grown = measure(QUICK_PANELS, CPU)
    for panel in grown.values():
        points = panel["points"]
        assert [value for value, _ in points["ours"]] == [16, 32]
        assert all(seconds > 0 for _, seconds in points["ours"] + points["reference"])
