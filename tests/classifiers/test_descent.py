"""The written-out step is autograd's and PyTorch's own, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import replication.classifiers.descent as descent
from replication.classifiers.descent import Stack
from replication.classifiers.heads import Rows, Term, predict
from tests.made import draw, generator

CLASSES, SAMPLES, BATCH = 5, 20, 6
CLOSE = {"rtol": 1e-11, "atol": 1e-12}


LABELS = torch.randint(CLASSES, (SAMPLES,), generator=generator(11))
PRIOR = draw(2, CLASSES, seed=12)
X, LOOKED_UP = Rows(draw(SAMPLES, 4, seed=1)), torch.arange(SAMPLES) % 3
# Own rows; the same once more; a table that is narrow; one wider than long.
INPUTS = {
    "one term": [X],
    "twice the same": [X, X],
    "narrow table": [X, Rows(draw(3, 2, seed=2), LOOKED_UP)],
    "wide table": [X, X, Rows(draw(3, 7, seed=2), LOOKED_UP)],
}


def made_head(inputs: list[Rows], seed: int) -> list[Term]:
    """Biases in the first term and the last."""
    terms = []
    for place, rows in enumerate(inputs):
        bias = draw(CLASSES, seed=seed) if place in (0, len(inputs) - 1) else None
        weight = draw(CLASSES, rows.table.shape[1], seed=10 * seed + place)
        terms.append(Term(weight, bias))
    return terms


def as_linear(term: Term) -> nn.Linear:
    classes, dimensions = term.weight.shape
    layer = nn.Linear(dimensions, classes, bias=term.bias is not None).double()
    layer.weight.data.copy_(term.weight)
    if term.bias is not None:
        layer.bias.data.copy_(term.bias)
    return layer


def orders(epochs: int) -> list[Tensor]:
    """Of an epoch of all samples, some of them twice: 5 steps, the last one shorter."""
    return [
        torch.randint(SAMPLES, (27,), generator=generator(seed))
        for seed in range(epochs)
    ]


def descended(
    heads: list[list[Term]], inputs: list[Rows], prior: Tensor, **sgd: float
) -> list[list[Term]]:
    stack = Stack(heads, [inputs, inputs], prior, BATCH, **sgd)
    for epoch, order in enumerate(orders(3)):
        stack.descend(inputs, LABELS, order, 0.3 / (1 + epoch))
    return stack.terms(stack.weight)


def by_autograd(
    head: list[Term], inputs: list[Rows], prior: Tensor, **sgd: float
) -> list[nn.Linear]:
    """A layer a term on gathered rows, and PyTorch's own SGD."""
    layers = [as_linear(term) for term in head]
    optimiser = torch.optim.SGD(nn.ModuleList(layers).parameters(), lr=1.0, **sgd)
    for epoch, order in enumerate(orders(3)):
        optimiser.param_groups[0]["lr"] = 0.3 / (1 + epoch)
        for some in order.split(BATCH):
            pairs = zip(layers, inputs, strict=True)
            logits = sum(layer(rows.of(some)) for layer, rows in pairs)
            optimiser.zero_grad()
            F.cross_entropy(logits + prior, LABELS[some]).backward()
            optimiser.step()
    return layers


def assert_close(terms: list[Term], expected: list[Term] | list[nn.Linear]) -> None:
    for term, other in zip(terms, expected, strict=True):
        torch.testing.assert_close(term.weight, other.weight.detach(), **CLOSE)
        if term.bias is not None:
            torch.testing.assert_close(term.bias, other.bias.detach(), **CLOSE)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_steps_are_those_of_autograd(inputs) -> None:
    """Every weight of every term; a sample drawn twice counts twice."""
    head = made_head(inputs, 1)
    [terms] = descended([head], inputs, PRIOR[:1])
    assert_close(terms, by_autograd(head, inputs, PRIOR[0]))
    for term, start in zip(terms, head, strict=True):
        assert (term.weight - start.weight).abs().max() > 0.01


def test_steps_with_momentum_are_those_of_torch_sgd() -> None:
    sgd = {"momentum": 0.9, "weight_decay": 0.05}
    head = made_head([X], 1)
    [terms] = descended([head], [X], PRIOR[:1], **sgd)
    assert_close(terms, by_autograd(head, [X], PRIOR[0], **sgd))


@pytest.mark.parametrize("room", [1, 2**24])
def test_stacked_heads_are_those_fitted_alone(monkeypatch, room) -> None:
    """Whether a batch is gathered at once or an epoch; priors are each head's own."""
    inputs = INPUTS["wide table"]
    heads = [made_head(inputs, 1), made_head(inputs, 2)]
    alone = [
        descended([head], inputs, prior[None])[0]
        for head, prior in zip(heads, PRIOR, strict=True)
    ]
    monkeypatch.setattr(descent, "_ROOM", room)
    for terms, expected in zip(descended(heads, inputs, PRIOR), alone, strict=True):
        assert_close(terms, expected)
    assert not torch.allclose(alone[0][0].weight, alone[1][0].weight)


def test_what_is_right_is_what_the_terms_predict() -> None:
    inputs = INPUTS["wide table"]
    heads = [made_head(inputs, 1), made_head(inputs, 2)]
    stack = Stack(heads, [inputs], PRIOR, BATCH)
    stack.descend(inputs, LABELS, torch.arange(SAMPLES), 0.1)
    everyone = torch.arange(SAMPLES)
    expected = [
        (predict(terms, inputs, everyone) == LABELS).float().mean().item()
        for terms in stack.terms(stack.weight)
    ]
    assert stack.right(inputs, LABELS).tolist() == pytest.approx(expected)
    assert expected[0] != expected[1]


def test_a_table_that_differs_between_splits_is_seen_whole() -> None:
    """Rows of another table may lie outside the first one's span."""
    seen = [[X, Rows(draw(3, 7, seed=s), LOOKED_UP)] for s in (2, 3)]
    head = made_head(seen[0], 1)
    stack = Stack([head], seen, PRIOR[:1], BATCH)
    expected = (predict(head, seen[1], torch.arange(SAMPLES)) == LABELS).sum() / SAMPLES
    assert stack.right(seen[1], LABELS).item() == pytest.approx(expected.item())
    assert stack.weight.shape[1] == 4 + 7 + 1
