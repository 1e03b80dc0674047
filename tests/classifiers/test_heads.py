"""Linear terms: the written-out step equals PyTorch's own."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.classifiers.heads import (
    Rows,
    Term,
    drawn_table_term,
    drawn_term,
    log_prior,
    logits_of,
    predict,
)
from replication.classifiers.stacks import Stack

CLASSES = 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


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


def as_linear(term: Term) -> nn.Linear:
    classes, dimensions = term.weight.shape
    layer = nn.Linear(dimensions, classes, bias=term.bias is not None).double()
    layer.weight.data.copy_(term.weight)
    if term.bias is not None:
        layer.bias.data.copy_(term.bias)
    return layer


def gathered(rows: Rows) -> Tensor:
    """All inputs of a term as one array, sample by sample."""
    return rows.table if rows.pick is None else rows.table[rows.pick]


# --- a step of one head


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_step_equals_autograd_and_torch_sgd(
    momentum: float, weight_decay: float
) -> None:
    """Loss and every weight, over steps with a changing rate, as torch.optim.SGD."""
    terms, inputs = three_terms(), three_inputs()
    layers = [as_linear(term) for term in terms]
    optimiser = torch.optim.SGD(
        [value for layer in layers for value in layer.parameters()],
        lr=1.0,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    labels = torch.randint(CLASSES, (20,), generator=generator(11))
    prior = draw(CLASSES, seed=12)
    whole = [gathered(rows) for rows in inputs]
    start = terms[1].weight.clone()
    moving = bool(momentum or weight_decay)
    stack = Stack.of([terms], [inputs], [labels], [prior], moving)
    for step in range(6):
        samples = torch.randperm(20, generator=generator(step))[: 5 + step]
        lr = 0.3 / (1 + step)
        (loss,) = stack.step(samples[None], lr, momentum, weight_decay)
        logits = sum(
            layer(rows[samples]) for layer, rows in zip(layers, whole, strict=True)
        )
        expected = F.cross_entropy(logits + prior, labels[samples])
        optimiser.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        for term, layer in zip(terms, layers, strict=True):
            close = {"rtol": 1e-11, "atol": 1e-12}
            torch.testing.assert_close(term.weight, layer.weight.detach(), **close)
            if term.bias is not None:
                torch.testing.assert_close(term.bias, layer.bias.detach(), **close)
    assert (terms[1].weight - start).abs().max() > 0.01


def test_a_sample_drawn_twice_counts_twice() -> None:
    """The gradient is the mean over the batch as drawn, repeats included."""
    labels = torch.randint(CLASSES, (20,), generator=generator(11))
    inputs, prior = three_inputs(), draw(CLASSES, seed=12)
    samples = torch.tensor([3, 3, 3, 8])
    terms, layers = three_terms(), [as_linear(term) for term in three_terms()]
    Stack.of([terms], [inputs], [labels], [prior]).step(samples[None], 0.5)
    logits = sum(
        layer(gathered(rows)[samples])
        for layer, rows in zip(layers, inputs, strict=True)
    )
    F.cross_entropy(logits + prior, labels[samples]).backward()
    expected = layers[0].weight - 0.5 * layers[0].weight.grad
    torch.testing.assert_close(terms[0].weight, expected.detach())


def test_step_leaves_inputs_labels_and_prior_alone() -> None:
    inputs, prior = three_inputs(), draw(CLASSES, seed=12)
    labels = torch.randint(CLASSES, (20,), generator=generator(11))
    kept = [rows.table.clone() for rows in inputs], labels.clone(), prior.clone()
    stack = Stack.of([three_terms()], [inputs], [labels], [prior])
    stack.step(torch.arange(20)[None], 1.0)
    assert all(
        torch.equal(rows.table, was) for rows, was in zip(inputs, kept[0], strict=True)
    )
    assert torch.equal(labels, kept[1])
    assert torch.equal(prior, kept[2])


# --- log_prior


def test_log_prior_is_the_log_of_counts() -> None:
    """log(n + 1e-6): Balanced Softmax, finite for a class without samples."""
    prior = log_prior(torch.tensor([1000, 1, 0]))
    expected = [math.log(1000), 0.0, math.log(1e-6)]
    assert prior.tolist() == pytest.approx(expected, abs=2e-6)


def test_log_prior_leaves_shares_as_softmax() -> None:
    """softmax(log n_y) is the share of each class among the samples."""
    share = log_prior(torch.tensor([60, 30, 10])).softmax(0)
    assert share.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=1e-6)


# --- logits, predictions


def test_logits_are_the_sum_of_the_terms_for_the_samples_asked() -> None:
    terms, inputs = three_terms(), three_inputs()
    samples = torch.tensor([19, 0, 7, 7])
    expected = sum(
        as_linear(term)(gathered(rows)[samples])
        for term, rows in zip(terms, inputs, strict=True)
    )
    torch.testing.assert_close(logits_of(terms, inputs, samples), expected.detach())


@pytest.mark.parametrize("batch", [1, 3, 20, 4096])
def test_predict_is_the_largest_logit_in_batches_of_any_size(batch: int) -> None:
    terms, inputs = three_terms(), three_inputs()
    samples = torch.randperm(20, generator=generator(1))
    expected = logits_of(terms, inputs, samples).argmax(1)
    assert len(expected.unique()) > 1
    assert torch.equal(predict(terms, inputs, samples, batch), expected)


def test_predicting_nobody_gives_nothing() -> None:
    nobody = predict(three_terms(), three_inputs(), torch.empty(0, dtype=torch.int64))
    assert nobody.shape == (0,)
    assert nobody.dtype == torch.int64


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


def test_drawn_term_follows_its_generator() -> None:
    like = torch.empty(0)
    first, again, other = (drawn_term(3, 4, generator(s), like) for s in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)


def test_clone_is_independent_and_zeros_are_zero() -> None:
    term = three_terms()[0]
    copy, zeros = term.clone(), term.zeros()
    copy.weight.add_(1)
    copy.bias.add_(1)
    assert torch.equal(term.weight, three_terms()[0].weight)
    assert torch.equal(term.bias, three_terms()[0].bias)
    assert zeros.weight.shape == term.weight.shape
    assert not zeros.weight.any()
    assert not zeros.bias.any()
    bare = three_terms()[1]
    assert bare.clone().bias is None
    assert bare.zeros().bias is None


# --- a map of a table's rows, kept as its logits


@pytest.mark.parametrize("bias", [True, False])
def test_table_term_is_the_linear_map_of_its_rows(bias) -> None:
    """Same start, same steps as the map with a weight, in float64."""
    table = torch.rand(6, 9, generator=generator(), dtype=torch.float64)
    features = torch.randn(40, 3, generator=generator(1), dtype=torch.float64)
    pick = torch.randint(6, (40,), generator=generator(2))
    labels = torch.randint(5, (40,), generator=generator(3))
    inputs = [Rows(features), Rows(table, pick)]
    # The same draws, in the same order: weight, then bias.
    plain = drawn_term(5, 9, generator(4), features, 0.3, bias)
    quick = drawn_table_term(5, table, 0.3, bias, generator(4))
    first = drawn_term(5, 3, generator(5), features)
    everyone = torch.arange(40)
    fits = ([first.clone(), plain], [first.clone(), quick])
    prior = torch.zeros(5, dtype=torch.float64)
    stacks = [Stack.of([terms], [inputs], [labels], [prior]) for terms in fits]
    for step in range(30):
        samples = torch.randperm(40, generator=generator(step))[:16]
        losses = [stack.step(samples[None], 0.5) for stack in stacks]
        torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(logits_of(terms, inputs, everyone) for terms in fits))
    moved = logits_of(fits[0], inputs, everyone) - logits_of(
        [first, drawn_term(5, 9, generator(4), features, 0.3, bias)], inputs, everyone
    )
    assert moved.abs().max() > 0.5


def test_a_copy_of_a_table_term_moves_alone() -> None:
    table = torch.rand(3, 4, generator=generator())
    term = drawn_table_term(2, table, 0.5, True, generator(1))
    kept = term.logits.clone()
    copy = term.clone()
    copy.logits.add_(1)
    assert torch.equal(term.logits, kept)


def test_a_wide_table_is_drawn_in_pieces() -> None:
    """More classes than are drawn at once; every logit is finite and within reach."""
    table = torch.full((2, 4), 0.25)
    term = drawn_table_term(2500, table, 0.5, False, generator())
    assert term.logits.shape == (2, 2500)
    assert term.logits.abs().max() <= 0.5
    assert term.logits[0].std() > 0.1
