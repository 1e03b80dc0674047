"""Sect. 2: Eq. 1 exactly, Eq. 2 to 4 by simulation, and where their premise ends.

The simulation draws batches from a population of posteriors that stands still, as Eq. 3
and 4 suppose. A real filter trains: P(h | X) moves from step to step, and its batches
are drawn class-uniform from long-tailed data. The probes measure both.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
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
from replication.flow_filter.losses import balance_loss, momentum_estimate
from replication.samples.features import Features
from replication.statistics import intervals

LEVEL = 0.95
POPULATION = 2000
# Their mean has 1/32 of one batch's variance; the momentum estimate, in the limit of
# large t and with eta = 0.7, has 3/17 of it.
TRUTH_BATCHES = 32
_SCALES = (0.1, 1.0, 10.0, 100.0)
_SHARES = 1000
_EPSILON = float(np.finfo(np.float64).eps)
# What rounding leaves of a difference that is exactly 0, as all are at t = 1.
_ROUNDING = 1e-12
_ENDS = ("", "_low", "_high")

Record = dict[str, Any]


# --- Eq. 1


def entropy(share: Tensor) -> Tensor:
    """Ent[p] = -sum_k p_k log p_k, with 0 log 0 = 0.

    Args:
        share: (..., K), summing to 1.

    Returns:
        (...) nats.
    """
    return -torch.xlogy(share, share).sum(-1)


def kl_to_uniform(share: Tensor) -> Tensor:
    """KL[p || u] = sum_k p_k log(p_k / u_k), as it is defined.

    Implements: Eq. 1, first line.

    Args:
        share: (..., K), summing to 1.

    Returns:
        (...) nats.
    """
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
    kept = torch.rand(number, clusters, generator=generator) < 0.5
    kept[:, 0] = True
    kept[: number // 2] = True
    shares = shares * kept
    corners = torch.eye(clusters, dtype=torch.float64)
    return torch.cat([shares / shares.sum(1, keepdim=True), corners])


def identity_errors(
    clusters: Sequence[int], generator: torch.Generator
) -> list[Record]:
    """How far the two sides of Eq. 1 lie apart, at most, in float64.

    Implements: Eq. 1: KL[p || u] = log K - Ent[p].

    Args:
        clusters: the K to try.

    Returns:
        A record a K: `clusters`; `shares` tried; `error`; `tolerance`, what rounding of
        K terms explains; `loss_error`, of the loss that the fit uses.
    """
    records = []
    for size in clusters:
        shares = random_shares(_SHARES, size, generator)
        direct = kl_to_uniform(shares)
        loss = torch.stack([balance_loss(share) for share in shares])
        records.append(
            {
                "clusters": size,
                "shares": len(shares),
                "error": (direct - math.log(size) + entropy(shares)).abs().max().item(),
                "tolerance": _EPSILON * size * (1 + math.log(size)),
                "loss_error": (direct - loss).abs().max().item(),
            }
        )
    return records


# --- Eq. 2 to 4


def closed_form(shares: Tensor, eta: float) -> Tensor:
    """p~_t of a sequence of batches.

    Implements: Eq. 2: sum_i (1 - eta) eta^(t - i) P(h | B_i).

    Args:
        shares: (t, K) P(h | B_i).

    Returns:
        (K,).
    """
    age = torch.arange(len(shares) - 1, -1, -1, dtype=shares.dtype)
    return (1 - eta) * (torch.full_like(age, eta) ** age) @ shares


def recursion_errors(
    etas: Sequence[float], steps: int, clusters: int, generator: torch.Generator
) -> list[Record]:
    """How far Eq. 2 and the recursion that the fit uses lie apart, in float64.

    Implements: Eq. 2.

    Returns:
        A record an eta: `eta`, `steps`, `error` over all t up to `steps`, `tolerance`.
    """
    shares = random_shares(steps, clusters, generator)[:steps]
    records = []
    for eta in etas:
        running, error = torch.zeros_like(shares[0]), 0.0
        for t in range(1, steps + 1):
            running = momentum_estimate(running, shares[t - 1], eta, t)[1]
            gap = (running - closed_form(shares[:t], eta)).abs().max().item()
            error = max(error, gap)
        tolerance = 4 * steps * _EPSILON
        record = {"eta": eta, "steps": steps, "error": error, "tolerance": tolerance}
        records.append(record)
    return records


def phi(eta: Any, step: int) -> Any:
    """phi(t) = (1 - eta^t) / (1 + eta^t), exact where eta is a Fraction.

    Implements: Eq. 4.
    """
    return (1 - eta**step) / (1 + eta**step)


def population(size: int, clusters: int, generator: torch.Generator) -> Tensor:
    """A fixed population of posteriors P(h | x), some sure and some not.

    Implements: not in the paper, whose Eq. 3 and 4 hold for any population.

    Returns:
        (N, K) float64, rows summing to 1; clusters have unequal shares.
    """
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
        etas: each 0 <= eta < 1.
        steps: the t that are looked at, from 1.
        batch_size: B.
        draws: R repetitions, >= 2.

    Returns:
        A record for each eta and t. `ratio`: D of the corrected estimate over D of
        P(h | B_t), with its standard error `ratio_error`, `ratio_low`, `ratio_high`;
        `ratio_eq4`; `z` of the gap. `bias_corrected` and `bias_uncorrected`, each with
        `_low` and `_high`: relative to P(h = k | X), of the cluster whose bias lies
        furthest from 0 in standard errors; `bias_eq3` (-eta^t) is what Eq. 2 gives the
        uncorrected. All intervals are simultaneous over etas and steps, those of the
        bias over clusters too.
    """
    truth = posteriors.mean(0)
    wanted, cells = set(steps), len(etas) * len(set(steps))
    reach = _quantile(cells, draws)
    bias_reach = _quantile(cells * len(truth), draws)
    running = {eta: posteriors.new_zeros(draws, len(truth)) for eta in etas}
    records = []
    for t in range(1, max(steps) + 1):
        batch = torch.randint(
            len(posteriors), (draws, batch_size), generator=generator
        ).to(posteriors.device)
        shares = F.embedding_bag(batch, posteriors, mode="mean")
        for eta in etas:
            corrected, running[eta] = momentum_estimate(running[eta], shares, eta, t)
            if t in wanted:
                record = {"eta": eta, "t": t}
                record |= _variance_ratio(corrected, shares, phi(eta, 1) / phi(eta, t))
                half = max(reach * record["ratio_error"], _ROUNDING)
                record["ratio_low"] = record["ratio"] - half
                record["ratio_high"] = record["ratio"] + half
                record |= _furthest_bias(corrected, truth, bias_reach, "bias_corrected")
                record |= _furthest_bias(
                    running[eta], truth, bias_reach, "bias_uncorrected"
                )
                records.append(record | {"bias_eq3": -(eta**t)})
    return sorted(records, key=lambda record: (record["eta"], record["t"]))


