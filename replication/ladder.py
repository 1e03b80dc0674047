"""From the head to DLSA, one step a rung, and what lies beside that ladder.

Every rung decides each test sample once, under one seed: with the classifiers of the
cascade, the first term always starting from the head. What two rungs fit alike is
fitted once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from replication.cascade import Classifiers, Decided, Level
from replication.classifiers.heads import Term
from replication.core.settings import ClassifierSettings
from replication.protocols import (
    PROTOCOLS,
    Protocol,
    Rung,
    given_to_dlsa,
    rungs_of,
)
from replication.samples.features import Samples


@dataclass(frozen=True)
class Setup:
    """What every rung stands on.

    Fields: `chains`: the levels of each protocol, by its key; `head` that every first
    term starts from; `seed` of all that is drawn.
    """

    chains: Mapping[str, Sequence[Level]]
    splits: Mapping[str, Samples]
    head: Term
    settings: ClassifierSettings
    seed: int

    def climb(self, names: Iterable[str], protocol: Protocol) -> dict[str, Decided]:
        """What some rungs of a protocol decide, by name."""
        asked = {name: rungs_of(protocol)[name] for name in names}
        climbed: dict[str, Decided] = {}

        def standing(name: str) -> str:
            return f"{self._split(asked[name])} {dict(asked[name].changes)}"

        for _, group in groupby(sorted(asked, key=standing), key=standing):
            climbed |= self._on_one_split(
                {name: asked[name] for name in group}, protocol
            )
        return {name: climbed[name] for name in asked}

    def _on_one_split(
        self, rungs: Mapping[str, Rung], protocol: Protocol
    ) -> dict[str, Decided]:
        """Rungs that differ in their classifiers alone; inputs are made once a part."""
        first = next(iter(rungs.values()))
        protocol = replace(protocol, **first.changes)
        levels = self._levels(self._split(first), protocol)
        classifiers = Classifiers(self.head, self.splits, self.settings, protocol)
        givens = [rung.given or given_to_dlsa(self.settings) for rung in rungs.values()]
        decided = classifiers.decide(levels, givens, self.seed)
        return dict(zip(rungs, decided, strict=True))

    def _split(self, rung: Rung) -> str:
        """Where its samples are split; both protocols may have kept the same epochs."""
        epochs = {
            tuple(level.fitted.epoch for level in levels)
            for levels in self.chains.values()
        }
        return "own" if rung.split == "other" and len(epochs) == 1 else rung.split

    def _levels(self, split: str, protocol: Protocol) -> Sequence[Level]:
        if split == "none":
            return []
        if split == "other":
            (key,) = PROTOCOLS.keys() - {protocol.key}
            return self.chains[key]
        own = self.chains[protocol.key]
        return random_levels(own, self.seed) if split == "random" else own


def random_levels(levels: Sequence[Level], seed: int) -> list[Level]:
    """Parts and clusters of the same sizes, but drawn: which sample is in which.

    Of the filters nothing is used but their number of clusters.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(values: Tensor) -> Tensor:
        order = torch.randperm(len(values), generator=generator)
        return values[order.to(values.device)]

    drawn: list[Level] = []
    for level in levels:
        drawn.append(
            replace(
                level,
                remain={
                    split: drawn[-1].staying(split) if drawn else rows
                    for split, rows in level.remain.items()
                },
                leave={split: shuffled(some) for split, some in level.leave.items()},
                cluster={
                    split: shuffled(some) for split, some in level.cluster.items()
                },
                log_likelihood={},
            )
        )
    return drawn
