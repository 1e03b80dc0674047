"""Sect. 3: how far the mixture's centres lie apart, and which sigma serves best.

Theory and draws of the distance of two centres (Eq. 5), both readings of "three-sigma",
and a sweep: the benchmark's cascade under each sigma, all else as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from replication.cascade import Classifiers, Level, fit_levels
from replication.classifiers.heads import Term
from replication.core.files import BadInput
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.centres import (
    THREE,
    distance_reading,
    squared_reading,
)
from replication.flow_filter.flow import FlowFilter
from replication.protocols import VALIDATED
from replication.samples.features import Features, Samples, in_turn
from replication.samples.metrics import ACCURACIES, accuracy_weights
from replication.sections.basis import Basis
from replication.statistics.intervals import LEVEL, Estimate, estimate
from replication.statistics.results import Cell, Claim, estimated
from replication.statistics.verdicts import ClaimVerdict, joint_p_value, judge_claim

SPLITS = ("train", "val", "test")
READINGS = {
    "squared": "squared distance 3 (as printed)",
    "distance": "distance 3",
    "used": "as used",
}
# Sect. 3 speaks of 1024 dimensions; the features of a ResNet-50 or -152 have 2048.
PRINTED_DIMENSIONS = 1024
RESNET_DIMENSIONS = 2048
PRINTED_READING = 0.04
# A sample of a unit Gaussian lies outside this radius once in a thousand times.
INSIDE = 0.999
_PERMUTATIONS = 9999
_READ_BATCH = 1024
_TAIL = (1 - LEVEL) / 2


# ---- Centres: Eq. 5 ---------------------------------------------------------------


def distance_in_theory(dimensions: int, sigma: float) -> dict[str, float]:
    """Distance of two centres drawn from N(0, sigma^2 I): sigma sqrt(2) chi_D.

    Returns:
        mean, and low and high of the central 95 % of pairs.
    """
    spread = stats.chi(dimensions, scale=2**0.5 * sigma)
    return {
        "mean": float(spread.mean()),
        "low": float(spread.ppf(_TAIL)),
        "high": float(spread.ppf(1 - _TAIL)),
    }


def reading_cells(dimensions: Sequence[int], sigma: float) -> list[Cell]:
    """What each reading of "three-sigma" gives at each D, and what a given sigma does.

    Returns:
        Of each reading and of the given sigma (`used`): sigma; `distance` of two
        centres, its interval the central 95 % of pairs; `confused`: the share of one
        cluster's samples that lie nearer to the other's centre, at the mean distance.
    """
    cells = []
    for size in dimensions:
        sigmas = (squared_reading(size), distance_reading(size), sigma)
        for (reading, label), value in zip(READINGS.items(), sigmas, strict=True):
            distance = distance_in_theory(size, value)
            confused = float(stats.norm.cdf(-distance["mean"] / 2))
            asked = reading == "squared" and size == PRINTED_DIMENSIONS
            printed = PRINTED_READING if asked else None
            about = {"section": "sigma", "benchmark": None, "data": "none needed"}
            about |= {"method": reading, "label": label, "at": f"D={size}"}
            cells += [
                Cell(**about, metric="sigma", unit="", mean=value, printed=printed),
                Cell(**about, metric="distance", unit="", **distance),
                Cell(**about, metric="confused", mean=confused),
            ]
    return cells


def draw_distances(
    dimensions: int, sigma: float, draws: int, generator: torch.Generator
) -> np.ndarray:
    """Distances of pairs of centres, as a Flow Filter draws its centres.

    Each centre is in one pair only, so that the draws are independent.

    Returns:
        (draws,) float64.
    """
    centres = FlowFilter(dimensions, 2 * draws, sigma, generator).base.centres
    pairs = centres.double().view(draws, 2, dimensions)
    return (pairs[:, 0] - pairs[:, 1]).norm(dim=1).numpy()


def eq5_ratios(
    dimensions: int, sigmas: Sequence[float], draws: int, generator: torch.Generator
) -> list[dict[str, float]]:
    """Drawn mean square of the distance over 2 D sigma^2, for each sigma.

    Implements: Eq. 5, by which it is 1.

    Returns:
        mean, low and high; the intervals hold for all sigmas together.
    """
    reach = stats.norm.ppf(1 - (1 - LEVEL) / (2 * len(sigmas)))
    ratios = []
    for sigma in sigmas:
        squares = draw_distances(dimensions, sigma, draws, generator) ** 2
        expected = (2**0.5 * sigma) ** 2 * dimensions
        mean = float(squares.mean()) / expected
        half = float(reach * float(stats.sem(squares)) / expected)
        ratios.append({"mean": mean, "low": mean - half, "high": mean + half})
    return ratios


# ---- The sweep --------------------------------------------------------------------


def point(sigma: float) -> str:
    """A Cell's `at`."""
    return f"sigma={sigma:g}"


