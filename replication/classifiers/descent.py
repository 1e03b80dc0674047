"""SGD on cross-entropy of linear heads that see the same inputs, written out.

Heads that are fitted to the same samples in the same order are one matrix, and so are
the terms of a head: a step is two matrix products and two passes over the logits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.heads import Rows, Term
from replication.core.products import linear

_ROOM = 2**24  # bytes of inputs that are gathered at once, if a batch needs no more


@dataclass(frozen=True)
class Block:
    """Columns of a stack: terms of the same rows, or all biases, fitted as one.

    The sum of m terms moves m times as far as each: as one term whose rows are sqrt(m)
    times as long. A table that is wider than long, and the same for all splits, is seen
    in coordinates of its rows' span, which no step leaves: R wide instead of D.

    Fields: `terms`: their places in a head; `width`, R or D; `basis` (D, R), or None.
    """

    terms: list[int]
    width: int
    basis: Tensor | None = None

    @property
    def length(self) -> float:
        """How much longer its rows are."""
        return len(self.terms) ** 0.5

    def seen(self, inputs: Sequence[Rows]) -> Rows:
        """Its rows, of the inputs of all terms."""
        rows = inputs[self.terms[0]]
        return rows if self.basis is None else Rows(rows.table @ self.basis, rows.pick)

    def columns(self, values: Sequence[Tensor]) -> Tensor:
        """What values of its terms, each (C, D), are in a stack, (C, width)."""
        total = torch.stack([values[place] for place in self.terms]).sum(0)
        return (total if self.basis is None else total @ self.basis) / self.length

    def way(self, columns: Tensor) -> Tensor:
        """How far each of its terms goes when its columns go some way."""
        way = columns / self.length
        return way if self.basis is None else way @ self.basis.T


class Stack:
    """H heads of C classes side by side, and all the room that a step needs.

    `weight` (H C, D), the heads block by block and then their biases, is what is
    fitted.
    """

    def __init__(
        self,
        heads: Sequence[Sequence[Term]],
        seen: Sequence[Sequence[Rows]],
        prior: Tensor,
        batch_size: int,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Stack heads of the same inputs, with biases in the same terms, one at least.

        Args:
            seen: inputs of the terms, of each split that will be looked at.
            prior: (H, C), added to the logits in fitting.
        """
        biased = [place for place, term in enumerate(heads[0]) if term.bias is not None]
        self.heads, self.blocks, self.biases = heads, _blocks(seen), Block(biased, 1)
        self.start = torch.cat([self._side_by_side(terms) for terms in heads])
        self.weight = self.start.clone()
        self.momentum, self.weight_decay = momentum, weight_decay
        moving = momentum or weight_decay
        self.velocity = torch.zeros_like(self.start) if moving else None
        self.prior = prior.to(self.start).flatten()
        width = self.start.shape[1]
        batches = max(_ROOM // (batch_size * width * self.start.element_size()), 1)
        self.inputs = self.start.new_empty(batches * batch_size, width)
        self.inputs[:, -1] = self.biases.length
        self.error = self.start.new_empty(batch_size * len(heads), prior.shape[1])

    def descend(
        self, inputs: Sequence[Rows], labels: Tensor, order: Tensor, lr: float
    ) -> None:
        """One epoch: a step for each batch of samples in this order."""
        for batch in self._batches(inputs, labels, order):
            self.step(*batch, lr)

    def step(self, inputs: Tensor, labels: Tensor, lr: float) -> None:
        """One step on a batch's mean cross-entropy of logits + prior.

        Args:
            inputs: (B, D), the columns of the blocks.
            labels: (B H, 1), each sample's once for each head.
        """
        size, error = len(inputs), self.error[: len(labels)]
        logits = linear(inputs, self.weight, self.prior)
        torch.softmax(logits.view(error.shape), 1, out=error)
        error.scatter_add_(1, labels, error.new_full(labels.shape, -1.0))
        error = error.view(size, -1)
        if self.velocity is None:
            self.weight.add_(linear(error.T, inputs.T), alpha=-lr / size)
            return
        self.velocity.mul_(self.momentum)
        self.velocity.add_(linear(error.T, inputs.T), alpha=1 / size)
        self.velocity.add_(self.weight, alpha=self.weight_decay)
        self.weight.add_(self.velocity, alpha=-lr)

    def right(self, inputs: Sequence[Rows], labels: Tensor) -> Tensor:
        """Share of samples that each head decides rightly, without the prior, (H,)."""
        everyone = torch.arange(len(labels), device=labels.device)
        right = self.prior.new_zeros(len(self.heads))
        for rows, wanted in self._batches(inputs, labels, everyone):
            logits = linear(rows, self.weight).view(len(wanted), -1)
            right += (logits.argmax(1, True) == wanted).view(len(rows), -1).sum(0)
        return right / len(labels)

    def terms(self, weight: Tensor) -> list[list[Term]]:
        """The terms of each head at some weight."""
        ways = (weight - self.start).chunk(len(self.heads))
        return [
            self._gone(terms, way) for terms, way in zip(self.heads, ways, strict=True)
        ]

    def _batches(
        self, inputs: Sequence[Rows], labels: Tensor, samples: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of a step; gathered for as many as there is room for."""
        seen = [block.seen(inputs) for block in self.blocks]
        number = len(self.heads)
        size = len(self.error) // number
        for some in samples.split(len(self.inputs)):
            gathered = self.inputs[: len(some)]
            for (block, columns), rows in zip(self._cut(gathered), seen, strict=True):
                rows.into(columns, some)
                if len(block.terms) > 1:
                    columns.mul_(block.length)
            wanted = labels[some].repeat_interleave(number)[:, None]
            batches = gathered.split(size), wanted.split(size * number)
            yield from zip(*batches, strict=True)

    def _cut(self, values: Tensor) -> list[tuple[Block, Tensor]]:
        """Each block with its columns; that of the biases, the last, is left out."""
        columns = values[:, :-1].split([block.width for block in self.blocks], 1)
        return list(zip(self.blocks, columns, strict=True))

    def _side_by_side(self, terms: Sequence[Term]) -> Tensor:
        weights = [term.weight for term in terms]
        biases = self.biases.columns([term.bias for term in terms])
        columns = [block.columns(weights) for block in self.blocks]
        return torch.cat([*columns, biases[:, None]], 1)

    def _gone(self, terms: Sequence[Term], way: Tensor) -> list[Term]:
        gone = [Term(term.weight, term.bias) for term in terms]
        for block, columns in self._cut(way):
            for place in block.terms:
                gone[place].weight = gone[place].weight + block.way(columns)
        for place in self.biases.terms:
            gone[place].bias = gone[place].bias + self.biases.way(way[:, -1])
        return gone


def _blocks(seen: Sequence[Sequence[Rows]]) -> list[Block]:
    places: dict[int, list[int]] = {}
    for place, rows in enumerate(seen[0]):
        places.setdefault(id(rows), []).append(place)
    blocks = []
    for terms in places.values():
        first, *others = (inputs[terms[0]] for inputs in seen)
        length, width = first.table.shape
        same = all(rows.table is first.table for rows in others)
        if first.pick is not None and length < width and same:
            blocks.append(Block(terms, length, torch.linalg.qr(first.table.T).Q))
        else:
            blocks.append(Block(terms, width))
    return blocks
