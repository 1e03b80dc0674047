"""A head is a sum of linear terms; each term looks its rows up, none is (N, C)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from replication.samples.features import Features


@dataclass(frozen=True)
class Rows:
    """Inputs of one term: rows of a table (R, D), picked by sample.

    Fields: `pick` (N,) row of each sample; None where sample n has row n.
    """

    table: Features
    pick: Tensor | None = None

    def rows_of(self, samples: Tensor) -> Tensor:
        """Which row each of some samples has, (n,) -> (n,)."""
        return samples if self.pick is None else self.pick[samples]

    def of(self, samples: Tensor) -> Tensor:
        """Rows of some samples, (n,) -> (n, D)."""
        return self.table.index_select(0, self.rows_of(samples))


@dataclass
class Term:
    """One linear map, weight (C, D) and bias (C,) or None; fitted in place."""

    weight: Tensor
    bias: Tensor | None

    @property
    def fitted(self) -> Tensor:
        """What moves, but for the bias."""
        return self.weight

    def clone(self) -> "Term":
        """An independent copy."""
        bias = None if self.bias is None else self.bias.clone()
        return Term(self.weight.clone(), bias)

    def zeros(self) -> "Term":
        """The same shapes, all zero."""
        return Term(
            torch.zeros_like(self.weight),
            None if self.bias is None else torch.zeros_like(self.bias),
        )


@dataclass
class TableTerm:
    """A linear map of the R rows t_r of a table, kept as their logits; fitted in place.

    Plain gradient descent moves W by sums of e_n t_r', so that the logits L = W t + b
    move by -lr (t_r . t_r' + 1) e_n: the same map, with (R, C) numbers where W has
    (C, D). For the K = 500 clusters' class frequencies of
    iNaturalist 2018 that is 4 million numbers, not 66, and a thirtieth of the products.

    Fields: `logits` (R, C); `gram` (R, R), t_r . t_r', plus 1 where there is a bias.
    """

    logits: Tensor
    gram: Tensor

    @property
    def fitted(self) -> Tensor:
        """What moves."""
        return self.logits

    def clone(self) -> "TableTerm":
        """An independent copy; the table's products are shared, they never move."""
        return TableTerm(self.logits.clone(), self.gram)

    def zeros(self) -> "TableTerm":
        """The map that is zero on every row."""
        return TableTerm(torch.zeros_like(self.logits), self.gram)


AnyTerm = Term | TableTerm
_DRAWN_AT_ONCE = 1024


def drawn_table_term(
    num_classes: int,
    table: Tensor,
    bound: float,
    bias: bool,
    generator: torch.Generator,
) -> TableTerm:
    """The map of a table's rows, freshly drawn: uniform in +-bound, as `drawn_term`."""
    logits = table.new_empty(len(table), num_classes)
    gram = table @ table.T
    for classes in torch.arange(num_classes).split(_DRAWN_AT_ONCE):
        weight = torch.rand(len(classes), table.shape[1], generator=generator)
        weight = weight.mul_(2 * bound).sub_(bound).to(table)
        logits[:, classes[0] : classes[-1] + 1] = table @ weight.T
    if bias:
        drawn = torch.rand(num_classes, generator=generator)
        logits += drawn.mul_(2 * bound).sub_(bound).to(table)
        gram += 1
    return TableTerm(logits, gram)


def drawn_term(
    num_classes: int,
    dimensions: int,
    generator: torch.Generator,
    like: Tensor,
    bound: float | None = None,
    bias: bool = True,
) -> Term:
    """A freshly drawn term: uniform in +-1/sqrt(D), as PyTorch draws a linear layer.

    `like` gives device and type; `bound` is another one, for a part of a wider layer.
    """
    bound = dimensions**-0.5 if bound is None else bound
    weight = torch.rand(num_classes, dimensions, generator=generator)
    weight = weight.mul_(2 * bound).sub_(bound).to(like)
    if not bias:
        return Term(weight, None)
    drawn = torch.rand(num_classes, generator=generator)
    return Term(weight, drawn.mul_(2 * bound).sub_(bound).to(like))


def log_prior(counts: Tensor) -> Tensor:
    """Balanced Softmax's offset of the logits: log(n_y + 1e-6), as in DLSA's code.

    Counts (C,), zeros allowed, -> (C,) in torch's default type.
    """
    return (counts.to(torch.get_default_dtype()) + 1e-6).log()


def logits_of(terms: Sequence[AnyTerm], inputs: list[Rows], samples: Tensor) -> Tensor:
    """Sum of the terms' logits for some samples, (n,) -> (n, C)."""
    logits = None
    shared: dict[int, Tensor] = {}  # terms of the same rows share them
    for term, rows in zip(terms, inputs, strict=True):
        if isinstance(term, TableTerm):
            part = term.logits.index_select(0, rows.rows_of(samples))
        else:
            if id(rows) not in shared:
                shared[id(rows)] = rows.of(samples)
            part = F.linear(shared[id(rows)], term.weight, term.bias)
        logits = part if logits is None else logits.add_(part)
    assert logits is not None
    return logits


def predict(
    terms: Sequence[AnyTerm], inputs: list[Rows], samples: Tensor, batch: int = 4096
) -> Tensor:
    """Class with the largest logit, without any prior, (n,) -> (n,) int64."""
    parts = [logits_of(terms, inputs, some).argmax(1) for some in samples.split(batch)]
    return torch.cat(parts) if parts else samples
