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
from replication.flow_filter.fitting import Report
from replication.flow_filter.flow import FlowFilter
from replication.samples.features import Features, Samples, in_turn
from replication.samples.metrics import accuracy_weights
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.verdicts import (
    ClaimVerdict,
    joint_p_value,
    judge_claim,
)

SPLITS = ("train", "val", "test")
DECIDED = ("val", "test")
# Sect. 3 speaks of 1024 dimensions; the features of a ResNet-50 or -152 have 2048.
PRINTED_DIMENSIONS = 1024
RESNET_DIMENSIONS = 2048
PRINTED_READING = 0.04
THREE = 3.0
# A sample of a unit Gaussian lies outside this radius once in a thousand times.
INSIDE = 0.999
LEVEL = 0.95
_PERMUTATIONS = 9999
_BINS = 30
_READ_BATCH = 1024


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


def distance_in_theory(
    dimensions: np.ndarray | int, sigma: np.ndarray | float
) -> dict[str, Any]:
    """The distance of two centres drawn from N(0, sigma^2 I).

    Implements: Eq. 5, E|mu_p - mu_q|^2 = 2 D sigma^2; the distance itself is
    sigma sqrt(2) chi_D.

    Args:
        dimensions, sigma: that broadcast against each other.

    Returns:
        mean_square, mean, and low, high of the central 95 % of the distances.
    """
    scale = np.sqrt(2) * np.asarray(sigma)
    spread = stats.chi(np.asarray(dimensions), scale=scale)
    return {
        "mean_square": scale**2 * dimensions,
        "mean": spread.mean(),
        "low": spread.ppf((1 - LEVEL) / 2),
        "high": spread.ppf((1 + LEVEL) / 2),
    }


def readings(dimensions: Sequence[int], sigma: float) -> list[dict[str, Any]]:
    """What each reading of "three-sigma" gives, and what a given sigma does.

    Args:
        dimensions: D, a row each.
        sigma: whose distances are wanted at each D.

    Returns:
        For each D: sigma under both readings, and the distance of two centres under
        `squared`, `distance` and the given sigma (`used`): mean_square, mean, low, high
        as in `distance_in_theory`, and `confused`: the share of one cluster's samples
        that lie nearer to the other's centre, at the mean distance.
    """
    found = []
    for size in dimensions:
        sigmas = {
            "squared": squared_reading(size),
            "distance": distance_reading(size),
            "used": sigma,
        }
        theory = distance_in_theory(size, np.array(list(sigmas.values())))
        theory["confused"] = stats.norm.cdf(-theory["mean"] / 2)
        row: dict[str, Any] = {"dimensions": size}
        for number, (name, value) in enumerate(sigmas.items()):
            numbers = {key: float(part[number]) for key, part in theory.items()}
            row[name] = {"sigma": value} | numbers
        found.append(row)
    return found


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
        Records: sigma, dimensions, draws; `theory` (see `distance_in_theory`); `drawn`
        with the same four numbers; `error`, the Monte-Carlo standard error of each;
        `histogram` of the drawn distances. `ratio`: drawn mean square over 2 D sigma^2
        with an interval (`ratio_low`, `ratio_high`) that holds for all sigmas together.
    """
    reach = stats.norm.ppf(1 - (1 - LEVEL) / (2 * len(sigmas)))
    found = []
    for sigma in sigmas:
        drawn = draw_distances(dimensions, sigma, draws, generator)
        theory = {
            name: float(value)
            for name, value in distance_in_theory(dimensions, sigma).items()
        }
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        density = stats.chi(dimensions, scale=2**0.5 * sigma).pdf
        tail = ((1 - LEVEL) / 2 * (1 + LEVEL) / 2 / draws) ** 0.5
        error = {
            "mean_square": float(stats.sem(drawn**2)),
            "mean": float(stats.sem(drawn)),
            "low": float(tail / density(theory["low"])),
            "high": float(tail / density(theory["high"])),
        }
        ratio = float((drawn**2).mean() / theory["mean_square"])
        half = float(reach * error["mean_square"] / theory["mean_square"])
        counts, edges = np.histogram(drawn, _BINS)
        found.append(
            {
                "sigma": sigma,
                "dimensions": dimensions,
                "draws": draws,
                "theory": theory,
                "drawn": {
                    "mean_square": float((drawn**2).mean()),
                    "mean": float(drawn.mean()),
                    "low": float(low),
                    "high": float(high),
                },
                "error": error,
                "ratio": ratio,
                "ratio_low": ratio - half,
                "ratio_high": ratio + half,
                "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            }
        )
    return found


# ---- The sweep --------------------------------------------------------------------


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
    for sigma, reason in sorted(wanted, key=lambda one: one[0]):
        mine = reasons.setdefault(float(f"{sigma:.6g}"), [])
        if reason not in mine:
            mine.append(reason)
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

    Fields: `record` of the filters; `predictions`: val and test -> (N,).
    """

    record: Mapping[str, Any]
    predictions: Mapping[str, np.ndarray]


