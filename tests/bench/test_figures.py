"""Every figure runs at a tiny size, ours and the reference, and takes its own alone."""

import pytest
import torch

from bench.figures import FIGURES, flow_operations
from bench.measuring import in_fresh_process, take

CPU = torch.device("cpu")
TINY = {"N": 40, "B": 8, "K": 3, "D": 4, "C": 5, "layers": 8, "pixels": 32}


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in FIGURES for way in FIGURES[name].ways]
)
def test_a_figure_runs_every_way(name, way) -> None:
    assert take(FIGURES[name].ways[way](TINY, CPU), 2, CPU).seconds > 0


def test_operations_worked() -> None:
    """Two MADEs of half of D x D twice and of D x 2D once: 2 D^2; K products of D."""
    assert flow_operations({"D": 4, "K": 3}) == 2 * (2 * 2 * 16 + 3 * 4)
    # Two batches of 8; a forward pass, and a gradient of twice that but for K x D.
    step = FIGURES["filter step"].operations(TINY)
    assert step == 2 * 8 * 2 * (3 * 2 * 2 * 16 + 2 * 3 * 4)


def test_the_peak_is_of_the_work_alone_and_its_first_time_is_not_timed(
    monkeypatch,
) -> None:
    """100 MB, after 400 that are gone; of 9, 1, 2 and 6 seconds the last three."""
    clock = iter((0, 9, 0, 1, 0, 2, 0, 6))
    monkeypatch.setattr("bench.measuring._now", lambda _: (t := next(clock), 10 * t))
    before = torch.ones(100 * 2**20)
    del before
    taken = take(lambda: torch.ones(25 * 2**20).sum(), 4, CPU)
    assert taken.peak_mb == pytest.approx(100, abs=15)
    assert (taken.seconds, taken.waited) == (2, 30)


def test_a_process_that_fails_is_named(refused) -> None:
    [problem] = refused(lambda: in_fresh_process("json.tool", "no-such-file"))
    assert problem.startswith("-m json.tool no-such-file: exit 2: ")
    assert problem.endswith("No such file or directory: 'no-such-file'")
