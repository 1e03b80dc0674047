"""Whether the Flow Filters separate Few from Many, on images that they never saw.

AUROC of log P(x) with an interval over seeds and samples: its influence values are the
structural components of DeLong et al. (1988). Who had left before a depth counts for
nothing there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from replication.protocols import PROTOCOLS
from replication.samples.shots import SHOT_GROUPS, shot_groups
from replication.sections.basis import Basis
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.results import Cell, Claim, estimated
from replication.statistics.verdicts import judge_absence, judged

SPLITS = ("train", "test")
MARGIN = 0.05  # of AUROC that test may be below training; fixed before any run
CHANCE = 0.5


def auroc_scores(
    values: np.ndarray, few: np.ndarray, many: np.ndarray
) -> tuple[float, np.ndarray]:
    """AUROC of values, Few (1) against Many (0), as a weighted mean of scores.

    A sample's component is the share of the other group that it is on the right side
    of, a tie counting half. Weighted by `group_weights` of both groups, half each, the
    scores have AUROC as their mean, and DeLong's variance.

    Args:
        values: (N,), NaN where a sample does not count; few, many: (N,) bool.

    Returns:
        AUROC, NaN where a group is empty; and the scores (N,).
    """
    known = ~np.isnan(values)
    ours, theirs = few & known, many & known
    if not ours.any() or not theirs.any():
        return float("nan"), np.full(len(values), np.nan)
    above = _share_below(values[ours], values[theirs])
    auroc = float(above.mean())
    scores = np.full(len(values), auroc)
    below = 1 - _share_below(values[theirs], values[ours])
    for group, counted, component in ((few, ours, above), (many, theirs, below)):
        spread = 2 * group.sum() / counted.sum()
        scores[counted] += spread * (component - auroc)
    return auroc, scores


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others below each value, a tie counting half."""
    ordered = np.sort(others)
    sides = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return sum(sides) / (2 * len(others))


def group_weights(*groups: np.ndarray) -> np.ndarray:
    """(N,) weights of samples: the same for all of a group, and for each group."""
    return sum(group / max(group.sum(), 1) for group in groups) / len(groups)


