"""Sect. 2: Eq. 1 exactly, Eq. 2 to 4 by simulation, and where their premise ends.

The simulation draws batches from a population of posteriors that stands still, as Eq. 3
and 4 suppose. A real filter trains: P(h | X) moves from step to step, and its batches
are drawn class-uniform from long-tailed data. The probes measure both.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import chain, count, islice
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from replication.core.settings import FilterSettings
from replication.flow_filter.fitting import PairDraws, Report, fit_flow_filter
from replication.flow_filter.flow import FlowFilter
from replication.flow_filter.losses import momentum_estimate
from replication.samples.features import Features
from replication.sections.basis import Basis
from replication.statistics.intervals import LEVEL, Estimate, over_seeds
from replication.statistics.results import Cell, Claim, estimated
from replication.statistics.verdicts import judge_absence, judge_claim

POPULATION = 2000
# Their mean has 1/32 of one batch's variance; the momentum estimate, in the limit of
# large t and with eta = 0.7, has 3/17 of it.
TRUTH_BATCHES = 32
TRUTHS = {
    "drawn": "samples as the fit draws them",
    "set": "the training set as it is",
}
LABELS = {
    "momentum": "the momentum estimate",
    "batch": "P(h|B_t) alone",
}
_SCALES = (0.1, 1.0, 10.0, 100.0)
_SHARES = 1000
_EPSILON = float(np.finfo(np.float64).eps)
# What rounding leaves of a difference that is exactly 0, as all are at t = 1.
_ROUNDING = 1e-12
_ENDS = ("mean", "low", "high")
# A squared bias below this share of a batch's variance is taken for none.
BIAS_MARGIN = 0.1
LATE = "last quarter of the fit"

Record = dict[str, Any]
Records = Sequence[Mapping[str, Any]]


# --- Eq. 1


def entropy(share: Tensor) -> Tensor:
    """Ent[p] = -sum_k p_k log p_k, with 0 log 0 = 0; (..., K) -> (...) nats."""
    return -torch.xlogy(share, share).sum(-1)


def kl_to_uniform(share: Tensor) -> Tensor:
    """KL[p || u] = sum_k p_k log(p_k / u_k), as defined; (..., K) -> (...) nats."""
    uniform = 1 / share.shape[-1]
    return torch.xlogy(share, share / uniform).sum(-1)


def random_shares(number: int, clusters: int, generator: torch.Generator) -> Tensor:
    """Points of the simplex: near its middle, near its corners, and on its faces.

    Returns:
        (number, K) float64; every second one has exact zeros, the last K are corners.
    """
    logits = torch.randn(number, clusters, generator=generator, dtype=torch.float64)
    scale = torch.tensor(_SCALES, dtype=torch.float64)
    shares = (logits * scale[torch.arange(number) % len(scale), None]).softmax(1)
    mask = torch.rand(number, clusters, generator=generator) < 0.5
    mask[:, 0] = True
    mask[: number // 2] = True
    shares = shares * mask
    corners = torch.eye(clusters, dtype=torch.float64)
    return torch.cat([shares / shares.sum(1, keepdim=True), corners])


def identity_errors(
    clusters: Sequence[int], generator: torch.Generator
) -> list[Record]:
    """How far the two sides of Eq. 1 lie apart, at most, in float64.

    Implements: Eq. 1: KL[p || u] = log K - Ent[p].

    Returns:
        A record a K: `error`; `tolerance`, what rounding of K terms explains.
    """
    records = []
    for size in clusters:
        shares = random_shares(_SHARES, size, generator)
        gap = kl_to_uniform(shares) - math.log(size) + entropy(shares)
        tolerance = _EPSILON * size * (1 + math.log(size))
        records.append({"error": gap.abs().max().item(), "tolerance": tolerance})
    return records


# --- Eq. 2 to 4


def closed_form(shares: Tensor, eta: float) -> Tensor:
    """Eq. 2, p~_t = sum_i (1 - eta) eta^(t - i) P(h | B_i); (t, K) -> (K,)."""
    age = torch.arange(len(shares) - 1, -1, -1, dtype=shares.dtype)
    return (1 - eta) * (torch.full_like(age, eta) ** age) @ shares


def recursion_errors(
    etas: Sequence[float], steps: int, clusters: int, generator: torch.Generator
) -> list[Record]:
    """How far Eq. 2 and the fit's recursion lie apart at most, up to t = `steps`."""
    shares = random_shares(steps, clusters, generator)[:steps]
    records = []
    for eta in etas:
        average, error = torch.zeros_like(shares[0]), 0.0
        for t in range(1, steps + 1):
            average = momentum_estimate(average, shares[t - 1], eta, t)[1]
            gap = (average - closed_form(shares[:t], eta)).abs().max().item()
            error = max(error, gap)
        records.append({"error": error, "tolerance": 4 * steps * _EPSILON})
    return records