def _quantile(tests: int, draws: int) -> float:
    """Reach of a two-sided interval in standard errors, Bonferroni over tests."""
    return float(stats.t.ppf(1 - (1 - LEVEL) / (2 * tests), draws - 1))


def _variance_ratio(estimate: Tensor, shares: Tensor, expected: float) -> Record:
    """D[estimate] / D[share] over draws (R, K), by the delta method.

    Both come from the same draws, so that at t = 1 the ratio is 1 without error.
    """
    mine = (estimate - estimate.mean(0)).square().sum(1)
    batch = (shares - shares.mean(0)).square().sum(1)
    ratio = mine.mean() / batch.mean()
    influence = (mine - ratio * batch) / batch.mean()
    error = influence.std().item() / len(shares) ** 0.5
    gap = ratio.item() - expected
    return {
        "ratio": ratio.item(),
        "ratio_error": error,
        "ratio_eq4": expected,
        "z": 0.0 if abs(gap) <= _ROUNDING else gap / max(error, _ROUNDING),
    }


def _furthest_bias(estimate: Tensor, truth: Tensor, reach: float, name: str) -> Record:
    """Relative bias of the cluster with the largest |bias| in standard errors.

    Its interval contains 0 exactly where those of all clusters do.
    """
    bias = estimate.mean(0) / truth - 1
    error = estimate.std(0) / truth / len(estimate) ** 0.5
    worst = int((bias.abs() / error.clamp_min(_ROUNDING)).argmax())
    half = max(reach * error[worst].item(), _ROUNDING)
    value = bias[worst].item()
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


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

    Implements: not in the paper: Eq. 3 and 4 suppose that P(h | X) stands still and
    that P(h | B_t) is unbiased for it.

    The truth is that of the parameters which gave P(h | B_t), with batch-norm in train
    mode: a posterior then depends on the batch it is in, and P(h | B_t) estimates
    the mean posterior of samples in batches normalised by themselves; running
    statistics lag behind the parameters and would give it a bias of their own. Two
    truths: `drawn`, over class-uniform batches such as the fit draws (the expectation
    of P(h | B_t), from TRUTH_BATCHES fresh ones), and `set`, over the training set as
    it is, every sample once. A copy of the flow is asked, so that the fit goes on as it
    would have.

    Args:
        features: (N, D) float, on the device to fit on or streamed to it.
        labels: (N,) int64, there too.
        probes: steps to look at, evenly spread; all where the fit has fewer.
        report: as of `fit_flow_filter`.

    Returns:
        Two records a probe. `seed`, `step` (t), `epoch` (from 0, a fraction), `truth`;
        for `momentum` and `batch`: `tv_` total variation distance to the truth, `mse_`
        mean over clusters of (estimate - truth)^2, less the truth's own variance;
        `kl_momentum` (the L_bal used), `kl_batch`, `kl_truth`, nats; `batch_variance`,
        mean over clusters of the variance of P(h = k | B); `variance_eq4`, that times
        phi(1) / phi(t); `squared_rest`, mse_momentum less variance_eq4;
        `squared_bias`, mean over clusters of (E P(h = k | B) - truth)^2, NaN for
        `drawn`. Squares are in units of (1/K)^2, the square of a uniform share.
    """
    # A fit's seed is below 2^31: its truth never sees the batches that it sees.
    generator = torch.Generator(features.device).manual_seed(seed + 2**31)
    draws = PairDraws(labels, generator)
    per_epoch = sum(1 for _ in draws.epoch(settings.batch_size))
    chosen = probe_steps(settings.epochs * per_epoch, probes)
    before = torch.zeros(
        settings.num_clusters, dtype=features.dtype, device=features.device
    )
    records: list[Record] = []

    def observe(step: int, flow: FlowFilter, running: Tensor) -> None:
        nonlocal before
        if step in chosen:
            twin = copy.deepcopy(flow)
            pieces = torch.randperm(
                len(labels), generator=generator, device=labels.device
            ).tensor_split(per_epoch)
            drawn = islice(_batches(draws, settings.batch_size), TRUTH_BATCHES)
            estimates = {
                "momentum": running.double() / (1 - settings.eta**step),
                "batch": (running - settings.eta * before).double()
                / (1 - settings.eta),
            }
            about = {
                "seed": seed,
                "step": step,
                "epoch": (step - 1) / per_epoch,
            }
            truths = (
                torch.stack([_share(twin, features[batch]) for batch in drawn]),
                _whole(twin, features, pieces),
            )
            ratio = phi(settings.eta, 1) / phi(settings.eta, step)
            records.extend(about | one for one in compare(estimates, *truths, ratio))
        before = running

    fit_flow_filter(features, labels, settings, seed, report, observe)
    return records


def probe_steps(steps: int, probes: int) -> frozenset[int]:
    """Steps from the first to the last, evenly spread."""
    spread = np.linspace(1, steps, min(probes, steps)).round().astype(int)
    return frozenset(spread.tolist())


def _batches(draws: PairDraws, batch_size: int) -> Iterator[Tensor]:
    """Samples of x+ of one batch after another, without end."""
    epochs = chain.from_iterable(draws.epoch(batch_size) for _ in count())
    return (positive for positive, _, _ in epochs)


@torch.no_grad()
def _share(flow: FlowFilter, features: Tensor) -> Tensor:
    """P(h | B) of one batch, (B, D) -> (K,), in the mode that the flow is in."""
    return flow(features).log_posterior.exp().mean(0).double()


def _whole(flow: FlowFilter, features: Features, pieces: Sequence[Tensor]) -> Tensor:
    """Mean posterior (K,) over batches that part the samples."""
    total = sum(len(piece) * _share(flow, features[piece]) for piece in pieces)
    return total / len(features)


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
        Two records, fields as in `probe_fit`.
    """
    square = len(whole) ** 2
    variance = square * drawn.var(0).mean().item()
    noise = variance / len(drawn)
    mean = drawn.mean(0)
    # Without its noise the squared gap would grow with the truth's own variance.
    gap = square * (mean - whole).square().mean().item() - noise
    records = []
    for name, truth, own, bias in (
        ("drawn", mean, noise, math.nan),
        ("set", whole, 0.0, gap),
    ):
        record: Record = {"truth": name, "kl_truth": balance_loss(truth).item()}
        for which, estimate in estimates.items():
            error = estimate - truth
            record[f"tv_{which}"] = 0.5 * error.abs().sum().item()
            record[f"mse_{which}"] = square * error.square().mean().item() - own
            record[f"kl_{which}"] = balance_loss(estimate).item()
        record |= {"batch_variance": variance, "variance_eq4": ratio * variance}
        record["squared_rest"] = record["mse_momentum"] - record["variance_eq4"]
        records.append(record | {"squared_bias": bias})
    return records


