"""The bench of compiled steps: it times a real step, and its page compares."""

import torch

from bench import compiled
from replication.flow_filter.fitting import objective_terms


def test_a_step_is_timed_and_it_is_the_filters() -> None:
    asked = []

    def terms_of(*arguments: object) -> object:
        asked.append(arguments)
        return objective_terms(*arguments)

    cost = compiled.measure(terms_of, 4, torch.device("cpu"), repeats=2)
    assert len(asked) == 3 and cost.step > 0 and cost.first > 0


def test_the_page_compares_with_the_step_as_written() -> None:
    costs = {
        "as written": compiled.Cost(0.2, 0.3),
        "compiled": compiled.Cost(0.1, 30.0),
    }
    machine = {"device": "X", "torch": "2", "python": "3", "date": "d"}
    text = compiled.page({64: costs}, machine)
    assert "| 64 | as written | 200.0 | 1.00 | 0.3 |" in text
    assert "| 64 | compiled | 100.0 | 2.00 | 30.0 |" in text


def test_graphs_are_for_a_gpu() -> None:
    assert list(compiled.kinds(torch.device("cpu"))) == ["as written", "compiled"]
    assert "captured as a graph" in compiled.kinds(torch.device("cuda"))
