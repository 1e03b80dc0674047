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

from replication.cascade import Level, decide, fit_levels
from replication.classifiers.heads import Term
from replication.core.files import BadInput
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.flow import FlowFilter
from replication.samples.features import Features, Samples, in_turn
from replication.samples.metrics import accuracy_weights
from replication.statistics.intervals import LEVEL, estimate
from replication.statistics.results import (
    Cell,
    Claim,
    data_in_words,
    estimated,
    grade_of,
)
from replication.statistics.verdicts import (
    ClaimVerdict,
    joint_p_value,
    judge_claim,
)

SPLITS = ("train", "val", "test")
DECIDED = ("val", "test")
READINGS = {
    "squared": "squared distance 3 (as printed)",
    "distance": "distance 3",
    "used": "as used",
}
# What the sweep says of the first filter: unit of each number. Clusters and purity are
# of the training samples, log P(x) of the held-out ones, all else of the test samples.
MEASURES = {
    "entropy": "fraction",
    "out_of_reach": "fraction",
    "empty_clusters": "clusters",
    "pure_clusters": "clusters",
    "purity": "fraction",
    "log_likelihood": "nats",
    "auroc_tail": "",
    "leaving": "fraction",
    "leaving_many": "fraction",
    "leaving_medium": "fraction",
    "leaving_few": "fraction",
}
# Sect. 3 speaks of 1024 dimensions; the features of a ResNet-50 or -152 have 2048.
PRINTED_DIMENSIONS = 1024
RESNET_DIMENSIONS = 2048
PRINTED_READING = 0.04
THREE = 3.0
# A sample of a unit Gaussian lies outside this radius once in a thousand times.
INSIDE = 0.999
_PERMUTATIONS = 9999
_READ_BATCH = 1024
_TAIL = (1 - LEVEL) / 2


# ---- Centres: Eq. 5 ---------------------------------------------------------------


def squared_reading(dimensions: int) -> float:
    """Sigma at which the mean *squared* distance of two centres is 3.

    Implements: Sect. 3, as printed: sigma = sqrt(3 / (2 D)).
    """
    return (THREE / (2 * dimensions)) ** 0.5


def distance_reading(dimensions: int) -> float:
    """Sigma at which the distance itself is 3 (root mean square).

    Implements: Sect. 3's words, `three-sigma borders`: 2 D sigma^2 = 3^2.
    """
    return THREE / (2 * dimensions) ** 0.5


def distance_in_theory(dimensions: int, sigma: float) -> dict[str, float]:
    """The distance of two centres drawn from N(0, sigma^2 I).

    Implements: Eq. 5, E|mu_p - mu_q|^2 = 2 D sigma^2; the distance itself is
    sigma sqrt(2) chi_D.

    Returns:
        mean_square, mean, and low, high of the central 95 % of the distances.
    """
    scale = 2**0.5 * sigma
    spread = stats.chi(dimensions, scale=scale)
    return {
        "mean_square": float(scale**2 * dimensions),
        "mean": float(spread.mean()),
        "low": float(spread.ppf(_TAIL)),
        "high": float(spread.ppf(1 - _TAIL)),
    }


def reading_cells(dimensions: Sequence[int], sigma: float) -> list[Cell]:
    """What each reading of "three-sigma" gives at each D, and what a given sigma does.

    Returns:
        Of each reading and of the given sigma (`used`): sigma; `distance` of two
        centres, its interval the central 95 % of pairs; `mean_square`; `confused`: the
        share of one cluster's samples that lie nearer to the other's centre, at the
        mean distance.
    """
    cells = []
    for size in dimensions:
        sigmas = (squared_reading(size), distance_reading(size), sigma)
        for (reading, label), value in zip(READINGS.items(), sigmas, strict=True):
            theory = distance_in_theory(size, value)
            ends = {"low": theory["low"], "high": theory["high"]}
            confused = float(stats.norm.cdf(-theory["mean"] / 2))
            asked = reading == "squared" and size == PRINTED_DIMENSIONS
            printed = PRINTED_READING if asked else None
            about = {"method": reading, "label": label, "at": f"D={size}"}
            cells += [
                _free_cell(**about, metric="sigma", mean=value, printed=printed),
                _free_cell(**about, metric="distance", mean=theory["mean"], **ends),
                _free_cell(**about, metric="mean_square", mean=theory["mean_square"]),
                _free_cell(**about, metric="confused", mean=confused, unit="fraction"),
            ]
    return cells