def sweep_sigmas(
    tried: Iterable[float], published: float, used: float, dimensions: int
) -> dict[float, list[str]]:
    """Every sigma of the sweep, ascending, with the reasons why it is in it.

    Args:
        tried: that the settings name.
        published, used: the paper's, and the one that the other tables use.

    Returns:
        Sigma to 6 digits -> reasons, out of published, used, squared, distance, tried.
    """
    wanted = [
        (published, "published"),
        (used, "used"),
        (squared_reading(dimensions), "squared"),
        (distance_reading(dimensions), "distance"),
        *((sigma, "tried") for sigma in tried),
    ]
    reasons: dict[float, list[str]] = {}
    for sigma, reason in sorted(wanted, key=lambda pair: pair[0]):
        said = reasons.setdefault(float(f"{sigma:.6g}"), [])
        if reason not in said:
            said.append(reason)
    return reasons


@torch.no_grad()
def place(flow: FlowFilter, features: Features) -> tuple[Tensor, Tensor]:
    """Where samples (N, D) lie among the clusters; the largest array is (B, K).

    Returns:
        (N,) squared distance of the latent to its nearest centre; (N,) entropy of
        P(h | x), nats.
    """
    flow.eval()
    base = flow.base
    distances, entropies = [], []
    for start in range(0, len(features), _READ_BATCH):
        _, log_posterior, z = flow(features[start : start + _READ_BATCH])
        nearest = torch.addmm(-base.half_square, z, base.centres.T).amax(1)
        distances.append((z.square().sum(1) - 2 * nearest).clamp_min(0))
        entropies.append(-(log_posterior.exp() * log_posterior).sum(1))
    return torch.cat(distances), torch.cat(entropies)


def out_of_reach(square_distance: Tensor, dimensions: int) -> float:
    """Share of samples outside every cluster's 99.9 % radius.

    Implements: Sect. 3's `stuck in the low-density area`: a sample of N(mu, I) has
    |z - mu|^2 distributed as chi^2_D. Samples that follow the mixture are outside at
    most once in a thousand times, since another centre may be nearer than their own.
    """
    border = float(stats.chi2.ppf(INSIDE, dimensions))
    return (square_distance > border).double().mean().item()


