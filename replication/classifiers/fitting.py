"""Fitting linear heads: the Balanced Softmax baseline, the cascade's classifiers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    Term,
    log_prior,
    predict,
    sgd_step,
)
from replication.files import BadInput
from replication.settings import ClassifierSettings, HeadSettings


@dataclass(frozen=True)
class Watched:
    """Samples by which an epoch is chosen: their inputs and labels (n,)."""

    inputs: list[Rows]
    labels: Tensor


@dataclass(frozen=True)
class FittedHead:
    """Fitted terms, the epoch that was kept (from 1), and each look at the watched.

    Fields: `looks`: epoch -> share of the watched samples that were right.
    """

    terms: list[AnyTerm]
    epoch: int
    looks: dict[int, float]


def fit_balanced_softmax_head(
    features: Tensor,
    labels: Tensor,
    start: Term,
    counts: Tensor,
    settings: HeadSettings,
    seed: int,
) -> Term:
    """Refit a linear head on frozen features with Balanced Softmax.

    Implements: the rows `+ BalSoftmax`; SGD with momentum, cosine to 0 per epoch.

    Args:
        features: (N, D); labels: (N,).
        start: where it starts from; not changed.
        counts: (C,) training samples of each class.
        seed: of the order of the samples.

    Raises:
        BadInput: the loss is not finite.
    """
    prior = log_prior(counts).to(features)
    return _fit_head(features, labels, start, prior, settings, seed)


def fit_softmax_head(
    features: Tensor, labels: Tensor, start: Term, settings: HeadSettings, seed: int
) -> Term:
    """Fit a linear head on frozen features with plain cross-entropy.

    Implements: not in the paper: the head that LWS rescales, where features come
    without one. Arguments as in `fit_balanced_softmax_head`.
    """
    prior = features.new_zeros(len(start.weight))
    return _fit_head(features, labels, start, prior, settings, seed)


def _fit_head(
    features: Tensor,
    labels: Tensor,
    start: Term,
    prior: Tensor,
    settings: HeadSettings,
    seed: int,
) -> Term:
    terms = [start.clone()]
    momenta = [start.zeros()]
    inputs = [Rows(features)]
    generator = torch.Generator(features.device).manual_seed(seed)
    for epoch in range(settings.epochs):
        lr = 0.5 * settings.lr * (1 + math.cos(math.pi * epoch / settings.epochs))
        total = features.new_zeros(())
        for samples in _shuffled(labels, settings.batch_size, generator):
            total += sgd_step(
                terms,
                momenta,
                inputs,
                samples,
                labels[samples],
                prior,
                lr,
                settings.momentum,
                settings.weight_decay,
            )
        _check_finite(total, "head", epoch)
    return terms[0]


def fit_classifier(
    terms: list[AnyTerm],
    inputs: list[Rows],
    labels: Tensor,
    counts: Tensor,
    settings: ClassifierSettings,
    watched: Watched | None,
    seed: int,
) -> FittedHead:
    """Fit one classifier of the cascade with Balanced Softmax, plain SGD.

    Implements: Sect. 5 and the released configuration: batch 128, 150 epochs, no
    momentum, no schedule. Where samples are watched, every few epochs are looked at and
    the first best one is kept; otherwise the last epoch stands.

    Args:
        terms: where it starts from; fitted in place.
        inputs: of the training samples, a `Rows` for each term.
        labels: (n,).
        counts: (C,) samples of each class for the prior.
        watched: validation samples (protocol `paper`) or test samples (protocol
            `released_code`, which repeats the authors' mistake), or None.
        seed: of the order of the samples.

    Raises:
        BadInput: the loss is not finite.
    """
    if len(labels) == 0:
        return FittedHead(terms, 0, {})
    prior = log_prior(counts).to(inputs[0].table)
    generator = torch.Generator(labels.device).manual_seed(seed)
    looks: dict[int, float] = {}
    best: list[AnyTerm] | None = None
    best_epoch = settings.epochs
    for epoch in range(1, settings.epochs + 1):
        total = prior.new_zeros(())
        for samples in _shuffled(labels, settings.batch_size, generator):
            total += sgd_step(
                terms, None, inputs, samples, labels[samples], prior, settings.lr
            )
        due = epoch % settings.evaluate_every == 0 or epoch == settings.epochs
        if due:
            _check_finite(total, "classifier", epoch - 1)
        if not due or watched is None or len(watched.labels) == 0:
            continue
        right = _share_right(terms, watched)
        if right > max(looks.values(), default=-1.0):
            best, best_epoch = [term.clone() for term in terms], epoch
        looks[epoch] = right
    return FittedHead(best or terms, best_epoch, looks)


def _share_right(terms: list[AnyTerm], watched: Watched) -> float:
    everyone = torch.arange(len(watched.labels), device=watched.labels.device)
    predicted = predict(terms, watched.inputs, everyone)
    return (predicted == watched.labels).float().mean().item()


def _shuffled(
    labels: Tensor, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    return order.split(batch_size)


def _check_finite(loss: Tensor, what: str, epoch: int) -> None:
    if not math.isfinite(loss.item()):
        raise BadInput(
            f"{what}: the loss is not finite in epoch {epoch + 1}; "
            f"a smaller {what}.lr may help"
        )
