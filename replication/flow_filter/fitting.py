"""Fitting a Flow Filter to features, and reading clusters and likelihoods off it."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from replication.core.files import BadInput
from replication.core.settings import FilterSettings
from replication.core.state import read_state, write_state
from replication.flow_filter.flow import FlowFilter
from replication.flow_filter.losses import class_weights
from replication.flow_filter.objective import Objective, objective
from replication.samples.features import Features

PURE_ABOVE = 0.7
SIZE_ABOVE = 10
SIZE_BELOW = 5000
# Rows that the filter reads at once: few enough to stay in a processor's cache.
_READ_BATCH = 1024
_SAVE_EVERY = 60  # seconds: what a killed fit loses at most, beside an epoch

Report = Callable[[int, int, Mapping[str, float]], None]
Observe = Callable[[int, FlowFilter, Tensor], None]


@dataclass(frozen=True)
class Reading:
    """What a fitted filter says of samples: log P(x) (N,), most likely cluster (N,)."""

    log_likelihood: Tensor
    cluster: Tensor


@dataclass(frozen=True)
class Fitted:
    """A fitted filter, the epoch that it is of (from 1) and metrics of every epoch."""

    flow: FlowFilter
    epoch: int
    history: list[dict[str, float]]


FilterEpoch = Literal["last", "purest"]


@dataclass(frozen=True)
class Trained:
    """One training of a filter, kept twice: one and the same where the epochs agree.

    Fields: `last`: after its last epoch; `purest`: the epoch that the released code
    keeps.
    """

    last: Fitted
    purest: Fitted

    def at(self, epoch: FilterEpoch) -> Fitted:
        """The filter as it was at an epoch."""
        return self.last if epoch == "last" else self.purest


class PairDraws:
    """Draws pairs of samples of two different classes, both classes uniform.

    The draws of L_pure and L_MLE: two classes uniformly without replacement, then a
    sample of each uniformly. N pairs are an epoch, cut into
    ceil(N / B) batches whose sizes differ by at most one (a remainder of a few samples
    would make a batch-norm of a few samples), never a batch of one. The generator is
    on the labels' device.
    """

    def __init__(self, labels: Tensor, generator: torch.Generator) -> None:
        self._order = labels.argsort(stable=True)
        self.classes, self.counts = labels.unique(return_counts=True)
        if len(self.classes) < 2:
            raise BadInput(
                "filter: expected samples of at least 2 classes to draw pairs from, "
                f"got {len(self.classes)}; have fewer filters (cascade.depth), or let "
                "fewer samples leave at each (cascade.leaving_share)"
            )
        self._first = self.counts.cumsum(0) - self.counts
        self.generator = generator

    def epoch(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (sample of x+, sample of x-, position of x+'s class in `classes`)."""
        total = len(self._order)
        steps = max(1, min(-(-total // batch_size), total // 2))
        sizes = [total // steps + (step < total % steps) for step in range(steps)]
        for size in sizes:
            positive = self._uniform(len(self.classes), size)
            other = self._uniform(len(self.classes) - 1, size) + 1
            negative = (positive + other) % len(self.classes)
            yield self._sample(positive), self._sample(negative), positive

    def _uniform(self, below: int, size: int) -> Tensor:
        return torch.randint(
            below, (size,), generator=self.generator, device=self._order.device
        )

    def _sample(self, position: Tensor) -> Tensor:
        where = torch.rand(
            len(position), generator=self.generator, device=self._order.device
        )
        within = (where * self.counts[position]).long()
        within = torch.minimum(within, self.counts[position] - 1)
        return self._order[self._first[position] + within]


def fit_flow_filter(
    features: Features,
    labels: Tensor,
    settings: FilterSettings,
    seed: int,
    report: Report | None = None,
    observe: Observe | None = None,
    rows: Tensor | None = None,
    resume: Path | None = None,
) -> Trained:
    """Fit a filter; keep its last epoch, and that of most clusters pure and not tiny.

    Implements: Sect. 2, 5: lambda_mle L_MLE + lambda_bal L_bal + lambda_pure L_pure,
    SGD without momentum. The purest epoch is the released code's: most clusters of
    purity > 0.7 and size > 10 on the training samples, the first of equals, among
    epochs whose largest cluster has fewer than 5000; the last where none qualifies.

    Args:
        features: (N, D), on the device to fit on or streamed to it; labels: (N,).
        seed: of weights, centres and draws.
        report: told (epoch from 0, epochs, metrics).
        observe: told (t from 1, flow, p~_t (K,)) between the forward pass and the step
            of every t, so that the flow is still the one that gave P(h | B_t). It must
            leave the flow as it is, batch-norm's running statistics included.
        rows: (n,) int64, the samples to fit to; None for all. None is copied.
        resume: file of this fit's state. A fit that was killed goes on from there, as
            if it had not been.

    Raises:
        BadInput: fewer than two classes, or the loss is not finite (epoch named).
    """
    device, generator = features.device, torch.Generator().manual_seed(seed)
    dimensions, clusters = features.shape[1], settings.num_clusters
    flow = FlowFilter(dimensions, clusters, settings.sigma, generator)
    flow.to(device, features.dtype)
    if rows is None:
        rows = torch.arange(len(features), device=device)
    labels = labels[rows]
    draws = PairDraws(labels, torch.Generator(device).manual_seed(seed))
    descent = _Descent(flow, features, rows, draws, settings, observe)
    purest, history, saved = _Purest(), [], time.monotonic()
    if resume is not None and resume.is_file():
        state = read_state(resume)
        history = state["history"]
        descent.go_on(state["descent"])
        purest.go_on(state["purest"], flow)
    for epoch in range(len(history), settings.epochs):
        metrics = _epoch_losses(descent.epoch(), epoch)
        reading = read_clusters(flow, features, rows)
        metrics |= _read_metrics(reading, labels, clusters, epoch)
        history.append(metrics)
        purest.look(flow, epoch + 1, metrics)
        if report is not None:
            report(epoch, settings.epochs, metrics)
        due = epoch + 1 == settings.epochs or time.monotonic() - saved > _SAVE_EVERY
        if resume is not None and due:
            state = {"descent": descent.state(), "purest": purest.state()}
            write_state(resume, state | {"history": history})
            saved = time.monotonic()
    last = Fitted(flow.eval(), settings.epochs, history)
    if purest.flow is None or purest.epoch == settings.epochs:
        return Trained(last, last)
    return Trained(last, Fitted(purest.flow.eval(), purest.epoch, history))


@dataclass
class _Purest:
    """The filter as it was at the epoch that the released code keeps, if there is one.

    A copy over an older one, so that two filters at most are in memory.
    """

    flow: FlowFilter | None = None
    epoch: int = 0
    clusters: int = -1

    def look(self, flow: FlowFilter, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep this epoch where it has more pure clusters, and none too large."""
        pure = int(metrics["pure_clusters"])
        if pure <= self.clusters or metrics["largest"] >= SIZE_BELOW:
            return
        self.clusters, self.epoch = pure, epoch
        if self.flow is None:
            self.flow = copy.deepcopy(flow)
        else:
            self.flow.load_state_dict(flow.state_dict())

    def state(self) -> dict[str, Any]:
        """What `go_on` needs."""
        flow = None if self.flow is None else self.flow.state_dict()
        return {"flow": flow, "epoch": self.epoch, "clusters": self.clusters}

    def go_on(self, state: Mapping[str, Any], like: FlowFilter) -> None:
        """Be as it was when it gave `state`; `like`: a filter of the same shape."""
        self.epoch, self.clusters = state["epoch"], state["clusters"]
        if state["flow"] is not None:
            self.flow = copy.deepcopy(like)
            self.flow.load_state_dict(state["flow"])


class _Descent:
    """Steps of SGD on the objective: t and p~_t go on from one epoch to the next."""

    def __init__(
        self,
        flow: FlowFilter,
        features: Features,
        rows: Tensor,
        draws: PairDraws,
        settings: FilterSettings,
        observe: Observe | None,
    ) -> None:
        self._flow, self._features, self._rows = flow, features, rows
        self._draws, self._settings, self._observe = draws, settings, observe
        weights = class_weights(draws.counts, settings.weight_exponent)
        self._weights = weights.to(features.dtype)
        self._step = 0
        self._share = torch.zeros(
            settings.num_clusters, dtype=features.dtype, device=features.device
        )

    def epoch(self) -> Tensor:
        """As many pairs as there are samples; the three losses of each step (T, 3)."""
        self._flow.train()
        losses: list[Tensor] = []
        for positive, negative, position in self._draws.epoch(
            self._settings.batch_size
        ):
            pairs = positive
            # Each passes the flow as a batch of its own, x- only where L_pure counts.
            if self._settings.lambda_pure > 0:
                pairs = torch.cat([positive, negative])
            self._step += 1
            at = descend(
                self._flow,
                self._features.index_select(0, self._rows[pairs]),
                self._weights[position],
                self._share,
                self._step,
                self._settings,
                self._observe,
            )
            self._share = at.share
            losses.append(at.terms)
        return torch.stack(losses)

    def state(self) -> dict[str, Any]:
        """What `go_on` needs, at the end of an epoch."""
        return {
            "flow": self._flow.state_dict(),
            "step": self._step,
            "share": self._share,
            "generator": self._draws.generator.get_state(),
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Be as it was when it gave `state`."""
        self._flow.load_state_dict(state["flow"])
        self._step, self._share = state["step"], state["share"].to(self._share.device)
        self._draws.generator.set_state(state["generator"])


def descend(
    flow: FlowFilter,
    x: Tensor,
    weights: Tensor,
    share: Tensor,
    step: int,
    settings: FilterSettings,
    observe: Observe | None = None,
) -> Objective:
    """A step of SGD on a batch of pairs; the objective before it.

    Args:
        x: (2 B, D) x+, then x- of other classes row by row; or x+ alone, where L_pure
            does not count.
        weights, share, step: as `objective`; observe: as `fit_flow_filter`.
    """
    z, log_det, passed = flow.transform(x, len(x) // len(weights))
    at = objective(flow.base, z, log_det, weights, share, step, settings)
    if observe is not None:
        observe(step, flow, at.share)
    flow.descend(passed, at.grad, at.grad_log_det, settings.lr)
    return at


def _read_metrics(
    reading: Reading, labels: Tensor, num_clusters: int, epoch: int
) -> dict[str, float]:
    """Cluster quality and mean log P(x) after an epoch, which must be finite."""
    if not reading.log_likelihood.isfinite().all():
        raise BadInput(
            f"filter: the log-likelihood is not finite after epoch {epoch + 1}; "
            "a smaller filter.lr may help"
        )
    quality = cluster_quality(reading.cluster, labels, num_clusters)
    return quality | {"log_likelihood": reading.log_likelihood.mean().item()}


def _epoch_losses(terms: Tensor, epoch: int) -> dict[str, float]:
    """Mean of each loss over the steps of an epoch (steps, 3), which must be finite."""
    names = ("loss_mle", "loss_bal", "loss_pure")
    finite = terms.isfinite().all(1)
    if not finite.all():
        step = int(finite.int().argmin())
        values = dict(zip(names, terms[step].tolist(), strict=True))
        raise BadInput(
            f"filter: the loss is not finite in epoch {epoch + 1}, step {step + 1} "
            f"({values}); a smaller filter.lr may help"
        )
    return dict(zip(names, terms.mean(0).tolist(), strict=True))


def read_clusters(
    flow: FlowFilter, features: Features, rows: Tensor | None = None
) -> Reading:
    """log P(x) and the most likely cluster of samples: of some rows (n,), or of all.

    Features are not copied.
    """
    flow.eval()
    number = len(features) if rows is None else len(rows)
    log_likelihood = features.new_empty(number)
    cluster = torch.empty(number, dtype=torch.long, device=features.device)
    for start in range(0, number, _READ_BATCH):
        some = slice(start, start + _READ_BATCH)
        x = features[some if rows is None else rows[some]]
        log_likelihood[some], cluster[some] = flow.most_likely(x)
    return Reading(log_likelihood, cluster)


def latents(flow: FlowFilter, features: Features, rows: Tensor | None = None) -> Tensor:
    """Latents z (n, D) of some rows, or of all, without a copy of their features."""
    flow.eval()
    if rows is None:
        rows = torch.arange(len(features), device=features.device)
    z = features.new_empty(len(rows), features.shape[1])
    for start in range(0, len(rows), _READ_BATCH):
        some = rows[start : start + _READ_BATCH]
        z[start : start + len(some)] = flow.transform(features[some])[0]
    return z


def class_table(
    cluster: Tensor, labels: Tensor, num_clusters: int, num_classes: int
) -> Tensor:
    """Count the samples of each class in each cluster, (N,) and (N,) -> (K, C)."""
    cell = cluster * num_classes + labels
    counts = cell.bincount(minlength=num_clusters * num_classes)
    return counts.view(num_clusters, num_classes)


def cluster_quality(
    cluster: Tensor, labels: Tensor, num_clusters: int
) -> dict[str, float]:
    """Pure clusters (> 0.7, size > 10), empty ones, the largest one's samples, purity.

    Purity: share of samples that are of their cluster's most frequent class.
    """
    table = class_table(cluster, labels, num_clusters, int(labels.max()) + 1)
    size, top = table.sum(1), table.max(1).values
    pure = (top > PURE_ABOVE * size) & (size > SIZE_ABOVE)
    return {
        "pure_clusters": int(pure.sum()),
        "empty_clusters": int((size == 0).sum()),
        "largest": int(size.max()),
        "purity": (top.sum() / len(labels)).item(),
    }