def phi(eta: Any, step: int) -> Any:
    """Eq. 4's phi(t), exact where eta is a Fraction."""
    return (1 - eta**step) / (1 + eta**step)


def population(size: int, clusters: int, generator: torch.Generator) -> Tensor:
    """A fixed population of posteriors (N, K), some sure and some not."""
    double = {"generator": generator, "dtype": torch.float64}
    common = torch.randn(clusters, **double)
    own = torch.randn(size, clusters, **double)
    sureness = torch.randn(size, 1, **double).exp()
    return (common + 2 * sureness * own).softmax(1)


def simulate(
    posteriors: Tensor,
    etas: Sequence[float],
    steps: Sequence[int],
    batch_size: int,
    draws: int,
    generator: torch.Generator,
) -> list[Record]:
    """Bias and variance of the momentum estimate over repeated draws of batches.

    Implements: Eq. 3, 4. Batches are drawn independently, with replacement; the total
    variance D sums over the clusters. Every eta sees the same batches.

    Args:
        posteriors: (N, K) float64, the population.
        steps: the t that are looked at, from 1.
        draws: R repetitions, >= 2.

    Returns:
        A record for each eta and t. `ratio`: D of the corrected estimate over D of
        P(h | B_t); `bias_corrected` and `bias_uncorrected`: relative to P(h = k | X),
        of the cluster whose bias lies furthest from 0 in standard errors. Each has
        mean, low, high, and `equation`: what Eq. 4, Eq. 3 and Eq. 2 say. All intervals
        are simultaneous over etas and steps, those of the bias over clusters too.
    """
    truth = posteriors.mean(0)
    wanted, cells = set(steps), len(etas) * len(set(steps))
    reach = _quantile(cells, draws)
    bias_reach = _quantile(cells * len(truth), draws)
    average = {eta: posteriors.new_zeros(draws, len(truth)) for eta in etas}
    records = []
    for t in range(1, max(steps) + 1):
        batch = torch.randint(
            len(posteriors), (draws, batch_size), generator=generator
        ).to(posteriors.device)
        shares = F.embedding_bag(batch, posteriors, mode="mean")
        for eta in etas:
            corrected, average[eta] = momentum_estimate(average[eta], shares, eta, t)
            if t in wanted:
                ratio = _variance_ratio(corrected, shares, reach)
                unbiased = _furthest_bias(corrected, truth, bias_reach)
                biased = _furthest_bias(average[eta], truth, bias_reach)
                records.append(
                    {
                        "eta": eta,
                        "t": t,
                        "ratio": ratio | {"equation": phi(eta, 1) / phi(eta, t)},
                        "bias_corrected": unbiased | {"equation": 0.0},
                        "bias_uncorrected": biased | {"equation": -(eta**t)},
                    }
                )
    return sorted(records, key=lambda record: (record["eta"], record["t"]))


def _quantile(tests: int, draws: int) -> float:
    """Reach of a two-sided interval in standard errors, Bonferroni over tests."""
    return float(stats.t.ppf(1 - (1 - LEVEL) / (2 * tests), draws - 1))


