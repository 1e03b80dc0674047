"""The written-out step of descent is autograd's and PyTorch's own, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.classifiers.descent import momentum_step, sgd_step
from replication.classifiers.heads import (
    Term,
    drawn_table_term,
    drawn_term,
)

CLASSES, SAMPLES, WIDTHS = 5, 20, (4, 6, 2)
CLOSE = {"rtol": 1e-11, "atol": 1e-12}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


ROWS = [draw(SAMPLES, width, seed=width) for width in WIDTHS]
LABELS = torch.randint(CLASSES, (SAMPLES,), generator=generator(11))
PRIOR = draw(CLASSES, seed=12)


def made_terms() -> list[Term]:
    """The middle term has no bias."""
    terms = [Term(draw(CLASSES, d, seed=d), draw(CLASSES, seed=9 + d)) for d in WIDTHS]
    terms[1].bias = None
    return terms


def as_linear(term: Term) -> nn.Linear:
    classes, dimensions = term.weight.shape
    layer = nn.Linear(dimensions, classes, bias=term.bias is not None).double()
    layer.weight.data.copy_(term.weight)
    if term.bias is not None:
        layer.bias.data.copy_(term.bias)
    return layer


def test_a_step_is_that_of_autograd_repeats_included() -> None:
    """Loss and every weight over several batches; a sample drawn twice counts twice."""
    terms = made_terms()
    layers = [as_linear(term) for term in terms]
    values = [value for layer in layers for value in layer.parameters()]
    for step in range(6):
        some = torch.randint(SAMPLES, (5 + step,), generator=generator(step))
        rows, lr = [table[some] for table in ROWS], 0.3 / (1 + step)
        loss = sgd_step(terms, rows, LABELS[some], PRIOR, lr)
        logits = sum(layer(row) for layer, row in zip(layers, rows, strict=True))
        expected = F.cross_entropy(logits + PRIOR, LABELS[some])
        torch.testing.assert_close(loss, expected.detach(), **CLOSE)
        for value, grad in zip(
            values, torch.autograd.grad(expected, values), strict=True
        ):
            value.data.sub_(lr * grad)
    for term, layer in zip(terms, layers, strict=True):
        torch.testing.assert_close(term.weight, layer.weight.detach(), **CLOSE)
        if term.bias is not None:
            torch.testing.assert_close(term.bias, layer.bias.detach(), **CLOSE)
    assert (terms[1].weight - made_terms()[1].weight).abs().max() > 0.01


def test_a_step_with_momentum_is_that_of_torch_sgd() -> None:
    momentum, decay = 0.9, 0.05
    term = made_terms()[0]
    layer, buffer = as_linear(term), term.zeros()
    optimiser = torch.optim.SGD(
        layer.parameters(), lr=1.0, momentum=momentum, weight_decay=decay
    )
    for step in range(6):
        some = torch.randperm(SAMPLES, generator=generator(step))[: 5 + step]
        row, lr = ROWS[0][some], 0.3 / (1 + step)
        loss = momentum_step(
            term, buffer, row, LABELS[some], PRIOR, lr, momentum, decay
        )
        expected = F.cross_entropy(layer(row) + PRIOR, LABELS[some])
        optimiser.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        torch.testing.assert_close(loss, expected.detach(), **CLOSE)
        torch.testing.assert_close(term.weight, layer.weight.detach(), **CLOSE)
        torch.testing.assert_close(term.bias, layer.bias.detach(), **CLOSE)


@pytest.mark.parametrize("bias", [True, False])
def test_a_table_term_is_the_linear_map_of_its_rows(bias) -> None:
    """Same start, same steps as the map with a weight."""
    table = torch.rand(6, 9, generator=generator(), dtype=torch.float64)
    pick = torch.randint(6, (SAMPLES,), generator=generator(2))
    # The same draws, in the same order: weight, then bias.
    plain = drawn_term(CLASSES, 9, generator(4), table, 0.3, bias)
    quick = drawn_table_term(CLASSES, table, 0.3, bias, generator(4))
    start = quick.logits.clone()
    first = drawn_term(CLASSES, 4, generator(5), table)
    with_weight, with_logits = [first.clone(), plain], [first.clone(), quick]
    for step in range(30):
        some = torch.randperm(SAMPLES, generator=generator(step))[:16]
        x, labels = ROWS[0][some], LABELS[some]
        torch.testing.assert_close(
            sgd_step(with_weight, [x, table[pick[some]]], labels, PRIOR, 0.5),
            sgd_step(with_logits, [x, pick[some]], labels, PRIOR, 0.5),
        )
    expected = F.linear(table, plain.weight, plain.bias)
    seen = pick.unique()
    torch.testing.assert_close(quick.logits[seen], expected[seen])
    torch.testing.assert_close(with_logits[0].weight, with_weight[0].weight)
    assert (quick.logits - start).abs().max() > 0.5
