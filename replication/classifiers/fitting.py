"""Fitting linear heads: the Balanced Softmax baseline, the cascade's classifiers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.descent import Stack
from replication.classifiers.heads import Rows, Term, log_prior
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

    terms: list[Term]
    epoch: int
    looks: dict[int, float]


@dataclass(frozen=True)
class Problem:
    """H classifiers of the cascade that are fitted to the same samples.

    Fields: `heads` where they start from: terms of the same `inputs`, a `Rows` for each
    of the training samples; `labels` (n,); `counts` (H, C) samples of each class for
    the priors; `watched` samples that choose the epochs; `seed` of the order of the
    samples.
    """

    heads: list[list[Term]]
    inputs: list[Rows]
    labels: Tensor
    counts: Tensor
    watched: Watched | None
    seed: int


def fit_balanced_softmax_head(
    features: Features,
    labels: Tensor,
    start: Term,
    counts: Tensor,
    settings: HeadSettings,
    seed: int,
    report: Report | None = None,
) -> Term:
    """Refit a linear head on frozen features with Balanced Softmax.

    Implements: Table 1's rows `+ BalSoftmax`; SGD with momentum, cosine to 0 per epoch.
    The start is not changed.

    Raises:
        BadInput: the loss is not finite.
    """
    prior = log_prior(counts).to(start.weight)
    return _fit_head(features, labels, start, prior, settings, seed, report)


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
    inputs = [Rows(features)]
    stack = Stack(
        [[start]],
        [inputs],
        prior[None],
        min(settings.batch_size, len(labels)),
        settings.momentum,
        settings.weight_decay,
    )
    generator = torch.Generator(labels.device).manual_seed(seed)
    for epoch in range(settings.epochs):
        lr = 0.5 * settings.lr * (1 + math.cos(math.pi * epoch / settings.epochs))
        stack.descend(inputs, labels, new_order(labels, generator), lr)
        check_finite(stack.weight, "head", epoch, "head.lr")
        if report is not None:
            report(epoch, settings.epochs, {"lr": lr})
    [[term]] = stack.terms(stack.weight)
    return term


def fit_classifiers(problem: Problem, settings: ClassifierSettings) -> list[FittedHead]:
    """Fit classifiers of the cascade with Balanced Softmax, plain SGD.

    Implements: Sect. 5 and the released configuration: batch 128, 150 epochs, no
    momentum, no schedule. Where samples are watched, every few epochs are looked at and
    each classifier's first best one is kept; otherwise the last epoch stands.

    Raises:
        BadInput: the loss is not finite.
    """
    labels, watched = problem.labels, problem.watched
    if len(labels) == 0:
        return [FittedHead(terms, 0, {}) for terms in problem.heads]
    if watched is not None and len(watched.labels) == 0:
        watched = None
    stack = Stack(
        problem.heads,
        [problem.inputs] if watched is None else [problem.inputs, watched.inputs],
        log_prior(problem.counts),
        min(settings.batch_size, len(labels)),
    )
    number = len(problem.heads)
    looks: list[dict[int, float]] = [{} for _ in range(number)]
    best, epochs = stack.weight, [settings.epochs] * number
    if watched is not None:
        best = best.clone()
    generator = torch.Generator(labels.device).manual_seed(problem.seed)
    for epoch in range(1, settings.epochs + 1):
        order = new_order(labels, generator)
        stack.descend(problem.inputs, labels, order, settings.lr)
        if epoch % settings.evaluate_every and epoch != settings.epochs:
            continue
        check_finite(stack.weight, "classifier", epoch - 1, "classifier.lr")
        if watched is None:
            continue
        shares = stack.right(watched.inputs, watched.labels).tolist()
        of_heads = zip(best.chunk(number), stack.weight.chunk(number), strict=True)
        for place, (best_weight, weight) in enumerate(of_heads):
            if shares[place] > max(looks[place].values(), default=-1.0):
                best_weight.copy_(weight)
                epochs[place] = epoch
            looks[place][epoch] = shares[place]
    fitted = zip(stack.terms(best), epochs, looks, strict=True)
    return [FittedHead(*of_head) for of_head in fitted]


def new_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """All samples in a new order, (N,)."""
    return torch.randperm(len(labels), generator=generator, device=labels.device)


def check_finite(weight: Tensor, what: str, epoch: int, setting: str) -> None:
    """Refuse a weight that is not finite, which a loss that is not leaves behind."""
    if not weight.isfinite().all():
        raise BadInput(
            f"{what}: the loss is not finite in epoch {epoch + 1}; "
            f"a smaller {setting} may help"
        )
