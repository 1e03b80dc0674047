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

from replication.cascade import PAPER, Level, decide, fit_levels
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
from replication.samples.features import Features, Samples, in_turn
from replication.samples.metrics import accuracy_weights
from replication.statistics.intervals import LEVEL, Estimate, estimate
from replication.statistics.results import (
    Cell,
    Claim,
    Grade,
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
# A sample of a unit Gaussian lies outside this radius once in a thousand times.
INSIDE = 0.999
_PERMUTATIONS = 9999
_READ_BATCH = 1024
_TAIL = (1 - LEVEL) / 2


# ---- Centres: Eq. 5 ---------------------------------------------------------------


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
        numbers; `error`, the Monte-Carlo standard error of the mean square.
    """
    records = []
    for sigma in sigmas:
        drawn = draw_distances(dimensions, sigma, draws, generator)
        low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
        records.append(
            {
                "sigma": sigma,
                "theory": distance_in_theory(dimensions, sigma),
                "drawn": {
                    "mean_square": float((drawn**2).mean()),
                    "mean": float(drawn.mean()),
                    "low": float(low),
                    "high": float(high),
                },
                "error": float(stats.sem(drawn**2)),
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
        half = float(reach * record["error"] / square)
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


@torch.no_grad()
def place(flow: FlowFilter, features: Features) -> tuple[Tensor, Tensor]:
    """Where samples (N, D) lie among the clusters.

    The largest array is (B, K): |z - mu|^2 is expanded.

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
            levels, splits, self.num_classes, head, self.classifier, PAPER, seed
        )
        decided = predicted.cpu().numpy().astype(np.int32)
        first = len(self.splits["val"].labels)
        return Tried(numbers, {"val": decided[:first], "test": decided[first:]})

    def _numbers(
        self, diagnosis: Mapping[str, Any], flow: FlowFilter
    ) -> dict[str, float | None]:
        """MEASURES of the first filter."""
        features = self.splits["test"].features
        square_distance, entropy = place(flow, features)
        test, clusters = diagnosis["splits"]["test"], self.filter_settings.num_clusters
        most = float(np.log(clusters)) if clusters > 1 else float("nan")
        values = {
            "entropy": entropy.mean().item() / most,
            "out_of_reach": out_of_reach(square_distance, features.shape[1]),
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

    def both(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**parts, "test": torch.cat([parts["val"], parts["test"]])}

    joined = []
    for level in levels:
        shifted = {**level.remain, "test": level.remain["test"] + len(val.labels)}
        parts = {"leave": both(level.leave), "cluster": both(level.cluster)}
        joined.append(replace(level, remain=both(shifted), **parts))
    features = in_turn(val.features, test.features)
    samples = Samples(features, torch.cat([val.labels, test.labels]))
    return joined, {**splits, "test": samples}


# ---- What the sweep says ----------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """What every sigma came to.

    Fields: `tried`: sigma, ascending -> seed -> what was tried, the same seeds under
    each; `labels`: val (may be empty) and test -> (N,); `train_counts` (C,); `data`,
    the summary that `prepare` wrote; `published`, the sigma that others are held
    against.
    """

    tried: Mapping[float, Mapping[int, Tried]]
    labels: Mapping[str, np.ndarray]
    train_counts: np.ndarray
    data: Mapping[str, Any]
    published: float

    def filter_cells(self) -> list[Cell]:
        """What the first filter did under each sigma: means over seeds."""
        cells = []
        words = {"method": "filter", "label": "first Flow Filter"}
        for sigma, seeds in self.tried.items():
            for metric, unit in MEASURES.items():
                numbers = [attempt.numbers[metric] for attempt in seeds.values()]
                values = tuple(float("nan" if n is None else n) for n in numbers)
                mean = {"mean": float(np.mean(values)), "per_seed": values}
                about = {"metric": metric, "at": point(sigma), "unit": unit}
                cells.append(self._cell(**words, **about, **mean))
        return cells

    def accuracy_cells(self) -> list[Cell]:
        """Accuracies of the cascade under each sigma, on val and test samples."""
        return [
            self._cell(
                **_DLSA,
                metric=metric,
                at=f"{point(sigma)}, split={split}",
                **estimated(
                    estimate(self._right(sigma, split), weight, self.labels[split])
                ),
            )
            for split in DECIDED
            if len(self.labels[split])
            for sigma in self.tried
            for metric, weight in self._weights(split).items()
        ]

    def difference_cells(self) -> list[Cell]:
        """The published sigma minus each other in test Overall, paired."""
        gaps = {s: self._gap(self.published, s) for s in self.tried}
        del gaps[self.published]
        return [
            self._cell(
                **_DLSA,
                metric="overall",
                at=f"{point(self.published)}, split=test",
                minus=point(sigma),
                **estimated(gap),
                p_value=gap.p_value,
                verdict=judge_claim(gap.low, gap.high),
            )
            for sigma, gap in gaps.items()
        ]

    def best(self) -> dict[str, Any] | None:
        """The sigma of the highest validation accuracy, and those not shown worse.

        Implements: Sect. 3, `the best choice`, chosen on validation samples; the test
        samples only say which sigmas they cannot tell from it.

        Returns:
            sigma; `val`, its Overall (mean over seeds); `not_worse`: the sigmas whose
            test Overall is not shown to be below it. None without a validation split:
            then nothing is chosen.
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
        return accuracy_weights(self.labels[split], self.train_counts)

    def _cell(self, **fields: Any) -> Cell:
        benchmark, words = self.data["benchmark"], data_in_words(self.data)
        return Cell(section="sigma", benchmark=benchmark, data=words, **fields)


_DLSA = {"method": "full", "label": "DLSA", "protocol": PAPER.key}


def theory_claims(ratios: Sequence[Cell]) -> list[Claim]:
    """The sentences of Sect. 3 about centres, which need no data.

    Args:
        ratios: of `ratio_cells`.
    """
    at, printed = PRINTED_DIMENSIONS, PRINTED_READING
    reading = squared_reading(at)
    theory = distance_in_theory(at, reading)
    worst = max(ratios, key=lambda cell: abs(cell.mean - 1))
    return [
        _claim(
            "printed_reading",
            "s3_three_sigma",
            f"sigma = sqrt(3 / (2 D)) is about {printed} when D = {at}.",
            "The formula, to the digits printed",
            _holds(round(reading, 2) == printed),
            mean=reading,
            unit="",
        ),
        _claim(
            "three_sigma_border",
            "s3_three_sigma",
            "With sigma = sqrt(3 / (2 D)), mu_p lies around the three-sigma border of "
            "mu_q (distance 3).",
            f"Distance of two centres at D = {at}: is 3 among the central 95 %?",
            _holds(theory["low"] <= THREE <= theory["high"]),
            **{end: theory[end] for end in ("mean", "low", "high")},
            unit="(distance, 95 % of pairs)",
        ),
        _claim(
            "eq5",
            "s3_eq5",
            "The mean squared distance of two centers is 2 D sigma^2 (Eq. 5).",
            "Drawn mean square over 2 D sigma^2, of all sigmas the furthest from 1",
            _holds(all(cell.low <= 1 <= cell.high for cell in ratios)),
            **{end: getattr(worst, end) for end in ("mean", "low", "high")},
            unit=worst.unit,
        ),
    ]


def sweep_claims(
    filters: Sequence[Cell],
    differences: Sequence[Cell],
    published: float,
    data: Mapping[str, Any],
    generator: np.random.Generator,
) -> list[Claim]:
    """The sentences of Sect. 3 about fitted filters and their accuracy.

    Args:
        filters, differences: Cells of `Swept`.
        generator: draws the permutations of the trend tests.
    """
    about = {"benchmark": data["benchmark"], "grade": grade_of(data)}
    claims = []
    for metric, sign, name, statement, test in _TRENDS:
        curve = [cell.per_seed for cell in filters if cell.metric == metric]
        values = np.array(curve, dtype=float).T
        rho, low, high = trend(np.arange(len(curve)), values, generator)
        # What chance alone gives is no interval of the estimate.
        chance = f"{low:+.2f} to {high:+.2f}".replace("-", "−")
        test += (
            ": Spearman correlation within a seed, mean over seeds; shuffled sigmas "
            f"give {chance}"
        )
        verdict, unit = judge_trend(sign, rho, low, high), "(rank correlation)"
        said = (f"s3_{name}", statement, test, verdict)
        claims.append(_claim(name, *said, mean=rho, unit=unit, **about))
    return [*claims, _best_claim(differences, published, about)]


# Metric, sign of its trend with sigma; id, sentence and test of the claim.
_TRENDS = (
    (
        "entropy",
        -1,
        "overlap",
        "The clusters can overlap if the centers are too close.",
        "Entropy of the cluster posterior falls as sigma rises",
    ),
    (
        "out_of_reach",
        1,
        "stuck",
        "Samples may be stuck in the low-density area if the centers are far.",
        "Share of samples in no cluster's reach rises with sigma",
    ),
)


def _best_claim(
    differences: Sequence[Cell], published: float, about: Mapping[str, Any]
) -> Claim:
    """Supported where it is above every other sigma, contradicted where one is above.

    The numbers are the smallest of the differences: it is the one that decides.
    """
    mean, low, high = (
        min(getattr(gap, name) for gap in differences)
        for name in ("mean", "low", "high")
    )
    return _claim(
        "best",
        "s3_best",
        f"After experiments, we use sigma = {published:g} as the best choice.",
        f"Overall on test, sigma = {published:g} minus each other, paired; the "
        "smallest, Bonferroni over sigmas",
        judge_claim(low, high),
        **{"mean": mean, "low": low, "high": high, "protocol": PAPER.key},
        p_value=joint_p_value([(gap.mean, gap.p_value) for gap in differences]),
        **about,
    )


def _holds(true: bool) -> ClaimVerdict:
    return "supported" if true else "contradicted"


def _claim(
    name: str,
    sentence: str,
    statement: str,
    test: str,
    verdict: ClaimVerdict,
    benchmark: str | None = None,
    grade: Grade = "none needed",
    **fields: Any,
) -> Claim:
    """A test; without a benchmark it is of the formula, whatever the data."""
    words = {"sentence": sentence, "statement": statement, "test": test}
    where = {"section": "sigma", "place": "Sect. 3"}
    data = {"benchmark": benchmark, "grade": grade}
    return Claim(id=name, verdict=verdict, **words, **where, **data, **fields)


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
