"""Fitting linear heads: the Balanced Softmax baseline, the cascade's classifiers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.descent import momentum_step, sgd_step
from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    TableTerm,
    Term,
    log_prior,
    predict,
)
from replication.core.files import BadInput
from replication.core.settings import ClassifierSettings, HeadSettings
from replication.samples.features import Features

Report = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Watched:
    """Samples by which an epoch is chosen: their inputs and labels (n,)."""

    inputs: list[Rows]
    labels: Tensor


@dataclass(frozen=True)
class FittedHead:
    """Fitted terms, and the epoch that they are of, from 1.

    Fields: `looks`: epoch -> share of the watched samples that were right.
    """

    terms: list[AnyTerm]
    epoch: int
    looks: dict[int, float]


@dataclass(frozen=True)
class Problem:
    """A classifier of the cascade that is to be fitted.

    Fields: `terms` where it starts from, fitted in place; `inputs` of the training
    samples, a `Rows` for each term; `labels` (n,); `counts` (C,) samples of each class
    for the prior; `watched` samples that choose the epoch; `seed` of the order of the
    samples.
    """

    terms: list[AnyTerm]
    inputs: list[Rows]
    labels: Tensor
    counts: Tensor
    watched: Watched | None
    seed: int


def fit_balanced_softmax_heads(
    features: Features,
    labels: Tensor,
    start: Term,
    counts: Tensor,
    settings: HeadSettings,
    seeds: Sequence[int],
    report: Report | None = None,
) -> list[Term]:
    """Refit a linear head on frozen features with Balanced Softmax, once for each seed.

    Implements: Table 1's rows `+ BalSoftmax`; SGD with momentum, cosine to 0 per epoch.
    The start is not changed; `report` counts the epochs of all seeds.

    Raises:
        BadInput: the loss is not finite.
    """
    prior = log_prior(counts).to(start.weight)

    def fit(number: int, seed: int) -> Term:
        def tell(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            if report is not None:
                report(number * epochs + epoch, len(seeds) * epochs, metrics)

        return _fit_head(features, labels, start, prior, settings, seed, tell)

    return [fit(number, seed) for number, seed in enumerate(seeds)]


def fit_softmax_head(
    features: Features, labels: Tensor, start: Term, settings: HeadSettings, seed: int
) -> Term:
    """Fit a linear head on frozen features with plain cross-entropy.

    It is the head that LWS rescales, where features come without one.
    """
    prior = start.weight.new_zeros(len(start.weight))
    return _fit_head(features, labels, start, prior, settings, seed)


def _fit_head(
    features: Features,
    labels: Tensor,
    start: Term,
    prior: Tensor,
    settings: HeadSettings,
    seed: int,
    report: Report | None = None,
) -> Term:
    term, buffer = start.clone(), start.zeros()
    generator = torch.Generator(labels.device).manual_seed(seed)
    for epoch in range(settings.epochs):
        lr = 0.5 * settings.lr * (1 + math.cos(math.pi * epoch / settings.epochs))
        total = prior.new_zeros(())
        for samples in batches(labels, settings.batch_size, generator):
            total += momentum_step(
                term,
                buffer,
                features.index_select(0, samples),
                labels[samples],
                prior,
                lr,
                settings.momentum,
                settings.weight_decay,
            )
        _check_finite(total, "head", epoch)
        if report is not None:
            report(epoch, settings.epochs, {"lr": lr})
    return term


def fit_classifier(problem: Problem, settings: ClassifierSettings) -> FittedHead:
    """Fit a classifier of the cascade with Balanced Softmax, plain SGD.

    Implements: Sect. 5 and the released configuration: batch 128, 150 epochs, no
    momentum, no schedule. Where samples are watched, every few epochs are looked at and
    the first best one is kept; otherwise the last epoch stands.

    Raises:
        BadInput: the loss is not finite.
    """
    terms, labels = problem.terms, problem.labels
    if len(labels) == 0:
        return FittedHead(terms, 0, {})
    prior = log_prior(problem.counts).to(terms[0].fitted)
    watched = problem.watched
    if watched is not None and len(watched.labels) == 0:
        watched = None
    looks: dict[int, float] = {}
    best, best_epoch = terms, settings.epochs
    generator = torch.Generator(labels.device).manual_seed(problem.seed)
    for epoch in range(1, settings.epochs + 1):
        total = prior.new_zeros(())
        for samples in batches(labels, settings.batch_size, generator):
            rows = _rows_of(problem, samples)
            total += sgd_step(terms, rows, labels[samples], prior, settings.lr)
        if epoch % settings.evaluate_every and epoch != settings.epochs:
            continue
        _check_finite(total, "classifier", epoch - 1)
        if watched is not None:
            right = _share_right(terms, watched)
            if right > max(looks.values(), default=-1.0):
                best, best_epoch = [term.clone() for term in terms], epoch
            looks[epoch] = right
    return FittedHead(best, best_epoch, looks)


def _rows_of(problem: Problem, samples: Tensor) -> list[Tensor]:
    """What each term is given of some samples; terms of the same rows share them."""
    shared: dict[int, Tensor] = {}
    rows = []
    for term, some in zip(problem.terms, problem.inputs, strict=True):
        if isinstance(term, TableTerm):
            rows.append(some.rows_of(samples))
            continue
        if id(some) not in shared:
            shared[id(some)] = some.of(samples)
        rows.append(shared[id(some)])
    return rows


def batches(
    labels: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """All samples in a new order, cut into batches; the last one may be smaller."""
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    yield from order.split(batch_size)


def _share_right(terms: list[AnyTerm], watched: Watched) -> float:
    everyone = torch.arange(len(watched.labels), device=watched.labels.device)
    predicted = predict(terms, watched.inputs, everyone)
    return (predicted == watched.labels).float().mean().item()


def _check_finite(loss: Tensor, what: str, epoch: int) -> None:
    if not loss.isfinite().all():
        raise BadInput(
            f"{what}: the loss is not finite in epoch {epoch + 1}; "
            f"a smaller {what}.lr may help"
        )