# --- Claims


def judge_equality(low: float, high: float) -> str:
    """Whether an equation holds: the interval of what it leaves over contains 0."""
    return "supported" if low <= 0 <= high else "contradicted"


def equality_claims(
    identity: Sequence[Mapping[str, Any]],
    recursion: Sequence[Mapping[str, Any]],
    simulation: Sequence[Mapping[str, Any]],
) -> list[Record]:
    """Eq. 1 to 4, each by its worst case: the interval of its gap must contain 0.

    Returns:
        Records {sentence, test, estimate, low, high}: of the gap.
    """
    return [
        _exact(
            "Eq. 1: KL[P(h|X) || u(h)] = −Ent[P(h|X)] + log K",
            "largest gap over random P, sparse ones too, ± rounding in float64, nats",
            identity,
        ),
        _exact(
            "Eq. 2: p̃_t = Σ_i (1 − η) η^(t−i) P(h|B_i)",
            "largest gap to the recursion that the fit uses, ± rounding in float64",
            recursion,
        ),
        _worst(
            "Eq. 3: p̃_t / (1 − η^t) is unbiased",
            "largest bias over η, t and clusters, relative to P(h = k|X)",
            [tuple(one[f"bias_corrected{end}"] for end in _ENDS) for one in simulation],
        ),
        _worst(
            "Eq. 4: its variance is φ(1)/φ(t) times that of P(h|B)",
            "largest gap of the simulated ratio to φ(1)/φ(t) over η and t",
            [
                tuple(one[f"ratio{end}"] - one["ratio_eq4"] for end in _ENDS)
                for one in simulation
            ],
        ),
    ]