def draw_distances(
    dimensions: int, sigma: float, draws: int, generator: torch.Generator
) -> np.ndarray:
    """Distances of independent pairs of centres, as a Flow Filter draws its centres.

    Implements: Eq. 5. A filter's K (K - 1) / 2 pairs share centres; here each centre is
    in one pair only, so that the draws are independent.

    Returns:
        (draws,) float64.
    """
    centres = FlowFilter(dimensions, 2 * draws, sigma, generator).base.centres
    pairs = centres.double().view(draws, 2, dimensions)
    return (pairs[:, 0] - pairs[:, 1]).norm(dim=1).numpy()


def measure_distances(
    dimensions: int, sigmas: Sequence[float], draws: int, generator: torch.Generator
) -> list[dict[str, Any]]:
    """Distances in theory and as drawn, a record for each sigma.

    Implements: Eq. 5.

    Returns:
        Records: sigma; `theory` (see `distance_in_theory`); `drawn`, the same four
        numbers; `error`, the Monte-Carlo standard error of each.
    """
    records = []
    for sigma in sigmas:
        drawn = draw_distances(dimensions, sigma, draws, generator)
        theory = distance_in_theory(dimensions, sigma)
        low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
        density = stats.chi(dimensions, scale=2**0.5 * sigma).pdf
        tail = (_TAIL * (1 - _TAIL) / draws) ** 0.5
        records.append(
            {
                "sigma": sigma,
                "theory": theory,
                "drawn": {
                    "mean_square": float((drawn**2).mean()),
                    "mean": float(drawn.mean()),
                    "low": float(low),
                    "high": float(high),
                },
                "error": {
                    "mean_square": float(stats.sem(drawn**2)),
                    "mean": float(stats.sem(drawn)),
                    "low": float(tail / density(theory["low"])),
                    "high": float(tail / density(theory["high"])),
                },
            }
        )
    return records


def ratio_cells(distances: Sequence[Mapping[str, Any]], dimensions: int) -> list[Cell]:
    """Drawn mean square over 2 D sigma^2; intervals hold for all sigmas together.

    Implements: Eq. 5, by which it is 1.
    """
    reach = stats.norm.ppf(1 - (1 - LEVEL) / (2 * len(distances)))
    cells = []
    for record in distances:
        square = record["theory"]["mean_square"]
        ratio = record["drawn"]["mean_square"] / square
        half = float(reach * record["error"]["mean_square"] / square)
        cells.append(
            _free_cell(
                method="drawn",
                label="drawn centres",
                metric="mean_square_ratio",
                at=f"{point(record['sigma'])}, D={dimensions}",
                mean=ratio,
                low=ratio - half,
                high=ratio + half,
                printed=1.0,
                unit="times 2Dσ²",
            )
        )
    return cells


def _free_cell(unit: str = "", **fields: Any) -> Cell:
    """A number that no data is behind."""
    return Cell(
        section="sigma", benchmark=None, data="none needed", unit=unit, **fields
    )


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
        dimensions: D of the features at hand, for both readings.

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


@dataclass(frozen=True)
class Placement:
    """Where samples lie among the clusters.

    Fields: `square_distance` (N,) of the latent to its nearest centre; `entropy` (N,)
    of P(h | x), nats.
    """

    square_distance: Tensor
    entropy: Tensor