def _variance_ratio(estimate: Tensor, shares: Tensor, reach: float) -> dict[str, float]:
    """D[estimate] / D[share] over draws (R, K), by the delta method.

    Both come from the same draws, so that at t = 1 the ratio is 1 without error.
    """
    ours = (estimate - estimate.mean(0)).square().sum(1)
    batch = (shares - shares.mean(0)).square().sum(1)
    ratio = ours.mean() / batch.mean()
    influence = (ours - ratio * batch) / batch.mean()
    error = influence.std().item() / len(shares) ** 0.5
    return _ends(ratio.item(), reach * error)


def _furthest_bias(estimate: Tensor, truth: Tensor, reach: float) -> dict[str, float]:
    """Relative bias of the cluster with the largest |bias| in standard errors.

    Its interval contains 0 exactly where those of all clusters do.
    """
    bias = estimate.mean(0) / truth - 1
    error = estimate.std(0) / truth / len(estimate) ** 0.5
    worst = int((bias.abs() / error.clamp_min(_ROUNDING)).argmax())
    return _ends(bias[worst].item(), reach * error[worst].item())


def _ends(mean: float, half: float) -> dict[str, float]:
    half = max(half, _ROUNDING)
    return {"mean": mean, "low": mean - half, "high": mean + half}


# --- A real fit


def probe_fit(
    features: Features,
    labels: Tensor,
    settings: FilterSettings,
    probes: int,
    seed: int,
    report: Report | None = None,
) -> list[Record]:
    """The estimates of P(h | X) against the truth, at steps spread over a fit.

    The truth is that of the parameters which gave P(h | B_t), with batch-norm in train
    mode as there: running statistics lag behind the parameters. Two truths: `drawn`,
    over TRUTH_BATCHES fresh class-uniform batches such as the fit draws, and `set`,
    over the training set as it is, every sample once.

    Args:
        features: (N, D) float; labels: (N,) int64.
        probes: steps to look at, evenly spread; all where the fit has fewer.

    Returns:
        Two records a probe: `seed`, `step` (t) and the fields of `compare`.
    """
    watch = _Probes(features, labels, settings, probes, seed)
    fit_flow_filter(features, labels, settings, seed, report, watch.observe)
    return watch.records


class _Probes:
    """Watches a fit. A copy of the flow is asked, so that the fit goes on as before."""

    def __init__(
        self,
        features: Features,
        labels: Tensor,
        settings: FilterSettings,
        probes: int,
        seed: int,
    ) -> None:
        self.features, self.labels, self.settings = features, labels, settings
        self.seed = seed
        # A fit's seed is below 2^31: its truth never sees the batches that it sees.
        self.generator = torch.Generator(features.device).manual_seed(seed + 2**31)
        self.draws = PairDraws(labels, self.generator)
        self.per_epoch = sum(1 for _ in self.draws.epoch(settings.batch_size))
        last = settings.epochs * self.per_epoch
        spread = np.linspace(1, last, min(probes, last)).round().astype(int)
        self.steps = frozenset(spread.tolist())
        self.before = torch.zeros(
            settings.num_clusters, dtype=features.dtype, device=features.device
        )
        self.records: list[Record] = []

    def observe(self, step: int, flow: FlowFilter, estimate: Tensor) -> None:
        """Told t, the flow and p~_t (K,) by the fit."""
        if step in self.steps:
            eta = self.settings.eta
            estimates = {
                "momentum": estimate.double() / (1 - eta**step),
                "batch": (estimate - eta * self.before).double() / (1 - eta),
            }
            truths = self._truths(copy.deepcopy(flow))
            errors = compare(estimates, *truths, phi(eta, 1) / phi(eta, step))
            about = {"seed": self.seed, "step": step}
            self.records += [about | error for error in errors]
        self.before = estimate

    def _truths(self, flow: FlowFilter) -> tuple[Tensor, Tensor]:
        """P(h | B) of fresh batches (M, K), and P(h | X) of the training set (K,)."""
        labels, size = self.labels, self.settings.batch_size
        pieces = torch.randperm(
            len(labels), generator=self.generator, device=labels.device
        ).tensor_split(self.per_epoch)
        drawn = [
            _share(flow, self.features[batch])
            for batch in islice(_batches(self.draws, size), TRUTH_BATCHES)
        ]
        total = sum(len(piece) * _share(flow, self.features[piece]) for piece in pieces)
        return torch.stack(drawn), total / len(self.features)