def try_sigma(
    splits: Mapping[str, Samples],
    num_classes: int,
    head: Term,
    settings: tuple[FilterSettings, CascadeSettings, ClassifierSettings],
    sigma: float,
    seed: int,
    report: Report | None = None,
) -> Tried:
    """Fit the cascade with this sigma and decide the validation and test samples.

    Implements: Sect. 3, `after experiments`, under the protocol `paper`.

    Args:
        splits: train, val (may be empty) and test.
        num_classes: C.
        head: that every first term starts from.
        settings: of the filters, whose sigma is replaced, the chain, the classifiers.
        sigma: spread of the centres, > 0.
        seed: of filters and classifiers; the centres of two sigmas under one seed
            differ by a factor alone.

    Raises:
        BadInput: a fit fails; the sigma is named.
    """
    filter_settings, cascade, classifier = settings
    filter_settings = filter_settings.model_copy(update={"sigma": sigma})
    try:
        levels, diagnoses = fit_levels(
            splits, num_classes, filter_settings, cascade, seed, report
        )
    except BadInput as error:
        raise BadInput(f"sigma {sigma:g}: {error}") from None
    flow = levels[0].fitted.flow
    dimensions = splits["train"].features.shape[1]
    placed = {split: place(flow, splits[split].features) for split in SPLITS}
    clusters = filter_settings.num_clusters
    most = float(np.log(clusters)) if clusters > 1 else float("nan")
    record = {
        "sigma": sigma,
        "seed": seed,
        "filters": [
            {name: value for name, value in one.items() if name != "history"}
            for one in diagnoses
        ],
        "out_of_reach": {
            split: out_of_reach(one.square_distance, dimensions)
            for split, one in placed.items()
        },
        "entropy": {
            split: one.entropy.mean().item() / most for split, one in placed.items()
        },
    }
    both_levels, both = validation_as_test(levels, splits)
    predicted, _ = decide(
        both_levels, both, num_classes, head, classifier, "paper", seed
    )
    predicted = predicted.cpu().numpy().astype(np.int32)
    first = len(splits["val"].labels)
    return Tried(record, {"val": predicted[:first], "test": predicted[first:]})


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
    first = len(val.labels)
    both = Samples(
        in_turn(val.features, test.features),
        torch.cat([val.labels, test.labels]),
    )
    joined = [
        replace(
            level,
            remain={
                **level.remain,
                "test": torch.cat(
                    [level.remain["val"], level.remain["test"] + first]
                ),
            },
            leave={
                **level.leave,
                "test": torch.cat([level.leave["val"], level.leave["test"]]),
            },
            cluster={
                **level.cluster,
                "test": torch.cat([level.cluster["val"], level.cluster["test"]]),
            },
        )
        for level in levels
    ]  # fmt: skip
    return joined, {**splits, "test": both}


# ---- What the sweep says ----------------------------------------------------------


MEASURES = (
    "entropy",
    "out_of_reach",
    "empty_clusters",
    "pure_clusters",
    "purity",
    "log_likelihood",
    "auroc_tail",
    "leaving",
    "leaving_many",
    "leaving_medium",
    "leaving_few",
)


def measures(record: Mapping[str, Any], held_out: str) -> dict[str, float]:
    """The numbers of one sigma and seed that the sweep compares, all of depth 1.

    Args:
        record: of `Tried`; None counts as NaN.
        held_out: the split whose log-likelihood is taken.

    Returns:
        MEASURES -> value. Clusters and purity are of train, the others of test but for
        the log-likelihood.
    """
    first = record["filters"][0]
    test = first["splits"]["test"]
    found = {
        "entropy": record["entropy"]["test"],
        "out_of_reach": record["out_of_reach"]["test"],
        "log_likelihood": first["splits"][held_out]["log_likelihood"],
        "auroc_tail": test["auroc_tail"],
        "leaving": test["leaving"],
    }
    for name in ("empty_clusters", "pure_clusters", "purity"):
        found[name] = first[name]
    for group, share in test["leaving_by_group"].items():
        found[f"leaving_{group}"] = share
    return {
        name: float("nan") if found[name] is None else float(found[name])
        for name in MEASURES
    }