def _exact(sentence: str, test: str, records: Sequence[Mapping[str, Any]]) -> Record:
    worst = max(records, key=lambda record: record["error"] / record["tolerance"])
    error, tolerance = worst["error"], worst["tolerance"]
    ends = error - tolerance, error + tolerance
    return _claim(sentence, test, error, *ends, data_free=True)


def _worst(
    sentence: str, test: str, gaps: Sequence[tuple[float, float, float]]
) -> Record:
    """Gap (value, low, high) that reaches furthest in half-widths of its interval."""
    worst = max(gaps, key=lambda gap: abs(gap[0]) / (gap[2] - gap[1]))
    return _claim(sentence, test, *worst, data_free=True)


def order_claims(
    simulation: Sequence[Mapping[str, Any]],
    etas: Sequence[float],
    steps: int,
    probes: Sequence[Mapping[str, Any]],
) -> list[Record]:
    """What the supplement says is larger, better or closer: the gap must be above 0.

    Args:
        simulation: records of `simulate`.
        etas: momenta; the equation speaks of 0 < eta < 1.
        steps: t up to which phi is followed.
        probes: records of `probe_fit`, of every seed.

    Returns:
        Records {sentence, test, estimate, low, high}: of (claimed larger - claimed
        smaller); NaN where nothing was measured.
    """
    rises = [
        float(phi(Fraction(eta), t + 1) - phi(Fraction(eta), t))
        for eta in etas
        if eta > 0
        for t in range(1, steps)
    ]
    rise = min(rises, default=math.nan)
    later = [record for record in simulation if record["t"] > 1 and record["eta"] > 0]
    last = max(later, key=lambda record: record["ratio_high"], default=None)
    gain = [1 - last[f"ratio{end}"] for end in ("", "_high", "_low")] if last else []
    claims = [
        _claim(
            "φ(t) is monotonic increasing when 0 < η < 1",
            f"smallest φ(t + 1) − φ(t), t < {steps}, in exact fractions",
            rise,
            rise,
            rise,
            data_free=True,
        ),
        _claim(
            "p̃_t / (1 − η^t) is more efficient than P(h|B_t)",
            "1 − variance ratio where it is largest, t > 1, 0 < η < 1, simulated",
            *(gain or [math.nan] * 3),
            data_free=True,
        ),
    ]
    for truth, words in (
        ("drawn", "of samples as the fit draws them"),
        ("set", "of the training set as it is"),
    ):
        mine = [record for record in probes if record["truth"] == truth]
        claims.append(
            _claim(
                "In a real fit the momentum estimate is closer to P(h|X) than P(h|B_t)",
                f"X {words}: mean squared error of P(h|B_t) − of the momentum "
                "estimate, in (1/K)²",
                *over_seeds(mine, lambda one: one["mse_batch"] - one["mse_momentum"]),
            )
        )
    return claims


