"""Every figure runs at a tiny size, ours and the reference, and takes its own alone."""

import pytest
import torch
from PIL import Image

from bench import measuring
from bench.figures import FIGURES, flow_operations, write_photographs
from bench.measuring import in_fresh_process, take

CPU = torch.device("cpu")
TINY = {"N": 40, "B": 8, "K": 3, "D": 4, "C": 5, "layers": 50, "pixels": 32}
TINY |= {"width": 64, "height": 48}


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in FIGURES for way in FIGURES[name].ways]
)
def test_a_figure_runs_every_way(name, way) -> None:
    assert take(FIGURES[name].ways[way](TINY, CPU), 2, CPU).seconds > 0


def test_operations_worked() -> None:
    """Two MADEs: D x D twice and D x 2D once each is 4 D^2; then K products of D."""
    assert flow_operations({"D": 4, "K": 3}) == 2 * (2 * 4 * 16 + 3 * 4)
    # Two batches of 8; a forward pass, and a gradient of twice that.
    step = FIGURES["filter step"].operations(TINY)
    assert step == 3 * 2 * 8 * flow_operations(TINY)


def test_photographs_are_as_large_as_photographs(tmp_path) -> None:
    """ImageNet's have 110 kB on average."""
    [path] = write_photographs(tmp_path, {"B": 1, "width": 500, "height": 375})
    assert Image.open(path).size == (500, 375)
    assert 60_000 < path.stat().st_size < 160_000


def test_the_peak_is_of_the_work_alone_and_its_first_time_is_not_timed(
    monkeypatch,
) -> None:
    """100 MB, after 400 that are gone; of 9, 1, 2 and 4 seconds the median is 2."""
    before = torch.ones(100 * 2**20)
    del before
    clock = iter((0.0, 9.0, 10.0, 11.0, 20.0, 22.0, 30.0, 34.0))
    monkeypatch.setattr(measuring, "now", lambda _: next(clock))
    taken = take(lambda: torch.ones(25 * 2**20).sum(), 4, CPU)
    assert taken.peak_mb == pytest.approx(100, abs=15)
    assert taken.seconds == 2.0


def test_a_process_that_fails_is_named(refused) -> None:
    [problem] = refused(lambda: in_fresh_process("json.tool", "no-such-file"))
    assert problem.startswith("-m json.tool no-such-file: exit 2: ")
    assert problem.endswith("No such file or directory: 'no-such-file'")