def sweep_records(
    tried: Mapping[float, Mapping[int, Tried]],
    labels: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
    published: float,
    reasons: Mapping[float, list[str]],
) -> list[dict[str, Any]]:
    """A record for each sigma: diagnostics, accuracies, difference to the published.

    Args:
        tried: sigma -> seed -> what was found; the same seeds under each sigma.
        labels: val (may be empty) and test -> (N,).
        train_counts: (C,) training images of each class.
        published: the sigma that the others are held against.
        reasons: sigma -> why it is in the sweep.

    Returns:
        Records: sigma, reasons; `held_out`, the split of the log-likelihood (val, or
        train where there is none); `measures`: name -> mean over seeds and per_seed;
        `accuracy`: val and test -> metric -> mean, interval, per_seed (val: None where
        there is none); `published_minus`: paired difference in test Overall, its
        interval holding for all sigmas together (None for the published one);
        `filters`, `out_of_reach`, `entropy` by seed as they were measured.
    """
    held_out = "val" if len(labels["val"]) else "train"
    right = {split: _right(tried, labels, split) for split in DECIDED}
    weights = {
        split: accuracy_weights(labels[split], train_counts)
        for split in DECIDED
        if len(labels[split])
    }
    level = _simultaneous(len(tried) - 1)
    records = []
    for sigma, seeds in tried.items():
        found = [measures(one.record, held_out) for one in seeds.values()]
        accuracy: dict[str, Any] = dict.fromkeys(DECIDED)
        for split, mine in weights.items():
            accuracy[split] = {
                metric: _numbers(estimate(right[split][sigma], weight, labels[split]))
                for metric, weight in mine.items()
            }
        gap = None
        if sigma != published:
            difference = right["test"][published] - right["test"][sigma]
            found_gap = estimate(
                difference, weights["test"]["overall"], labels["test"], level
            )
            gap = _numbers(found_gap) | {"p_value": found_gap.p_value}
        records.append(
            {
                "sigma": sigma,
                "reasons": reasons[sigma],
                "held_out": held_out,
                "measures": {name: _over_seeds(found, name) for name in MEASURES},
                "accuracy": accuracy,
                "published_minus": gap,
                "per_seed": [dict(one.record) for one in seeds.values()],
            }
        )
    return records


