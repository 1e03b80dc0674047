"""A step of SGD on cross-entropy through a sum of linear terms, written out.

Its gradient is one matrix product a term: at small sizes a step is a dozen kernels
instead of autograd's hundred.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from replication.classifiers.heads import AnyTerm, TableTerm, Term


def sgd_step(
    terms: Sequence[AnyTerm],
    rows: Sequence[Tensor],
    labels: Tensor,
    prior: Tensor,
    lr: float,
) -> Tensor:
    """One step of plain SGD on cross-entropy of (logits + prior), in place; its loss.

    `rows` are of each term (B, D); of a `TableTerm` (B,), rows of its table.
    """
    loss, error = _loss_and_error(terms, rows, labels, prior)
    bias_gradient = error.sum(0)
    for term, row in zip(terms, rows, strict=True):
        if isinstance(term, TableTerm):
            # The table's products are symmetric: rows serve as columns.
            products = term.gram.index_select(0, row)
            term.logits.addmm_(products.T, error, alpha=-lr)
            continue
        term.weight.addmm_(error.T, row, alpha=-lr)
        if term.bias is not None:
            term.bias.add_(bias_gradient, alpha=-lr)
    return loss


def momentum_step(
    term: Term,
    buffer: Term,
    row: Tensor,
    labels: Tensor,
    prior: Tensor,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> Tensor:
    """As `sgd_step`, of one term, with momentum (in `buffer`) and weight decay."""
    loss, error = _loss_and_error([term], [row], labels, prior)
    buffer.weight.mul_(momentum).addmm_(error.T, row)
    buffer.weight.add_(term.weight, alpha=weight_decay)
    term.weight.add_(buffer.weight, alpha=-lr)
    if term.bias is not None:
        assert buffer.bias is not None
        buffer.bias.mul_(momentum).add_(error.sum(0))
        buffer.bias.add_(term.bias, alpha=weight_decay)
        term.bias.add_(buffer.bias, alpha=-lr)
    return loss


def _loss_and_error(
    terms: Sequence[AnyTerm], rows: Sequence[Tensor], labels: Tensor, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean loss, and its gradient by the logits (B, C)."""
    logits = prior
    for term, row in zip(terms, rows, strict=True):
        if isinstance(term, TableTerm):
            logits = logits + term.logits.index_select(0, row)
            continue
        logits = torch.addmm(logits, row, term.weight.T)
        if term.bias is not None:
            logits.add_(term.bias)
    log_share = torch.log_softmax(logits, 1)
    wanted = labels[:, None]
    loss = -log_share.gather(1, wanted).mean()
    error = log_share.exp_()
    error.scatter_add_(1, wanted, error.new_full(wanted.shape, -1.0))
    return loss, error.div_(len(labels))
