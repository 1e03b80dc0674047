"""Stacks: heads fitted side by side are the heads fitted one by one."""

import pytest
import torch
from torch import Tensor

from replication.classifiers import fitting, stacks
from replication.classifiers.fitting import (
    Problem,
    Watched,
    fit_balanced_softmax_heads,
    fit_classifier,
    fit_classifiers,
)
from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    Term,
    drawn_table_term,
    logits_of,
)
from replication.classifiers.stacks import Stack, stack_size
from replication.core.settings import ClassifierSettings, HeadSettings
from replication.samples.features import Streamed

CLASSES, SAMPLES = 5, 30
SETTINGS = ClassifierSettings(lr=0.2, batch_size=8, epochs=6, evaluate_every=2)
HEAD = HeadSettings(epochs=5, lr=0.1, momentum=0.9, weight_decay=1e-3, batch_size=8)


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def whole(below: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(below, (size,), generator=generator)


SHARED = draw(100, 4, seed=0)


def problem(seed: int, samples: int = SAMPLES) -> Problem:
    """A shared table, one of its own without a pick, and a table kept as logits."""
    table = draw(3, 7, seed=seed + 1).abs()
    generator = torch.Generator().manual_seed(seed)
    inputs = [
        Rows(SHARED, whole(100, samples, seed + 2)),
        Rows(draw(samples, 6, seed=seed + 3)),
        Rows(table, whole(3, samples, seed + 4)),
    ]
    labels = whole(CLASSES, samples, seed + 5)
    watched = Watched(
        [
            Rows(SHARED),
            Rows(draw(100, 6, seed=seed + 6)),
            Rows(table, whole(3, 100, seed + 7)),
        ],
        whole(CLASSES, 100, seed + 8),
    )
    return Problem(
        [
            Term(draw(CLASSES, 4, seed=seed + 9), draw(CLASSES, seed=seed + 10)),
            Term(draw(CLASSES, 6, seed=seed + 11), None),
            drawn_table_term(CLASSES, table, 0.5, True, generator),
        ],
        inputs,
        labels,
        labels.bincount(minlength=CLASSES),
        watched,
        seed,
    )


def values(terms: list[AnyTerm]) -> list[Tensor]:
    return [term.fitted for term in terms]


def test_classifiers_side_by_side_are_those_fitted_alone() -> None:
    """Terms of three kinds, watched: float64, so that 1e-12 is rounding."""
    seeds = (0, 100, 200)
    together = fit_classifiers([problem(seed) for seed in seeds], SETTINGS)
    alone = [fit_classifier(problem(seed), SETTINGS) for seed in seeds]
    for one, other in zip(together, alone, strict=True):
        assert (one.epoch, one.looks) == (other.epoch, other.looks)
        for mine, its in zip(values(one.terms), values(other.terms), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-11, atol=1e-12)
    starts = values(problem(0).terms)
    moved = [
        (mine - start).abs().max()
        for mine, start in zip(values(alone[0].terms), starts, strict=True)
    ]
    assert min(moved) > 0.01
    assert len({one.epoch for one in alone}) > 1  # each keeps its own best epoch


def test_other_shapes_are_stacks_of_their_own_and_the_order_stays(monkeypatch) -> None:
    fitted = []
    real = fitting._fit_stack
    monkeypatch.setattr(
        fitting,
        "_fit_stack",
        lambda some, settings: fitted.append(len(some)) or real(some, settings),
    )
    problems = [problem(0), problem(100, samples=25), problem(200)]
    together = fit_classifiers(problems, SETTINGS)
    assert sorted(fitted) == [1, 2]
    for one, seed, samples in zip(together, (0, 100, 200), (30, 25, 30), strict=True):
        other = fit_classifier(problem(seed, samples), SETTINGS)
        for mine, its in zip(values(one.terms), values(other.terms), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-11, atol=1e-12)


def test_heads_of_many_seeds_are_those_of_each(monkeypatch) -> None:
    """With momentum and weight decay; 5 seeds in stacks of 2, 2 and 1, then alone."""
    features, labels = SHARED, whole(CLASSES, 100, 1)
    start = Term(draw(CLASSES, 4, seed=2), draw(CLASSES, seed=3))
    kept = start.clone()
    heads = {}
    for size in (2, 1):
        monkeypatch.setattr(fitting, "stack_size", lambda *_, size=size: size)
        told: list[int] = []
        heads[size] = fit_balanced_softmax_heads(
            features, labels, start, labels.bincount(), HEAD, range(5),
            lambda step, of, _, told=told: told.append((step, of)),
        )  # fmt: skip
        stacks_fitted = -(-5 // size)
        steps = stacks_fitted * HEAD.epochs
        assert told == [(step, steps) for step in range(steps)]
    for mine, its in zip(heads[2], heads[1], strict=True):
        torch.testing.assert_close(mine.weight, its.weight, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(mine.bias, its.bias, rtol=1e-11, atol=1e-12)
    assert not torch.allclose(heads[1][0].weight, heads[1][1].weight)
    assert torch.equal(start.weight, kept.weight)


def test_a_single_head_is_fitted_in_place_and_a_shared_table_is_not_copied() -> None:
    one, two = problem(0), problem(100)

    def stack_of(*problems: Problem) -> Stack:
        priors = [torch.zeros(CLASSES, dtype=torch.float64) for _ in problems]
        return Stack.of(
            [p.terms for p in problems],
            [p.inputs for p in problems],
            [p.labels for p in problems],
            priors,
        )

    alone = stack_of(one)
    for mine, its in zip(values(alone.head(0)), values(one.terms), strict=True):
        assert mine.data_ptr() == its.data_ptr()
    both = stack_of(one, two)
    assert both.inputs[0].table is SHARED
    assert len(both.inputs[1].table) == 2 * SAMPLES
    before = [value.clone() for value in values(one.terms)]
    both.step(torch.arange(8).expand(2, 8), 0.5)
    for was, value in zip(before, values(one.terms), strict=True):
        assert torch.equal(was, value)


def test_terms_of_the_same_rows_gather_them_once() -> None:
    """As under the released protocol, where z is x: half the transfers if streamed."""
    asked = []

    class Listening(Streamed):
        def index_select(self, dim: int, rows: Tensor) -> Tensor:
            asked.append(len(rows))
            return super().index_select(dim, rows)

    x = Rows(Listening(SHARED, torch.device("cpu")), whole(100, SAMPLES, 1))
    terms = [Term(draw(CLASSES, 4, seed=one), None) for one in (2, 3)]
    prior = torch.zeros(CLASSES, dtype=torch.float64)
    stack = Stack.of([terms], [[x, x]], [whole(CLASSES, SAMPLES, 4)], [prior])
    stack.step(torch.arange(8)[None], 0.5)
    assert asked == [8]
    logits_of(terms, [x, x], torch.arange(5))
    assert asked == [8, 5]


@pytest.mark.parametrize(
    ("device", "weights", "size"),
    [("cpu", 100 * 64, 20), ("cpu", 365 * 2048, 1), ("cuda", 8142 * 2048, 2**63 - 1)],
)
def test_a_stack_is_as_large_as_is_fast(device, weights, size) -> None:
    assert stack_size(torch.device(device), weights) == size
    assert stacks._CACHED_WEIGHTS == 131_072