def _batches(draws: PairDraws, batch_size: int) -> Iterator[Tensor]:
    """Samples of x+ of one batch after another, without end."""
    epochs = chain.from_iterable(draws.epoch(batch_size) for _ in count())
    return (positive for positive, _, _ in epochs)


@torch.no_grad()
def _share(flow: FlowFilter, features: Tensor) -> Tensor:
    """P(h | B) of one batch, (B, D) -> (K,), in the mode that the flow is in."""
    return flow(features).log_posterior.exp().mean(0).double()


def compare(
    estimates: Mapping[str, Tensor], drawn: Tensor, whole: Tensor, ratio: float
) -> list[Record]:
    """Errors of estimates against both truths.

    Args:
        estimates: `momentum` and `batch`, each (K,).
        drawn: (M, K) P(h | B) of M fresh batches, M >= 2.
        whole: (K,) P(h | X) of the training set.
        ratio: phi(1) / phi(t).

    Returns:
        A record a truth. `truth`; for `momentum` and `batch`: `tv_` total variation
        distance to it, `mse_` mean over clusters of (estimate - truth)^2, less the
        truth's own variance; `batch_variance`, mean over clusters of the variance of
        P(h = k | B); `variance_eq4`, that times `ratio`; `squared_rest`, mse_momentum
        less variance_eq4; `gain`, mse_batch less mse_momentum; `closer`, whether that
        is above 0; `squared_bias`, mean over clusters of (E P(h = k | B) - truth)^2:
        for `drawn` what mse_batch leaves over of batch_variance. Squares are in units
        of (1/K)^2, the square of a uniform share.
    """
    square = len(whole) ** 2
    variance = square * drawn.var(0).mean().item()
    noise = variance / len(drawn)
    mean = drawn.mean(0)
    # Without its noise the squared gap would grow with the truth's own variance.
    bias = square * (mean - whole).square().mean().item() - noise
    records = []
    for name, truth, own in (("drawn", mean, noise), ("set", whole, 0.0)):
        record: Record = {"truth": name, "batch_variance": variance}
        for which, estimate in estimates.items():
            error = estimate - truth
            record[f"tv_{which}"] = 0.5 * error.abs().sum().item()
            record[f"mse_{which}"] = square * error.square().mean().item() - own
        record["variance_eq4"] = ratio * variance
        record["squared_rest"] = record["mse_momentum"] - record["variance_eq4"]
        record["gain"] = record["mse_batch"] - record["mse_momentum"]
        record["closer"] = float(record["mse_momentum"] < record["mse_batch"])
        left = record["mse_batch"] - variance
        record["squared_bias"] = bias if name == "set" else left
        records.append(record)
    return records


# --- Cells


def simulation_cells(simulated: Records) -> list[Cell]:
    """Variance ratio and bias of each eta and t; `printed` is what equations say."""
    units = {"ratio": "of the variance of P(h|B_t)"}
    units |= dict.fromkeys(("bias_corrected", "bias_uncorrected"), "of P(h=k|X)")
    return [
        Cell(
            section="estimator",
            benchmark=None,
            data="none needed",
            method="momentum",
            label=LABELS["momentum"],
            metric=metric,
            unit=unit,
            at=f"eta={record['eta']:g}, t={record['t']}",
            printed=record[metric]["equation"],
            **{end: record[metric][end] for end in _ENDS},
        )
        for record in simulated
        for metric, unit in units.items()
    ]


# What is said of a fit: method and metric, and their name in a probe's record.
_PROBED = {
    ("batch", "squared error"): "mse_batch",
    ("batch", "variance"): "batch_variance",
    ("batch", "squared bias"): "squared_bias",
    ("momentum", "squared error"): "mse_momentum",
    ("momentum", "variance by Eq. 4"): "variance_eq4",
    ("momentum", "rest"): "squared_rest",
    ("momentum", "closer"): "closer",
}