@torch.no_grad()
def place(flow: FlowFilter, features: Features) -> Placement:
    """Distance to the nearest centre and entropy of the posterior, of every sample.

    The largest array is (B, K): |z - mu|^2 is expanded.

    Args:
        features: (N, D).
    """
    flow.eval()
    base = flow.base
    distances, entropies = [], []
    for start in range(0, len(features), _READ_BATCH):
        _, log_posterior, z = flow(features[start : start + _READ_BATCH])
        nearest = torch.addmm(-base.half_square, z, base.centres.T).amax(1)
        distances.append((z.square().sum(1) - 2 * nearest).clamp_min(0))
        entropies.append(-(log_posterior.exp() * log_posterior).sum(1))
    if not distances:
        nothing = features.new_empty(0)
        return Placement(nothing, nothing)
    return Placement(torch.cat(distances), torch.cat(entropies))


def out_of_reach(square_distance: Tensor, dimensions: int) -> float:
    """Share of samples outside every cluster's 99.9 % radius.

    Implements: Sect. 3's `stuck in the low-density area`: a sample of N(mu, I) has
    |z - mu|^2 distributed as chi^2_D. Samples that follow the mixture are outside at
    most once in a thousand times, since another centre may be nearer than their own.

    Args:
        square_distance: (N,) to the nearest centre.
        dimensions: D.
    """
    if len(square_distance) == 0:
        return float("nan")
    border = float(stats.chi2.ppf(INSIDE, dimensions))
    return (square_distance > border).double().mean().item()


@dataclass(frozen=True)
class Tried:
    """One sigma under one seed.

    Fields: `numbers`: MEASURES -> of the first filter, None where there is none;
    `predictions`: val and test -> (N,).
    """

    numbers: Mapping[str, float | None]
    predictions: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sweep:
    """What every sigma is tried on and with.

    Fields: `splits`: train, val (may be empty) and test; `num_classes`: C; settings of
    the filters, whose sigma is replaced, of the chain and of the classifiers.
    """

    splits: Mapping[str, Samples]
    num_classes: int
    filter_settings: FilterSettings
    cascade: CascadeSettings
    classifier: ClassifierSettings

    @property
    def held_out(self) -> str:
        """The split whose log-likelihood is compared."""
        return "val" if len(self.splits["val"].labels) else "train"

    def attempt(self, sigma: float, head: Term, seed: int) -> Tried:
        """Fit the cascade with a sigma, decide the validation and test samples.

        Implements: Sect. 3, `after experiments`, under the protocol `paper`.

        Args:
            sigma: spread of the centres, > 0.
            head: that every first term starts from.
            seed: of filters and classifiers; the centres of two sigmas under one seed
                differ by a factor alone.

        Raises:
            BadInput: a fit fails; the sigma is named.
        """
        settings = self.filter_settings.model_copy(update={"sigma": sigma})
        try:
            levels, diagnoses = fit_levels(
                self.splits, self.num_classes, settings, self.cascade, seed
            )
        except BadInput as error:
            raise BadInput(f"sigma {sigma:g}: {error}") from None
        numbers = self._numbers(diagnoses[0], levels[0].fitted.flow)
        levels, splits = validation_as_test(levels, self.splits)
        predicted, _ = decide(
            levels, splits, self.num_classes, head, self.classifier, "paper", seed
        )
        decided = predicted.cpu().numpy().astype(np.int32)
        first = len(self.splits["val"].labels)
        return Tried(numbers, {"val": decided[:first], "test": decided[first:]})

    def _numbers(
        self, diagnosis: Mapping[str, Any], flow: FlowFilter
    ) -> dict[str, float | None]:
        """MEASURES of the first filter."""
        placed = place(flow, self.splits["test"].features)
        test, clusters = diagnosis["splits"]["test"], self.filter_settings.num_clusters
        most = float(np.log(clusters)) if clusters > 1 else float("nan")
        dimensions = self.splits["test"].features.shape[1]
        values = {
            "entropy": placed.entropy.mean().item() / most,
            "out_of_reach": out_of_reach(placed.square_distance, dimensions),
            "log_likelihood": diagnosis["splits"][self.held_out]["log_likelihood"],
            "auroc_tail": test["auroc_tail"],
            "leaving": test["leaving"],
        }
        for name in ("empty_clusters", "pure_clusters", "purity"):
            values[name] = diagnosis[name]
        for group, share in test["leaving_by_group"].items():
            values[f"leaving_{group}"] = share
        return values