@dataclass(frozen=True)
class Tried:
    """One sigma under one seed.

    Fields: `numbers` of the first filter on test samples, fractions: `entropy` of the
    cluster posterior over log K, and `out_of_reach`; `predictions` of val and test.
    """

    numbers: Mapping[str, float | None]
    predictions: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sweep:
    """What every sigma is tried on (`val` may be empty), and the settings around it."""

    splits: Mapping[str, Samples]
    num_classes: int
    filter_settings: FilterSettings
    cascade: CascadeSettings
    classifier: ClassifierSettings

    def attempt(self, sigma: float, head: Term, seed: int) -> Tried:
        """Fit the cascade with a sigma, decide the validation and test samples.

        Args:
            head: that every first term starts from.
            seed: of filters and classifiers; the centres of two sigmas under one seed
                differ by a factor alone.
        """
        settings = self.filter_settings.model_copy(update={"sigma": sigma})
        try:
            levels = fit_levels(
                self.splits, self.num_classes, settings, self.cascade, VALIDATED, seed
            ).levels
        except BadInput as error:
            raise BadInput(f"sigma {sigma:g}: {error}") from None
        numbers = self._numbers(levels[0].fitted.flow)
        levels, splits = validation_as_test(levels, self.splits)
        classifiers = Classifiers(head, splits, self.classifier, VALIDATED)
        chain = classifiers.decide_as_dlsa(levels, seed)
        decided = chain.predicted.cpu().numpy().astype(np.int32)
        first = len(self.splits["val"].labels)
        return Tried(numbers, {"val": decided[:first], "test": decided[first:]})

    def _numbers(self, flow: FlowFilter) -> dict[str, float]:
        features = self.splits["test"].features
        square_distance, entropy = place(flow, features)
        most = float(np.log(self.filter_settings.num_clusters))
        return {
            "entropy": entropy.mean().item() / most if most else float("nan"),
            "out_of_reach": out_of_reach(square_distance, features.shape[1]),
        }


def validation_as_test(
    levels: Sequence[Level], splits: Mapping[str, Samples]
) -> tuple[list[Level], dict[str, Samples]]:
    """The same cascade with the validation samples put before the test samples.

    Protocol `validated` chooses nothing on test samples, so that one pass decides
    both; the validation samples, which stay where they are, still choose the epochs.
    """
    val, test = splits["val"], splits["test"]

    def both(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**parts, "test": torch.cat([parts["val"], parts["test"]])}

    joined = []
    for level in levels:
        shifted = {**level.remain, "test": level.remain["test"] + len(val.labels)}
        parts = {
            kind: both(getattr(level, kind))
            for kind in ("leave", "cluster", "log_likelihood")
        }
        joined.append(replace(level, remain=both(shifted), **parts))
    features = in_turn(val.features, test.features)
    samples = Samples(features, torch.cat([val.labels, test.labels]))
    return joined, {**splits, "test": samples}