def fit_cells(probes: Records, basis: Basis) -> list[Cell]:
    """Errors of both estimates over a fit: means over probes, intervals over seeds."""
    cells = []
    for truth in TRUTHS:
        for (method, metric), name in _PROBED.items():
            row = {"method": method, "label": LABELS[method], "metric": metric}
            mean = fit_mean(probes, truth, name)
            if metric == "closer":
                row["unit"], mean = "fraction", mean.within(0.0, 1.0)
                late = fit_mean(late_probes(probes), truth, name).within(0.0, 1.0)
                where = f"X={truth}, {LATE}"
                cells.append(basis.cell(**row, at=where, **estimated(late)))
            else:
                row["unit"] = "(1/K)²"
            cells.append(basis.cell(**row, at=f"X={truth}", **estimated(mean)))
    return cells


def late_probes(probes: Records) -> list[Mapping[str, Any]]:
    """Those of the last quarter of the fit's steps."""
    last = max(probe["step"] for probe in probes)
    return [probe for probe in probes if probe["step"] > 0.75 * last]


def fit_mean(probes: Records, truth: str, name: str) -> Estimate:
    """Mean over seeds of the mean over probes; without end for one seed."""
    return over_seeds(list(_means(probes, truth, name).values()))


def _means(probes: Records, truth: str, name: str) -> dict[int, float]:
    """Seed -> mean over its probes."""
    watched = [probe for probe in probes if probe["truth"] == truth]
    means = {}
    for seed in sorted({probe["seed"] for probe in watched}):
        values = [probe[name] for probe in watched if probe["seed"] == seed]
        means[seed] = float(np.mean(values))
    return means


def fit_curves(probes: Records) -> list[Record]:
    """Total variation distances over a fit: their mean and range over seeds."""
    curves = []
    for truth in TRUTHS:
        watched = [probe for probe in probes if probe["truth"] == truth]
        steps = sorted({probe["step"] for probe in watched})
        for method in ("momentum", "batch"):
            curve: Record = {"truth": truth, "method": method, "steps": steps}
            values = np.array(
                [[p[f"tv_{method}"] for p in watched if p["step"] == t] for t in steps]
            )
            ends = {"mean": values.mean(1), "low": values.min(1), "high": values.max(1)}
            curves.append(curve | {name: end.tolist() for name, end in ends.items()})
    return curves


# --- Claims


def equality_claims(
    identity: Records, recursion: Records, simulated: Records
) -> list[Claim]:
    """Eq. 1 to 4, each by its worst case: the interval of its gap must contain 0."""
    rows = (
        (
            "Eq. 1: KL[P(h|X) || u(h)] = −Ent[P(h|X)] + log K",
            "largest gap over random P, sparse ones too, ± rounding in float64",
            _beyond_rounding(identity),
            "nats",
        ),
        (
            "Eq. 2: p̃_t = Σ_i (1 − η) η^(t−i) P(h|B_i)",
            "largest gap to the recursion that the fit uses, ± rounding in float64",
            _beyond_rounding(recursion),
            "",
        ),
        (
            "Eq. 3: p̃_t / (1 − η^t) is unbiased",
            "simulated: largest bias over η, t and clusters",
            _furthest([point["bias_corrected"] for point in simulated]),
            "of P(h=k|X)",
        ),
        (
            "Eq. 4: its variance is φ(1)/φ(t) times that of P(h|B)",
            "largest gap of the simulated ratio to φ(1)/φ(t) over η and t",
            _furthest([point["ratio"] for point in simulated]),
            "",
        ),
    )
    return [
        _claim(
            id=f"eq{n}",
            sentence=f"s2_eq{n}",
            statement=statement,
            test=test,
            interval=gap,
            verdict="supported" if gap[1] <= 0 <= gap[2] else "contradicted",
            unit=unit,
        )
        for n, (statement, test, gap, unit) in enumerate(rows, start=1)
    ]


def _beyond_rounding(records: Records) -> tuple[float, float, float]:
    """The error that is largest for its tolerance, and what rounding may do to it."""
    worst = max(records, key=lambda record: record["error"] / record["tolerance"])
    error, tolerance = worst["error"], worst["tolerance"]
    return error, error - tolerance, error + tolerance


