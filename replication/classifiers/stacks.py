"""Several heads of one shape, fitted side by side: a stack; one head is a stack of one.

A step of a small head costs what its launches cost, on a GPU more often than not: a
stack of H takes as many launches as one. The gradient of cross-entropy through a sum of
linear terms is one matrix product a term. It is written out here: at the sizes of the
paper the products cost what they cost, and at small ones a step is a dozen kernels
instead of autograd's hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.heads import AnyTerm, Rows, TableTerm, Term

# Weights that a stack may have on a CPU: what a core's cache holds. Beyond it a stack
# gains little or loses (bench/stacks.md).
_CACHED_WEIGHTS = 2**17


@dataclass(frozen=True)
class Stack:
    """H heads of one shape, each with inputs, labels and a prior of its own.

    Fields: `terms`: as those of a head, with a leading H. `inputs`: a `Rows` for each
    term, whose pick is (H, N): of a shared table, or of the heads' tables end to end.
    `labels` (H, N); `prior` (H, C), added to the logits; `momenta` in the shape of the
    terms, where a step has momentum or weight decay.
    """

    terms: list[AnyTerm]
    inputs: list[Rows]
    labels: Tensor
    prior: Tensor
    momenta: list[Term] | None = None

    @classmethod
    def of(
        cls,
        terms: Sequence[Sequence[AnyTerm]],
        inputs: Sequence[Sequence[Rows]],
        labels: Sequence[Tensor],
        priors: Sequence[Tensor],
        momentum: bool = False,
    ) -> "Stack":
        """Stack heads. A single one is not copied: it is fitted in place.

        Args:
            terms: for each head its terms; those of one place have one shape.
            inputs: for each head a `Rows` a term; tables of one place that are not one
                and the same are copied.
            labels: for each head (N,); priors: (C,).
            momentum: whether steps have momentum or weight decay.
        """
        stacked = [_stacked_terms(place) for place in zip(*terms, strict=True)]
        known: dict[tuple, Rows] = {}
        places = []
        for rows, term in zip(zip(*inputs, strict=True), stacked, strict=True):
            by_table = isinstance(term, TableTerm)
            key = (by_table, *map(id, rows))  # terms of the same rows share them
            if key not in known:
                known[key] = _stacked_rows(rows, len(labels[0]), by_table)
            places.append(known[key])
        return cls(
            stacked,
            places,
            torch.stack(list(labels)),
            torch.stack(list(priors)),
            [term.zeros() for term in stacked if isinstance(term, Term)]
            if momentum
            else None,
        )

    def head(self, number: int) -> list[AnyTerm]:
        """The terms of one head: views, which move as the stack is fitted."""
        return [_one_of(term, number) for term in self.terms]

    def step(
        self, samples: Tensor, lr: float, momentum: float = 0.0, decay: float = 0.0
    ) -> Tensor:
        """One step of SGD on cross-entropy of (logits + prior), in place.

        Args:
            samples: (H, B) that each head draws.
            decay: weight decay.

        Returns:
            (H,) mean loss of each head's batch.
        """
        rows: dict[int, Tensor] = {}
        for term, some in zip(self.terms, self.inputs, strict=True):
            if id(some) in rows:
                continue
            assert some.pick is not None
            picked = some.pick.gather(1, samples)
            if not isinstance(term, TableTerm):
                flat = some.table.index_select(0, picked.flatten())
                picked = flat.view(*picked.shape, -1)
            rows[id(some)] = picked
        given = [rows[id(some)] for some in self.inputs]
        labels = self.labels.gather(1, samples)
        return sgd_step(
            self.terms, self.momenta, given, labels, self.prior, lr, momentum, decay
        )


def stack_size(device: torch.device, weights: int) -> int:
    """How many heads of so many weights are fitted fastest at once.

    Returns:
        On a CPU as many as its cache holds, at least one: measured. On a GPU any
        number: assumed, for none has been measured.
    """
    if device.type != "cpu":
        return torch.iinfo(torch.int64).max
    return max(1, _CACHED_WEIGHTS // weights)


def sgd_step(
    terms: Sequence[AnyTerm],
    momenta: Sequence[Term] | None,
    rows: Sequence[Tensor],
    labels: Tensor,
    prior: Tensor,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Tensor:
    """One step of SGD on cross-entropy of (logits + prior), in place.

    Args:
        terms: with a leading H; a `TableTerm` only by plain descent.
        momenta: buffers in the shape of the terms, where there is momentum or decay.
        rows: of each term (H, B, D); of a `TableTerm` (H, B), rows of all H tables
            end to end.
        labels: (H, B); prior: (H, C).

    Returns:
        (H,) mean loss of each head's batch.
    """
    logits = prior[:, None].expand(-1, labels.shape[1], -1)
    for term, row in zip(terms, rows, strict=True):
        if isinstance(term, TableTerm):
            logits = logits + _looked_up(term.logits, row)
            continue
        logits = torch.baddbmm(logits, row, term.weight.mT)
        if term.bias is not None:
            logits.add_(term.bias[:, None])
    log_share = torch.log_softmax(logits, 2)
    wanted = labels[..., None]
    loss = -log_share.gather(2, wanted).mean((1, 2))
    error = log_share.exp_()
    error.scatter_add_(2, wanted, error.new_full(wanted.shape, -1.0))
    error.div_(labels.shape[1])
    bias_gradient = error.sum(1)
    for number, (term, row) in enumerate(zip(terms, rows, strict=True)):
        if isinstance(term, TableTerm):
            assert momentum == weight_decay == 0.0
            # The table's products are symmetric: rows serve as columns.
            products = _looked_up(term.gram, row)
            term.logits.baddbmm_(products.mT, error, alpha=-lr)
            continue
        if momentum == 0.0 and weight_decay == 0.0:
            term.weight.baddbmm_(error.mT, row, alpha=-lr)
            if term.bias is not None:
                term.bias.add_(bias_gradient, alpha=-lr)
            continue
        assert momenta is not None
        buffer = momenta[number]
        buffer.weight.mul_(momentum).baddbmm_(error.mT, row)
        buffer.weight.add_(term.weight, alpha=weight_decay)
        term.weight.add_(buffer.weight, alpha=-lr)
        if term.bias is not None:
            assert buffer.bias is not None
            buffer.bias.mul_(momentum).add_(bias_gradient)
            buffer.bias.add_(term.bias, alpha=weight_decay)
            term.bias.add_(buffer.bias, alpha=-lr)
    return loss


def _looked_up(tables: Tensor, rows: Tensor) -> Tensor:
    """(H, R, W) tables and (H, B) rows of them end to end -> (H, B, W)."""
    found = tables.flatten(0, 1).index_select(0, rows.flatten())
    return found.view(*rows.shape, -1)


def _stacked_terms(terms: Sequence[AnyTerm]) -> AnyTerm:
    """Terms of one place; a single one is seen, not copied."""

    def stacked(values: Sequence[Tensor]) -> Tensor:
        return values[0][None] if len(values) == 1 else torch.stack(list(values))

    if isinstance(terms[0], TableTerm):
        return TableTerm(
            stacked([term.logits for term in terms]),
            stacked([term.gram for term in terms]),
        )
    bare = terms[0].bias is None
    return Term(
        stacked([term.weight for term in terms]),
        None if bare else stacked([term.bias for term in terms]),
    )


def _one_of(term: AnyTerm, number: int) -> AnyTerm:
    if isinstance(term, TableTerm):
        return TableTerm(term.logits[number], term.gram[number])
    return Term(term.weight[number], None if term.bias is None else term.bias[number])


def _stacked_rows(rows: Sequence[Rows], length: int, by_table: bool) -> Rows:
    """Rows of one place: picks (H, N), shifted where the heads' tables differ.

    Args:
        by_table: of a `TableTerm`, which has its tables' logits and needs no table.
    """
    first = rows[0].table
    device = first.device
    everyone = torch.arange(length, device=device)
    picks = torch.stack([everyone if r.pick is None else r.pick for r in rows])
    if len(rows) == 1 or (not by_table and all(r.table is first for r in rows)):
        return Rows(first, picks)
    lengths = torch.tensor([0, *(len(r.table) for r in rows[:-1])], device=device)
    picks = picks + lengths.cumsum(0)[:, None]
    return Rows(first if by_table else torch.cat([r.table[:] for r in rows]), picks)