def validation_as_test(
    levels: Sequence[Level], splits: Mapping[str, Samples]
) -> tuple[list[Level], dict[str, Samples]]:
    """The same cascade with the validation samples put before the test samples.

    The protocol `paper` chooses nothing on test samples, so that one pass decides both;
    the validation samples still serve the choice of epochs, too.

    Returns:
        Levels and splits; `val` is as it was, `test` is val and test.
    """
    val, test = splits["val"], splits["test"]

    def both(parts: Mapping[str, Tensor], shift: int = 0) -> dict[str, Tensor]:
        joined = torch.cat([parts["val"], parts["test"] + shift])
        return {**parts, "test": joined.to(parts["test"].dtype)}

    joined = [
        replace(
            level,
            remain=both(level.remain, len(val.labels)),
            leave=both(level.leave),
            cluster=both(level.cluster),
        )
        for level in levels
    ]
    samples = Samples(
        in_turn(val.features, test.features), torch.cat([val.labels, test.labels])
    )
    return joined, {**splits, "test": samples}


# ---- What the sweep says ----------------------------------------------------------

# sigma -> seed -> what was tried; the same seeds under each sigma.
Attempts = Mapping[float, Mapping[int, Tried]]


def measure_cells(tried: Attempts, data: Mapping[str, Any]) -> list[Cell]:
    """What the first filter did under each sigma: means over seeds."""
    cells = []
    for sigma, seeds in tried.items():
        for metric, unit in MEASURES.items():
            numbers = [attempt.numbers[metric] for attempt in seeds.values()]
            values = tuple(float("nan" if n is None else n) for n in numbers)
            cells.append(
                _cell(
                    data,
                    method="filter",
                    label="first Flow Filter",
                    metric=metric,
                    at=point(sigma),
                    mean=float(np.mean(values)),
                    per_seed=values,
                    unit=unit,
                )
            )
    return cells


def accuracy_cells(
    tried: Attempts,
    labels: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
    data: Mapping[str, Any],
) -> list[Cell]:
    """Accuracies of the cascade under each sigma, on val and test samples.

    Args:
        labels: val (may be empty, then there are none) and test -> (N,).
        train_counts: (C,) training images of each class.
    """
    return [
        _cell(
            data,
            **_DLSA,
            metric=metric,
            at=f"{point(sigma)}, split={split}",
            **estimated(estimate(right, weight, labels[split])),
        )
        for split in DECIDED
        if len(labels[split])
        for sigma, right in _right(tried, labels, split).items()
        for metric, weight in accuracy_weights(labels[split], train_counts).items()
    ]


def difference_cells(
    tried: Attempts,
    labels: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
    published: float,
    data: Mapping[str, Any],
) -> list[Cell]:
    """The published sigma minus each other in test Overall, paired.

    Intervals hold for all sigmas together (Bonferroni).
    """
    right = _right(tried, labels, "test")
    weights = accuracy_weights(labels["test"], train_counts)["overall"]
    cells = []
    for sigma in tried:
        if sigma == published:
            continue
        gap = estimate(
            right[published] - right[sigma],
            weights,
            labels["test"],
            _simultaneous(len(tried) - 1),
        )
        cells.append(
            _cell(
                data,
                **_DLSA,
                metric="overall",
                at=f"{point(published)}, split=test",
                minus=point(sigma),
                **estimated(gap),
                p_value=gap.p_value,
                verdict=judge_claim(gap.low, gap.high),
            )
        )
    return cells


_DLSA = {"method": "full", "label": "DLSA", "protocol": "paper"}


def _cell(data: Mapping[str, Any], **fields: Any) -> Cell:
    benchmark, words = data["benchmark"], data_in_words(data)
    return Cell(section="sigma", benchmark=benchmark, data=words, **fields)