def _furthest(points: Records) -> tuple[float, ...]:
    """Gap to the equation that reaches furthest in half-widths of its interval."""
    gaps = [tuple(point[end] - point["equation"] for end in _ENDS) for point in points]
    return max(gaps, key=lambda gap: abs(gap[0]) / (gap[2] - gap[1]))


def order_claims(simulated: Records, etas: Sequence[float], steps: int) -> list[Claim]:
    """What the supplement says is larger or better: claimed larger - claimed smaller.

    NaN where nothing was measured.

    Args:
        etas: momenta; the equation speaks of 0 < eta < 1.
        steps: t up to which phi is followed.
    """
    rises = [
        float(phi(Fraction(eta), t + 1) - phi(Fraction(eta), t))
        for eta in etas
        if eta > 0
        for t in range(1, steps)
    ]
    rise = min(rises, default=math.nan)
    later = [r["ratio"] for r in simulated if r["t"] > 1 and r["eta"] > 0]
    least = max(later, key=lambda ratio: ratio["high"], default=None)
    gain = [math.nan] * 3
    if least is not None:
        gain = [1 - least["mean"], 1 - least["high"], 1 - least["low"]]
    return [
        _claim(
            id="phi_rises",
            sentence="s2_phi",
            statement="φ(t) is monotonic increasing when 0 < η < 1",
            test=f"smallest φ(t + 1) − φ(t), t < {steps}, in exact fractions",
            interval=(rise, rise, rise),
            verdict=judge_claim(rise, rise),
        ),
        _claim(
            id="more_efficient",
            sentence="s2_efficient",
            statement="p̃_t / (1 − η^t) is more efficient than P(h|B_t)",
            test="1 − variance ratio where it is largest, t > 1, 0 < η < 1, simulated",
            interval=gain,
            verdict=judge_claim(*gain[1:]),
        ),
    ]


def fit_claims(probes: Records, basis: Basis) -> list[Claim]:
    """In a real fit: which estimate is closer, late too, and the premise of Eq. 3.

    Sect. 2 speaks of one X. What the fit draws from is judged; the training set as it
    is, which the fit never draws from, is another reading, and tests no sentence. The
    premise is about it alone: a batch is unbiased for what it is drawn from.
    """
    claims = []
    for truth, words in TRUTHS.items():
        new = partial(basis.claim, place="Sect. 2", reading=f"X: {words}")
        drawn = truth == "drawn"
        for name, some, where in (
            ("closer", probes, "over the whole fit"),
            ("closer_late", late_probes(probes), f"in the {LATE}"),
        ):
            gain = fit_mean(some, truth, "gain")
            claims.append(
                new(
                    id=f"{name}_{truth}",
                    sentence="s2_efficient" if drawn else None,
                    statement="In a real fit the momentum estimate is closer to P(h|X) "
                    "than P(h|B_t)",
                    test=f"{where}: mean squared error of P(h|B_t) minus that of "
                    "the momentum estimate",
                    verdict=judge_claim(gain.low, gain.high),
                    unit="(1/K)²",
                    **{end: getattr(gain, end) for end in _ENDS},
                )
            )
    squared, variance = (
        _means(probes, "set", name) for name in ("squared_bias", "batch_variance")
    )
    bias = over_seeds([squared[seed] / variance[seed] for seed in squared])
    premise = basis.claim(
        id="premise",
        sentence=None,
        place="Sect. 2",
        reading=f"X: {TRUTHS['set']}",
        statement="Premise of Eq. 3: P(h|B_t) is unbiased for P(h|X)",
        test="squared bias of P(h|B_t) as a share of its variance; "
        f"none where it is surely below {BIAS_MARGIN:g}",
        verdict=judge_absence(bias.low, bias.high, BIAS_MARGIN),
        unit="of a batch's variance",
        **{end: getattr(bias, end) for end in _ENDS},
    )
    return [*claims, premise]


def _claim(interval: Sequence[float], unit: str = "", **fields: Any) -> Claim:
    """A test of an equation, whatever the data."""
    free = {"section": "estimator", "place": "Sect. 2", "benchmark": None}
    free |= {"grade": "none needed"} | dict(zip(_ENDS, interval, strict=True))
    return Claim(unit=unit, **free, **fields)
