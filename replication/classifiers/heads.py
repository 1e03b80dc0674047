"""A head is a sum of linear terms; each term looks its rows up, none is (N, C).

The gradient of cross-entropy through a sum of linear terms is one matrix product a
term. It is written out here: at the sizes of the paper the products cost what they
cost, and at small ones a step is a dozen kernels instead of autograd's hundred.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Rows:
    """Inputs of one term: rows of a table, picked by sample.

    Fields: `table` (R, D); `pick` (N,) row of each sample, or None where R = N and
    sample n has row n.
    """

    table: Tensor
    pick: Tensor | None = None

    def of(self, samples: Tensor) -> Tensor:
        """Rows of some samples, (n,) -> (n, D)."""
        if self.pick is not None:
            samples = self.pick[samples]
        return self.table.index_select(0, samples)


@dataclass
class Term:
    """One linear map, weight (C, D) and bias (C,) or None; fitted in place."""

    weight: Tensor
    bias: Tensor | None

    def clone(self) -> "Term":
        """An independent copy."""
        bias = None if self.bias is None else self.bias.clone()
        return Term(self.weight.clone(), bias)

    def zeros(self) -> "Term":
        """Momentum buffers: the same shapes, all zero."""
        return Term(
            torch.zeros_like(self.weight),
            None if self.bias is None else torch.zeros_like(self.bias),
        )


def drawn_term(
    num_classes: int, dimensions: int, generator: torch.Generator, like: Tensor
) -> Term:
    """A freshly drawn term: uniform in +-1/sqrt(D), as PyTorch draws a linear layer.

    Args:
        generator: on the CPU.
        like: gives device and type.
    """
    bound = dimensions**-0.5
    weight = torch.rand(num_classes, dimensions, generator=generator)
    bias = torch.rand(num_classes, generator=generator)
    return Term(
        weight.mul_(2 * bound).sub_(bound).to(like),
        bias.mul_(2 * bound).sub_(bound).to(like),
    )


def log_prior(counts: Tensor, smoothing: float = 1e-6) -> Tensor:
    """Balanced Softmax's offset of the logits.

    Implements: not in the paper: CE(logits + log n_y), log(n + 1e-6) as DLSA's code.

    Args:
        counts: (C,) training samples of each class, zeros allowed.

    Returns:
        (C,) in torch's default type.
    """
    return (counts.to(torch.get_default_dtype()) + smoothing).log()


def logits_of(terms: list[Term], inputs: list[Rows], samples: Tensor) -> Tensor:
    """Sum of the terms' logits for some samples, (n,) -> (n, C)."""
    logits = None
    for term, rows in zip(terms, inputs, strict=True):
        part = F.linear(rows.of(samples), term.weight, term.bias)
        logits = part if logits is None else logits.add_(part)
    assert logits is not None
    return logits


def predict(
    terms: list[Term], inputs: list[Rows], samples: Tensor, batch: int = 4096
) -> Tensor:
    """Class with the largest logit, without any prior, (n,) -> (n,) int64."""
    parts = [logits_of(terms, inputs, some).argmax(1) for some in samples.split(batch)]
    return torch.cat(parts) if parts else samples


def sgd_step(
    terms: list[Term],
    momenta: list[Term] | None,
    inputs: list[Rows],
    samples: Tensor,
    labels: Tensor,
    prior: Tensor,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Tensor:
    """One step of SGD on cross-entropy of (logits + prior), in place.

    Args:
        terms: fitted in place.
        momenta: buffers in the shape of the terms, where momentum > 0.
        samples: (B,) drawn; labels: (B,) of those.
        prior: (C,) added to the logits, see `log_prior`.

    Returns:
        The batch's mean loss, a scalar.
    """
    rows = [some.of(samples) for some in inputs]
    logits = prior.expand(len(samples), -1)
    for term, row in zip(terms, rows, strict=True):
        logits = torch.addmm(logits, row, term.weight.T)
        if term.bias is not None:
            logits.add_(term.bias)
    log_share = torch.log_softmax(logits, 1)
    loss = -log_share.gather(1, labels[:, None]).mean()
    error = log_share.exp_()
    error.scatter_add_(1, labels[:, None], error.new_full((len(labels), 1), -1.0))
    error.div_(len(labels))
    bias_gradient = error.sum(0)
    for number, (term, row) in enumerate(zip(terms, rows, strict=True)):
        if momentum == 0.0 and weight_decay == 0.0:
            term.weight.addmm_(error.T, row, alpha=-lr)
            if term.bias is not None:
                term.bias.add_(bias_gradient, alpha=-lr)
            continue
        assert momenta is not None
        buffer = momenta[number]
        buffer.weight.mul_(momentum).addmm_(error.T, row)
        buffer.weight.add_(term.weight, alpha=weight_decay)
        term.weight.add_(buffer.weight, alpha=-lr)
        if term.bias is not None:
            buffer.bias.mul_(momentum).add_(bias_gradient)
            buffer.bias.add_(term.bias, alpha=weight_decay)
            term.bias.add_(buffer.bias, alpha=-lr)
    return loss