def best_sigma(
    tried: Attempts,
    labels: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
) -> dict[str, Any] | None:
    """The sigma of the highest validation accuracy, and those not shown to be worse.

    Implements: Sect. 3, `the best choice`, chosen on validation samples; the test
    samples only say which sigmas they cannot tell from it.

    Returns:
        sigma; `val`, its Overall (mean over seeds); `not_worse`: the sigmas whose test
        Overall is not shown to be below it (paired, Bonferroni over sigmas). None where
        there is no validation split: then nothing is chosen.
    """
    if len(labels["val"]) == 0:
        return None
    scores = {
        sigma: float(right.mean())
        for sigma, right in _right(tried, labels, "val").items()
    }
    best = max(scores, key=lambda sigma: scores[sigma])
    test = _right(tried, labels, "test")
    weights = accuracy_weights(labels["test"], train_counts)["overall"]
    level = _simultaneous(len(tried) - 1)
    not_worse = [
        sigma
        for sigma, right in test.items()
        if sigma == best
        or estimate(test[best] - right, weights, labels["test"], level).low <= 0
    ]
    return {"sigma": best, "val": scores[best], "not_worse": not_worse}


def theory_claims(ratios: Sequence[Cell]) -> list[Claim]:
    """The sentences of Sect. 3 about centres, which need no data.

    Args:
        ratios: of `ratio_cells`.
    """
    return [_printed_reading(), _three_sigma_border(), _equation_5(ratios)]


def sweep_claims(
    filters: Sequence[Cell],
    differences: Sequence[Cell],
    published: float,
    data: Mapping[str, Any],
    generator: np.random.Generator,
) -> list[Claim]:
    """The sentences of Sect. 3 about fitted filters and their accuracy.

    Args:
        filters: of `measure_cells`, in the order of sigma; differences: of
            `difference_cells`.
        generator: draws the permutations of the trend tests.
    """
    overlap = _trend_claim(
        filters,
        "entropy",
        -1,
        generator,
        id="overlap",
        sentence="s3_overlap",
        statement="The clusters can overlap if the centers are too close.",
        test="Entropy of the cluster posterior falls as sigma rises",
        **_about(data),
    )
    stuck = _trend_claim(
        filters,
        "out_of_reach",
        1,
        generator,
        id="stuck",
        sentence="s3_stuck",
        statement="Samples may be stuck in the low-density area if the centers are "
        "far.",
        test="Share of samples in no cluster's reach rises with sigma",
        **_about(data),
    )
    return [overlap, stuck, _best_claim(differences, published, data)]


_FREE = {"benchmark": None, "grade": "none needed"}


def _about(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"benchmark": data["benchmark"], "grade": grade_of(data)}


def _claim(**fields: Any) -> Claim:
    return Claim(section="sigma", place="Sect. 3", **fields)


def _printed_reading() -> Claim:
    value = squared_reading(PRINTED_DIMENSIONS)
    same = round(value, 2) == PRINTED_READING
    return _claim(
        id="printed_reading",
        sentence="s3_three_sigma",
        statement=f"sigma = sqrt(3 / (2 D)) is about {PRINTED_READING} when D = "
        f"{PRINTED_DIMENSIONS}.",
        test="The formula, to the digits printed",
        mean=value,
        unit="",
        verdict="supported" if same else "contradicted",
        **_FREE,
    )


def _three_sigma_border() -> Claim:
    theory = distance_in_theory(PRINTED_DIMENSIONS, squared_reading(PRINTED_DIMENSIONS))
    inside = theory["low"] <= THREE <= theory["high"]
    return _claim(
        id="three_sigma_border",
        sentence="s3_three_sigma",
        statement="With sigma = sqrt(3 / (2 D)), mu_p lies around the three-sigma "
        "border of mu_q (distance 3).",
        test=f"Distance of two centres at D = {PRINTED_DIMENSIONS}: is 3 among the "
        "central 95 %?",
        mean=theory["mean"],
        low=theory["low"],
        high=theory["high"],
        unit="(distance, 95 % of pairs)",
        verdict="supported" if inside else "contradicted",
        **_FREE,
    )


