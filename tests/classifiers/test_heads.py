"""Sums of linear terms, and terms freshly drawn."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from replication.classifiers.heads import (
    Rows,
    Term,
    drawn_term,
    log_prior,
    logits_of,
    predict,
)
from tests.made import draw, generator

CLASSES = 5


def three_inputs() -> list[Rows]:
    """Own rows, rows picked out of order, and a small table looked up by sample."""
    pick = torch.randperm(30, generator=generator(4))[:20]
    look_up = torch.randint(3, (20,), generator=generator(5))
    return [
        Rows(draw(20, 4, seed=1)),
        Rows(draw(30, 6, seed=2), pick),
        Rows(draw(3, 2, seed=3), look_up),
    ]


def three_terms() -> list[Term]:
    """The middle term has no bias."""
    return [
        Term(draw(CLASSES, 4, seed=6), draw(CLASSES, seed=7)),
        Term(draw(CLASSES, 6, seed=8), None),
        Term(draw(CLASSES, 2, seed=9), draw(CLASSES, seed=10)),
    ]


def gathered(rows: Rows) -> Tensor:
    """All inputs of a term as one array, sample by sample."""
    return rows.table if rows.pick is None else rows.table[rows.pick]


# --- log_prior


def test_log_prior_is_the_log_of_counts() -> None:
    """log(n + 1e-6): Balanced Softmax, finite for a class without samples."""
    prior = log_prior(torch.tensor([1000, 1, 0]))
    expected = [math.log(1000), 0.0, math.log(1e-6)]
    assert prior.tolist() == pytest.approx(expected, abs=2e-6)


# --- logits, predictions


def test_logits_are_the_sum_of_the_terms_for_the_samples_asked() -> None:
    terms, inputs = three_terms(), three_inputs()
    samples = torch.tensor([19, 0, 7, 7])
    expected = sum(
        F.linear(gathered(rows)[samples], term.weight, term.bias)
        for term, rows in zip(terms, inputs, strict=True)
    )
    torch.testing.assert_close(logits_of(terms, inputs, samples), expected)


def test_predict_is_the_largest_logit_whatever_the_batch() -> None:
    terms, inputs = three_terms(), three_inputs()
    samples = torch.randperm(20, generator=generator(1))
    expected = logits_of(terms, inputs, samples).argmax(1)
    assert len(expected.unique()) > 1
    for batch in (2, 4096):  # fewer than the small table's rows, and more
        assert torch.equal(predict(terms, inputs, samples, batch), expected)


# --- Terms


def test_drawn_term_is_uniform_within_pytorchs_bound() -> None:
    """Uniform in +-1 / sqrt(D), as nn.Linear; mean and variance within 4 errors."""
    dimensions = 64
    term = drawn_term(1000, dimensions, generator(), torch.empty(0).double())
    bound = dimensions**-0.5
    for values in (term.weight, term.bias):
        assert values.dtype == torch.float64
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.99 * bound
        error = bound / math.sqrt(3 * values.numel())
        assert abs(values.mean().item()) < 4 * error
        # Var of u^2 for u uniform in +-b: 4 b^4 / 45.
        error = bound**2 * math.sqrt(4 / 45 / values.numel())
        assert abs(values.square().mean().item() - bound**2 / 3) < 4 * error
    assert term.weight.shape == (1000, dimensions)
    assert term.bias.shape == (1000,)