def leaving_scores(
    leave: np.ndarray, known: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """(N,) scores whose mean over a group is the share that leaves, of those there."""
    counted = group & known
    if not counted.any():
        return np.full(len(leave), np.nan)
    share = leave[counted].mean()
    scores = np.full(len(leave), float(share))
    scores[counted] += group.sum() / counted.sum() * (leave[counted] - share)
    return scores


@dataclass(frozen=True)
class Filters:
    """What the filters of a run say of its training and test samples.

    Fields: `arrays`: `labels.<split>`, and `<seed>.<protocol>.<depth>.<split>`, the log
    P(x) of those that remained, NaN of others; `diagnostics`: seed -> what the stage
    `dlsa` wrote, with the threshold of each filter; `train_counts` (C,).
    """

    arrays: Mapping[str, np.ndarray]
    diagnostics: Mapping[str, Mapping[str, Any]]
    train_counts: np.ndarray

    def thresholds(self, protocol: str) -> list[tuple[float, ...]]:
        """Of log P(x), above which samples leave: depth from 0 -> one a seed."""
        of_seed = (run["filters"][protocol] for run in self.diagnostics.values())
        by_depth = zip(*of_seed, strict=True)
        return [tuple(f["threshold"] for f in filters) for filters in by_depth]

    def auroc(self, protocol: str, depth: int, split: str, less: float = 0) -> Estimate:
        """AUROC of log P(x), Few against Many, less a number."""
        scores, weights = self._auroc(protocol, depth, split)
        labels = self.arrays[f"labels.{split}"]
        return estimate(scores - less, weights, labels, step=0, alike=False)

    def gap(self, protocol: str, depth: int) -> Estimate:
        """AUROC on test samples minus that on training samples."""
        (train, train_weights), (test, test_weights) = (
            self._auroc(protocol, depth, split) for split in SPLITS
        )
        # Two sets of samples beside each other: half of the weight each, twice the
        # score, and classes of their own.
        labels, others = (self.arrays[f"labels.{split}"] for split in SPLITS)
        return estimate(
            2 * np.concatenate([-train, test], axis=1),
            np.concatenate([train_weights, test_weights]) / 2,
            np.concatenate([labels, others + labels.max() + 1]),
            step=0,
            alike=False,
        )

    def leaving(self, protocol: str, depth: int, split: str, group: str) -> Estimate:
        """Share of a shot group that leaves at a depth, of those that reached it."""
        members, scores = self._group(split, group), []
        thresholds = self.thresholds(protocol)[depth - 1]
        for values, threshold in zip(
            self._values(protocol, depth, split), thresholds, strict=True
        ):
            leave = (values >= np.float32(threshold)).astype(float)
            scores.append(leaving_scores(leave, ~np.isnan(values), members))
        weights = _unless_missing(group_weights(members), scores)
        return estimate(np.stack(scores), weights, self.arrays[f"labels.{split}"])

    def _auroc(
        self, protocol: str, depth: int, split: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores (S, N), and their weights (N,): NaN where a group is empty."""
        few, many = (self._group(split, name) for name in ("few", "many"))
        values = self._values(protocol, depth, split)
        scores = np.stack([auroc_scores(of_seed, few, many)[1] for of_seed in values])
        return scores, _unless_missing(group_weights(few, many), scores)

    def _values(self, protocol: str, depth: int, split: str) -> list[np.ndarray]:
        """Log P(x) under each seed."""
        where = f"{protocol}.{depth}.{split}"
        return [self.arrays[f"{seed}.{where}"] for seed in self.diagnostics]

    def _group(self, split: str, name: str) -> np.ndarray:
        """(N,) bool, whether a sample is of this shot group."""
        return shot_groups(self.train_counts)[name][self.arrays[f"labels.{split}"]]


def _unless_missing(weights: np.ndarray, scores: ArrayLike) -> np.ndarray:
    """The weights; NaN where a score is, since nobody was there to be counted."""
    return weights * (np.nan if np.isnan(scores).any() else 1.0)


def classes_weighed(train_counts: np.ndarray, exponent: float) -> float:
    """Classes of equal weight that L_MLE's weights amount to, 1 / sum of w^2.

    Args:
        train_counts: (C,).
        exponent: q of w proportional to n^-q.
    """
    weights = np.power(train_counts / train_counts.min(), -float(exponent))
    return float(weights.sum() ** 2 / (weights**2).sum())


def filter_cells(filters: Filters, exponent: float, basis: Basis) -> list[Cell]:
    """AUROC and who leaves, at every depth; how many classes L_MLE sees.

    `exponent`: q of the class weights n^-q in L_MLE.
    """
    weighed = basis.cell(
        method="filter",
        label="classes of equal weight that L_MLE's weights amount to",
        metric="classes_weighed",
        unit="classes",
        mean=classes_weighed(basis.train_counts, exponent),
    )
    cells = [weighed]
    for protocol in PROTOCOLS:
        for depth in range(1, len(filters.thresholds(protocol)) + 1):
            label = f"Flow Filter {depth}"
            new = partial(basis.cell, method="filter", label=label, protocol=protocol)
            for split in SPLITS:
                at = f"depth {depth}, {split}"
                auroc = filters.auroc(protocol, depth, split).within(0.0, 1.0)
                fields = {"at": at, "unit": "AUROC"} | estimated(auroc)
                cells.append(new(metric="auroc", **fields))
                for group in SHOT_GROUPS:
                    share = filters.leaving(protocol, depth, split, group)
                    fields = {"at": at} | estimated(share.within(0.0, 1.0))
                    cells.append(new(metric=f"{group}_leaves", **fields))
            gap = filters.gap(protocol, depth)
            where = {"at": f"depth {depth}, test", "minus": f"depth {depth}, train"}
            fields = where | estimated(gap) | judged([gap])
            cells.append(new(metric="auroc", unit="AUROC", **fields))
    return cells


def filter_claims(filters: Filters, basis: Basis) -> list[Claim]:
    """Whether the first filter separates test samples, and as well as training ones."""
    claims = []
    for protocol in PROTOCOLS:
        about = {"sentence": None, "place": "beyond the supplement", "unit": "AUROC"}
        new = partial(basis.claim, protocol=protocol, **about)
        above = filters.auroc(protocol, 1, "test", less=CHANCE)
        gap = filters.gap(protocol, 1)
        verdict = judge_absence(gap.low, min(gap.high, 0.0), MARGIN)
        fitted = filters.auroc(protocol, 1, "train")
        if verdict == "supported" and fitted.low <= CHANCE:
            verdict = "undecided"  # as well as a filter that separates nothing
        claims += [
            new(
                id="filter_separates",
                statement="The first Flow Filter tells Few from Many on images that it "
                "was not fitted to.",
                test="AUROC of log P(x) at depth 1, Few against Many test images, "
                f"minus {CHANCE:g}",
                **judged([above]),
            ),
            new(
                id="filter_generalises",
                statement="It does so on new images as well as on those that it was "
                "fitted to.",
                test="The same AUROC on test images minus that on training images; "
                f"as well: surely less than {MARGIN:g} below",
                mean=gap.mean,
                low=gap.low,
                high=gap.high,
                verdict=verdict,
                p_value=gap.p_value if verdict == "contradicted" else None,
            ),
        ]
    return claims