def _equation_5(ratios: Sequence[Cell]) -> Claim:
    worst = max(ratios, key=lambda cell: abs(cell.mean - 1))
    holds = all(cell.low <= 1 <= cell.high for cell in ratios)
    return _claim(
        id="eq5",
        sentence="s3_eq5",
        statement="The mean squared distance of two centers is 2 D sigma^2 (Eq. 5).",
        test="Drawn mean square over 2 D sigma^2, of all sigmas the furthest from 1",
        mean=worst.mean,
        low=worst.low,
        high=worst.high,
        unit=worst.unit,
        verdict="supported" if holds else "contradicted",
        **_FREE,
    )


def _trend_claim(
    filters: Sequence[Cell],
    metric: str,
    sign: int,
    generator: np.random.Generator,
    test: str,
    **fields: Any,
) -> Claim:
    """A trend; what chance alone gives is no interval of it, and stands in the test."""
    curve = [cell for cell in filters if cell.metric == metric]
    values = np.array([cell.per_seed for cell in curve], dtype=float).T
    rho, low, high = trend(np.arange(len(curve)), values, generator)
    chance = f"{low:+.2f} to {high:+.2f}".replace("-", "−")
    return _claim(
        test=f"{test}: Spearman correlation within a seed, mean over seeds; shuffled "
        f"sigmas give {chance}",
        mean=rho,
        unit="(rank correlation)",
        verdict=judge_trend(sign, rho, low, high),
        **fields,
    )


def trend(
    sigmas: np.ndarray, values: np.ndarray, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Whether something rises or falls with sigma: mean of Spearman's correlation.

    Args:
        sigmas: (m,); values: (S, m), a row a seed.

    Returns:
        The correlation, and low and high of the central 95 % of what permutations of
        the sigmas within each seed give. Values that are all the same have no trend: 0.
        NaN where a value is.
    """
    if np.isnan(values).any():
        return (float("nan"),) * 3
    x = _unit_ranks(sigmas[None])[0]
    y = _unit_ranks(values)
    shuffled = generator.permuted(
        np.broadcast_to(x, (_PERMUTATIONS, *y.shape)).copy(), axis=2
    )
    chance = (shuffled * y).sum(2).mean(1)
    low, high = np.quantile(chance, [_TAIL, 1 - _TAIL])
    return float((y @ x).mean()), float(low), float(high)


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each row, centred, of length 1; 0 where a row is constant."""
    ranks = stats.rankdata(values, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


def judge_trend(sign: int, rho: float, low: float, high: float) -> ClaimVerdict:
    """Whether a trend goes as claimed, beyond what chance alone gives.

    Args:
        sign: 1 where it is claimed to rise, -1 to fall.
        rho, low, high: of `trend`.
    """
    if np.isnan(rho):
        return "not run"
    if low <= rho <= high:
        return "undecided"
    return "supported" if np.sign(rho) == sign else "contradicted"


def _best_claim(
    differences: Sequence[Cell], published: float, data: Mapping[str, Any]
) -> Claim:
    """Supported where it is above every other sigma, contradicted where one is above.

    The numbers are the smallest of the differences: it is the one that decides.
    """
    mean, low, high = (
        min(getattr(gap, name) for gap in differences)
        for name in ("mean", "low", "high")
    )
    return _claim(
        id="best",
        sentence="s3_best",
        statement=f"After experiments, we use sigma = {published:g} as the best "
        "choice.",
        test=f"Overall on test, sigma = {published:g} minus each other, paired; the "
        "smallest, Bonferroni over sigmas",
        mean=mean,
        low=low,
        high=high,
        verdict=judge_claim(low, high),
        p_value=joint_p_value([(gap.mean, gap.p_value) for gap in differences]),
        protocol="paper",
        **_about(data),
    )


def _simultaneous(comparisons: int) -> float:
    """Level of each interval so that all of them hold together (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(comparisons, 1)


def _right(
    tried: Attempts, labels: Mapping[str, np.ndarray], split: str
) -> dict[float, np.ndarray]:
    """Sigma -> (S, N) 1 where right, as whole numbers."""
    return {
        sigma: np.stack(
            [found.predictions[split] == labels[split] for found in seeds.values()]
        ).astype(np.int8)
        for sigma, seeds in tried.items()
    }
