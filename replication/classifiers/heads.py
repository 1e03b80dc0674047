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

    def into(self, out: Tensor, samples: Tensor) -> None:
        """Write rows of some samples, (n,), to columns (n, D) of a wider matrix."""
        if isinstance(self.table, Tensor):
            torch.index_select(self.table, 0, self.rows_of(samples), out=out)
        else:
            out.copy_(self.of(samples))


@dataclass
class Term:
    """One linear map, weight (C, D) and bias (C,) or None."""

    weight: Tensor
    bias: Tensor | None


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


def logits_of(terms: Sequence[Term], inputs: list[Rows], samples: Tensor) -> Tensor:
    """Sum of the terms' logits for some samples, (n,) -> (n, C)."""
    logits = None
    for term, rows in zip(terms, inputs, strict=True):
        if len(rows.table) < len(samples):  # each row once, not once a sample
            of_table = F.linear(rows.table, term.weight, term.bias)
            part = of_table.index_select(0, rows.rows_of(samples))
        else:
            part = F.linear(rows.of(samples), term.weight, term.bias)
        logits = part if logits is None else logits.add_(part)
    assert logits is not None
    return logits


def predict(
    terms: Sequence[Term], inputs: list[Rows], samples: Tensor, batch: int = 4096
) -> Tensor:
    """Class with the largest logit, without any prior, (n,) -> (n,) int64."""
    parts = [logits_of(terms, inputs, some).argmax(1) for some in samples.split(batch)]
    return torch.cat(parts) if parts else samples