# ---- What the sweep says ----------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """What every sigma came to.

    Fields: `tried`: sigma, ascending -> seed -> what was tried; `labels`: val (may be
    empty) and test -> (N,); `compared`: what other sigmas are compared with.
    """

    tried: Mapping[float, Mapping[int, Tried]]
    labels: Mapping[str, np.ndarray]
    compared: float
    basis: Basis

    def filter_cells(self) -> list[Cell]:
        """What the first filter did under each sigma: means over seeds."""
        cells = []
        for sigma, seeds in self.tried.items():
            for metric in ("entropy", "out_of_reach"):
                numbers = [attempt.numbers[metric] for attempt in seeds.values()]
                values = tuple(float("nan" if n is None else n) for n in numbers)
                cells.append(
                    self.basis.cell(
                        method="filter",
                        label="first Flow Filter",
                        metric=metric,
                        at=point(sigma),
                        mean=float(np.mean(values)),
                        per_seed=values,
                    )
                )
        return cells

    def accuracy_cells(self) -> list[Cell]:
        """Overall on val samples, all accuracies on test samples, under each sigma."""
        shown = {"val": ("overall",), "test": ACCURACIES}
        return [
            self.basis.cell(
                **_DLSA,
                metric=metric,
                at=f"{point(sigma)}, split={split}",
                **estimated(
                    estimate(
                        self._right(sigma, split),
                        self._weights(split)[metric],
                        self.labels[split],
                    ).within(0.0, 1.0)
                ),
            )
            for split, metrics in shown.items()
            if len(self.labels[split])
            for sigma in self.tried
            for metric in metrics
        ]

    def difference_cells(self) -> list[Cell]:
        """The compared sigma minus each other in test Overall, paired."""
        gaps = {s: self._gap(self.compared, s) for s in self.tried}
        del gaps[self.compared]
        return [
            self.basis.cell(
                **_DLSA,
                metric="overall",
                at=f"{point(self.compared)}, split=test",
                minus=point(sigma),
                **estimated(gap),
                p_value=gap.p_value,
                verdict=judge_claim(gap.low, gap.high),
            )
            for sigma, gap in gaps.items()
        ]

    def best(self) -> dict[str, Any] | None:
        """The sigma of the highest validation accuracy, and those not shown worse.

        Returns:
            sigma; `val`, its Overall; `not_worse`: the sigmas whose test Overall is not
            shown to be below it. None without a validation split.
        """
        if len(self.labels["val"]) == 0:
            return None
        scores = {s: float(self._right(s, "val").mean()) for s in self.tried}
        best = max(scores, key=lambda sigma: scores[sigma])
        not_worse = [s for s in scores if s == best or self._gap(best, s).low <= 0]
        return {"sigma": best, "val": scores[best], "not_worse": not_worse}

    def _gap(self, first: float, second: float) -> Estimate:
        """Difference in test Overall; intervals hold for all sigmas (Bonferroni)."""
        level = 1 - (1 - LEVEL) / max(len(self.tried) - 1, 1)
        gap = self._right(first, "test") - self._right(second, "test")
        weights = self._weights("test")["overall"]
        return estimate(gap, weights, self.labels["test"], level)

    def _right(self, sigma: float, split: str) -> np.ndarray:
        """(S, N) 1 where right, as whole numbers."""
        seeds = self.tried[sigma].values()
        right = [seed.predictions[split] == self.labels[split] for seed in seeds]
        return np.stack(right).astype(np.int8)

    def _weights(self, split: str) -> Mapping[str, np.ndarray]:
        return accuracy_weights(self.labels[split], self.basis.train_counts)


_DLSA = {"method": "full", "label": "DLSA", "protocol": VALIDATED.key}


def theory_claims(ratios: Sequence[Mapping[str, float]]) -> list[Claim]:
    """The sentences of Sect. 3 about centres, which need no data."""
    reading = squared_reading(PRINTED_DIMENSIONS)
    border = distance_in_theory(PRINTED_DIMENSIONS, reading)
    free = {"section": "sigma", "place": "Sect. 3"}
    free |= {"benchmark": None, "grade": "none needed"}
    return [
        Claim(
            id="printed_reading",
            sentence="s3_three_sigma",
            statement=f"σ = √(3 / (2D)) is about {PRINTED_READING} when D = "
            f"{PRINTED_DIMENSIONS}.",
            test="The formula, to the digits printed",
            verdict=_holds(round(reading, 2) == PRINTED_READING),
            mean=reading,
            unit="",
            **free,
        ),
        Claim(
            id="three_sigma_border",
            sentence="s3_three_sigma",
            statement="With σ = √(3 / (2D)), μ_p lies around the three-sigma border of "
            "μ_q (distance 3).",
            test=f"Distance of two centres at D = {PRINTED_DIMENSIONS}: is 3 among the "
            "central 95 %?",
            verdict=_holds(border["low"] <= THREE <= border["high"]),
            unit="(distance, 95 % of pairs)",
            **border,
            **free,
        ),
        Claim(
            id="eq5",
            sentence="s3_eq5",
            statement="The mean squared distance of two centers is 2Dσ² (Eq. 5).",
            test="Drawn mean square over 2Dσ², of all σ the furthest from 1",
            verdict=_holds(all(r["low"] <= 1 <= r["high"] for r in ratios)),
            unit="times 2Dσ²",
            **max(ratios, key=lambda ratio: abs(ratio["mean"] - 1)),
            **free,
        ),
    ]


def _holds(true: bool) -> ClaimVerdict:
    return "supported" if true else "contradicted"


# Metric, sign of its trend with sigma; id, statement and test of the claim.
_TRENDS = (
    (
        "entropy",
        -1,
        "overlap",
        "The clusters can overlap if the centers are too close.",
        "Entropy of the cluster posterior falls as σ rises",
    ),
    (
        "out_of_reach",
        1,
        "stuck",
        "Samples may be stuck in the low-density area if the centers are far.",
        "Share of samples in no cluster's reach rises with σ",
    ),
)


def sweep_claims(
    filters: Sequence[Cell],
    differences: Sequence[Cell],
    best: tuple[float, float],
    basis: Basis,
    generator: np.random.Generator,
) -> list[Claim]:
    """The sentences of Sect. 3 about fitted filters and their accuracy.

    `best`: sigma that print calls the best, and what it is at these dimensions.
    """
    claims = []
    for metric, sign, name, statement, test in _TRENDS:
        curve = [cell.per_seed for cell in filters if cell.metric == metric]
        rho, p_value = trend(np.array(curve, dtype=float).T, generator)
        claims.append(
            basis.claim(
                id=name,
                sentence=f"s3_{name}",
                place="Sect. 3",
                statement=statement,
                test=f"{test}: Spearman correlation within a seed, mean over seeds, "
                f"beside that under {_PERMUTATIONS:,} shuffles of σ",
                verdict=judge_trend(sign, rho, p_value),
                mean=rho,
                p_value=p_value,
                unit=f"(rank correlation over {len(curve)} σ, p = {p_value:.1g})",
            )
        )
    return [*claims, _best_claim(differences, *best, basis)]


def _best_claim(
    differences: Sequence[Cell], published: float, compared: float, basis: Basis
) -> Claim:
    """Supported where it is above every other sigma, contradicted where one is above.

    The numbers are the smallest of the differences: it is the one that decides.
    """
    least = {
        end: min(getattr(gap, end) for gap in differences)
        for end in ("mean", "low", "high")
    }
    here = "" if compared == published else f" ({compared:.3g} at these dimensions)"
    return basis.claim(
        id="best",
        sentence="s3_best",
        place="Sect. 3",
        statement=f"After experiments, we use σ = {published:g}{here} as the best "
        "choice.",
        test=f"Overall on test, σ = {compared:.3g} minus each other, paired; the "
        "smallest, Bonferroni over σ",
        verdict=judge_claim(least["low"], least["high"]),
        protocol=VALIDATED.key,
        p_value=joint_p_value([(gap.mean, gap.p_value) for gap in differences]),
        **least,
    )


def trend(values: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Whether something rises or falls with sigma: mean of Spearman's correlation.

    Args:
        values: (S, m), a row a seed, sigma ascending.

    Returns:
        The correlation, 0 where all values are the same, and its two-sided p-value by
        permutations of the sigmas within each seed. NaN where a value is.
    """
    if np.isnan(values).any():
        return float("nan"), float("nan")
    x = _unit_ranks(np.arange(values.shape[1])[None])[0]
    y = _unit_ranks(values)
    shuffled = generator.permuted(
        np.broadcast_to(x, (_PERMUTATIONS, *y.shape)).copy(), axis=2
    )
    rho, chance = float((y @ x).mean()), (shuffled * y).sum(2).mean(1)
    as_far = np.count_nonzero(np.abs(chance) >= abs(rho) - 1e-12)
    return rho, (1 + as_far) / (1 + _PERMUTATIONS)


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each row, centred, of length 1; 0 where a row is constant."""
    ranks = stats.rankdata(values, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


def judge_trend(sign: int, rho: float, p_value: float) -> ClaimVerdict:
    """Whether a trend goes as claimed (1: up, -1: down), beyond what chance gives."""
    if np.isnan(rho):
        return "not run"
    if p_value >= 1 - LEVEL:
        return "undecided"
    return "supported" if np.sign(rho) == sign else "contradicted"