def best_sigma(
    tried: Mapping[float, Mapping[int, Tried]],
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


def sigma_claims(
    sweep: Sequence[Mapping[str, Any]],
    distances: Sequence[Mapping[str, Any]],
    published: float,
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """The sentences of Sect. 3 that can be wrong, each with what was found.

    Args:
        sweep: of `sweep_records`; distances: of `measure_distances`.
        generator: draws the permutations of the trend tests.

    Returns:
        For each: section, sentence, test, `kind` (exact, drawn, trend, difference),
        mean, low, high and verdict. exact: computed; low and high are a range in theory
        or None. drawn: a ratio with its interval. trend: mean Spearman correlation,
        with the range that chance alone gives. difference: of accuracies, paired.
    """
    return [
        _printed_reading(),
        _three_sigma_border(),
        _equation_5(distances),
        _trend_claim(
            sweep,
            "entropy",
            -1,
            "The clusters can overlap if the centers are too close.",
            "Entropy of the cluster posterior falls as sigma rises",
            generator,
        ),
        _trend_claim(
            sweep,
            "out_of_reach",
            1,
            "Samples may be stuck in the low-density area if the centers are far.",
            "Share of samples in no cluster's reach rises with sigma",
            generator,
        ),
        _best_claim(sweep, published),
    ]


def _printed_reading() -> dict[str, Any]:
    value = squared_reading(PRINTED_DIMENSIONS)
    same = round(value, 2) == PRINTED_READING
    return _claim(
        f"sigma = sqrt(3 / (2 D)) is about {PRINTED_READING} when D = "
        f"{PRINTED_DIMENSIONS}.",
        "The formula, to the digits printed",
        "exact",
        (value, None, None),
        "supported" if same else "contradicted",
    )


def _three_sigma_border() -> dict[str, Any]:
    theory = distance_in_theory(PRINTED_DIMENSIONS, squared_reading(PRINTED_DIMENSIONS))
    numbers = tuple(float(theory[name]) for name in ("mean", "low", "high"))
    inside = numbers[1] <= THREE <= numbers[2]
    return _claim(
        "With sigma = sqrt(3 / (2 D)), mu_p lies around the three-sigma border of "
        "mu_q (distance 3).",
        f"Distance of two centres at D = {PRINTED_DIMENSIONS}: is 3 among the central "
        "95 %?",
        "exact",
        numbers,
        "supported" if inside else "contradicted",
    )


def _equation_5(distances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    worst = max(distances, key=lambda one: abs(one["ratio"] - 1))
    holds = all(one["ratio_low"] <= 1 <= one["ratio_high"] for one in distances)
    return _claim(
        "The mean squared distance of two centers is 2 D sigma^2 (Eq. 5).",
        "Drawn mean square over 2 D sigma^2, of all sigmas the furthest from 1",
        "drawn",
        (worst["ratio"], worst["ratio_low"], worst["ratio_high"]),
        "supported" if holds else "contradicted",
    )


def _trend_claim(
    sweep: Sequence[Mapping[str, Any]],
    measure: str,
    sign: int,
    sentence: str,
    test: str,
    generator: np.random.Generator,
) -> dict[str, Any]:
    values = [one["measures"][measure]["per_seed"] for one in sweep]
    sigmas = np.array([one["sigma"] for one in sweep])
    rho, low, high = trend(sigmas, np.array(values, dtype=float).T, generator)
    verdict = judge_trend(sign, rho, low, high)
    return _claim(
        sentence,
        f"{test}: Spearman correlation within a seed, mean over seeds",
        "trend",
        (rho, low, high),
        verdict,
    )


def trend(
    sigmas: np.ndarray, values: np.ndarray, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Whether something rises or falls with sigma.

    Implements: not in the paper: mean over seeds of Spearman's correlation, held
    against permutations of the sigmas within each seed.

    Args:
        sigmas: (m,); values: (S, m).

    Returns:
        The correlation, and low and high of the central 95 % of what chance alone
        gives. Values that are all the same have no trend: 0. NaN where a value is.
    """
    if np.isnan(values).any():
        return (float("nan"),) * 3
    x = _unit_ranks(sigmas[None])[0]
    y = _unit_ranks(values)
    shuffled = generator.permuted(
        np.broadcast_to(x, (_PERMUTATIONS, *y.shape)).copy(), axis=2
    )
    chance = (shuffled * y).sum(2).mean(1)
    low, high = np.quantile(chance, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
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


def _best_claim(sweep: Sequence[Mapping[str, Any]], published: float) -> dict[str, Any]:
    """Supported where it is above every other sigma, contradicted where one is above.

    The numbers are the smallest of the differences: it is the one that decides.
    """
    gaps = [one["published_minus"] for one in sweep if one["published_minus"]]
    least = [min(gap[name] for gap in gaps) for name in ("mean", "low", "high")]
    p_values = [(gap["mean"], gap["p_value"]) for gap in gaps]
    claim = _claim(
        f"After experiments, we use sigma = {published:g} as the best choice.",
        f"Overall on test, sigma = {published:g} minus each other, paired; the "
        "smallest, Bonferroni over sigmas",
        "difference",
        (least[0], least[1], least[2]),
        judge_claim(least[1], least[2]),
    )
    return claim | {"p_value": joint_p_value(p_values)}


def _claim(
    sentence: str,
    test: str,
    kind: str,
    numbers: tuple[float, float | None, float | None],
    verdict: ClaimVerdict,
) -> dict[str, Any]:
    mean, low, high = numbers
    return {
        "section": "Sect. 3",
        "sentence": sentence,
        "test": test,
        "kind": kind,
        "mean": mean,
        "low": low,
        "high": high,
        "verdict": verdict,
        "data_free": kind in ("exact", "drawn"),  # of the formula, whatever the data
    }


def _simultaneous(comparisons: int) -> float:
    """Level of each interval so that all of them hold together (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(comparisons, 1)


def _right(
    tried: Mapping[float, Mapping[int, Tried]],
    labels: Mapping[str, np.ndarray],
    split: str,
) -> dict[float, np.ndarray]:
    """Sigma -> (S, N) 1 where right, as whole numbers."""
    return {
        sigma: np.stack(
            [one.predictions[split] == labels[split] for one in seeds.values()]
        ).astype(np.int8)
        for sigma, seeds in tried.items()
    }


def _over_seeds(found: Sequence[Mapping[str, float]], name: str) -> dict[str, Any]:
    values = [one[name] for one in found]
    return {"mean": float(np.mean(values)), "per_seed": values}


def _numbers(ours: Estimate) -> dict[str, Any]:
    return {
        "mean": ours.mean,
        "low": ours.low,
        "high": ours.high,
        "per_seed": list(ours.per_seed),
    }