def premise_claim(probes: Sequence[Mapping[str, Any]]) -> Record:
    """Whether a real fit's P(h | B_t) is unbiased for the training set's P(h | X).

    Implements: the premise of Eq. 3.

    Returns:
        A record {sentence, test, estimate, low, high}: of the squared bias, which is 0
        where it is unbiased.
    """
    mine = [record for record in probes if record["truth"] == "set"]
    return _claim(
        "Premise of Eq. 3: P(h|B_t) is unbiased for P(h|X)",
        "X of the training set as it is, during a real fit: squared bias of P(h|B_t), "
        "mean over clusters, in (1/K)²",
        *over_seeds(mine, lambda one: one["squared_bias"]),
    )


def over_seeds(
    probes: Sequence[Mapping[str, Any]], value: Any
) -> tuple[float, float, float]:
    """Mean over seeds of the mean over probes, with its 95 % t interval.

    Args:
        probes: records of one truth.
        value: of a record.

    Returns:
        Mean, low, high; without end for one seed, NaN for none.
    """
    seeds = sorted({record["seed"] for record in probes})
    found = intervals.over_seeds(
        [
            float(
                np.mean([value(record) for record in probes if record["seed"] == seed])
            )
            for seed in seeds
        ],
        LEVEL,
    )
    return found.mean, found.low, found.high


def _claim(
    sentence: str,
    test: str,
    estimate: float,
    low: float,
    high: float,
    data_free: bool = False,
) -> Record:
    """A test's record; `data_free` where it is of the equation, whatever the data."""
    return {
        "sentence": sentence,
        "test": test,
        "estimate": estimate,
        "low": low,
        "high": high,
        "data_free": data_free,
    }
