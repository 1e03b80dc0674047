"""The bench of stacks: what it counts, and what its page says."""

import pytest
import torch

from bench import stacks

CPU = torch.device("cpu")


def test_a_stack_runs_as_many_operators_as_a_head() -> None:
    alone, four = (stacks.measure(heads, 3, 4, CPU, repeats=2) for heads in (1, 4))
    assert alone.operators > 5
    assert four.operators == pytest.approx(alone.operators / 4)
    assert four.seconds > 0


def test_the_page_has_a_row_for_each_and_says_what_the_suite_does() -> None:
    steps = {1: stacks.Step(4e-4, 20.0), 3: stacks.Step(2e-4, 20 / 3)}
    machine = {"device": "X", "kind": "cpu", "torch": "2", "python": "3", "date": "d"}
    text = stacks.page({(10, 8): steps, (365, 2048): steps}, machine)
    assert "| 10 × 2 · 8 | 3 | 200 | 2.00 | 6.7 | yes |" in text
    assert "| 365 × 2 · 2,048 | 3 | 200 | 2.00 | 6.7 | no |" in text
    assert "| 365 × 2 · 2,048 | 1 | 400 | 1.00 | 20.0 | yes |" in text
