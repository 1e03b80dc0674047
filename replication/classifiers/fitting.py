"""Fitting linear heads: the Balanced Softmax baseline, the cascade's classifiers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    TableTerm,
    Term,
    log_prior,
    predict,
)
from replication.classifiers.stacks import Stack, stack_size
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
    """Fitted terms, the epoch that was kept (from 1), and each look at the watched.

    Fields: `looks`: epoch -> share of the watched samples that were right.
    """

    terms: list[AnyTerm]
    epoch: int
    looks: dict[int, float]


@dataclass(frozen=True)
class Problem:
    """A classifier of the cascade that is to be fitted.

    Fields: `terms` where it starts from; `inputs` of the training samples, a `Rows` for
    each term; `labels` (n,); `counts` (C,) samples of each class for the prior;
    `watched` validation samples (protocol `paper`) or test samples (protocol
    `released_code`, which repeats the authors' mistake), or None; `seed` of the order
    of the samples.
    """

    terms: list[AnyTerm]
    inputs: list[Rows]
    labels: Tensor
    counts: Tensor
    watched: Watched | None
    seed: int

    def alike(self) -> tuple:
        """What problems must have in common to be fitted in one stack."""
        shapes = (
            (term.logits.shape, term.gram.shape)
            if isinstance(term, TableTerm)
            else (term.weight.shape, term.bias is None)
            for term in self.terms
        )
        return len(self.labels), tuple(shapes)


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

    Implements: the rows `+ BalSoftmax`; SGD with momentum, cosine to 0 per epoch.

    Args:
        features: (N, D); labels: (N,).
        start: where each starts from; not changed.
        counts: (C,) training samples of each class.
        seeds: of the order of the samples.
        report: told (epoch from 0, epochs, metrics), all stacks of seeds counted.

    Raises:
        BadInput: the loss is not finite.
    """
    prior = log_prior(counts).to(start.weight)
    return _fit_heads(features, labels, start, prior, settings, seeds, report)


def fit_softmax_head(
    features: Features, labels: Tensor, start: Term, settings: HeadSettings, seed: int
) -> Term:
    """Fit a linear head on frozen features with plain cross-entropy.

    Implements: not in the paper: the head that LWS rescales, where features come
    without one. Arguments as in `fit_balanced_softmax_heads`.
    """
    prior = start.weight.new_zeros(len(start.weight))
    return _fit_heads(features, labels, start, prior, settings, [seed])[0]


def _fit_heads(
    features: Features,
    labels: Tensor,
    start: Term,
    prior: Tensor,
    settings: HeadSettings,
    seeds: Sequence[int],
    report: Report | None = None,
) -> list[Term]:
    stacks = list(_split(seeds, stack_size(labels.device, start.weight.numel())))
    fitted: list[Term] = []
    for number, some in enumerate(stacks):
        stack = Stack.of(
            [[start.clone()] for _ in some],
            [[Rows(features)] for _ in some],
            [labels] * len(some),
            [prior] * len(some),
            momentum=True,
        )
        orders = _Orders(labels, some)
        for epoch in range(settings.epochs):
            lr = 0.5 * settings.lr * (1 + math.cos(math.pi * epoch / settings.epochs))
            total = prior.new_zeros(len(some))
            for samples in orders.epoch(settings.batch_size):
                total += stack.step(
                    samples, lr, settings.momentum, settings.weight_decay
                )
            _check_finite(total, "head", epoch)
            if report is not None:
                done = number * settings.epochs + epoch
                report(done, len(stacks) * settings.epochs, {"lr": lr})
        fitted += [stack.head(place)[0] for place in range(len(some))]
    return fitted


def fit_classifier(problem: Problem, settings: ClassifierSettings) -> FittedHead:
    """Fit one classifier; as `fit_classifiers`, and its terms in place."""
    return _fit_stack([problem], settings)[0]


def fit_classifiers(
    problems: Sequence[Problem], settings: ClassifierSettings
) -> list[FittedHead]:
    """Fit classifiers of the cascade with Balanced Softmax, plain SGD.

    Implements: Sect. 5 and the released configuration: batch 128, 150 epochs, no
    momentum, no schedule. Where samples are watched, every few epochs are looked at and
    the first best one is kept; otherwise the last epoch stands. Those of one shape are
    fitted side by side where that is faster; which are does not change a fit beyond
    rounding.

    Returns:
        Fitted heads in the order of the problems.

    Raises:
        BadInput: the loss is not finite.
    """
    groups: dict[tuple, list[int]] = {}
    for number, problem in enumerate(problems):
        groups.setdefault(problem.alike(), []).append(number)
    fitted: dict[int, FittedHead] = {}
    for group in groups.values():
        first = problems[group[0]]
        weights = sum(term.fitted.numel() for term in first.terms)
        for some in _split(group, stack_size(first.labels.device, weights)):
            heads = _fit_stack([problems[number] for number in some], settings)
            fitted |= dict(zip(some, heads, strict=True))
    return [fitted[number] for number in range(len(problems))]


def _fit_stack(
    problems: Sequence[Problem], settings: ClassifierSettings
) -> list[FittedHead]:
    """Fit problems of one shape side by side."""
    first = problems[0]
    if len(first.labels) == 0:
        return [FittedHead(problem.terms, 0, {}) for problem in problems]
    stack = Stack.of(
        [problem.terms for problem in problems],
        [problem.inputs for problem in problems],
        [problem.labels for problem in problems],
        [log_prior(one.counts).to(one.terms[0].fitted) for one in problems],
    )
    kept = [_Kept(problem.watched, settings.epochs) for problem in problems]
    orders = _Orders(first.labels, [problem.seed for problem in problems])
    for epoch in range(1, settings.epochs + 1):
        total = stack.prior.new_zeros(len(problems))
        for samples in orders.epoch(settings.batch_size):
            total += stack.step(samples, settings.lr)
        if epoch % settings.evaluate_every == 0 or epoch == settings.epochs:
            _check_finite(total, "classifier", epoch - 1)
            for number, one in enumerate(kept):
                one.look(stack.head(number), epoch)
    return [one.fitted(stack.head(number)) for number, one in enumerate(kept)]


class _Kept:
    """The first best epoch of one classifier, by its watched samples."""

    def __init__(self, watched: Watched | None, epochs: int) -> None:
        self._watched = None if watched is None or len(watched.labels) == 0 else watched
        self._epoch = epochs
        self._best: list[AnyTerm] | None = None
        self._looks: dict[int, float] = {}

    def look(self, terms: list[AnyTerm], epoch: int) -> None:
        if self._watched is None:
            return
        right = _share_right(terms, self._watched)
        if right > max(self._looks.values(), default=-1.0):
            self._best, self._epoch = [term.clone() for term in terms], epoch
        self._looks[epoch] = right

    def fitted(self, last: list[AnyTerm]) -> FittedHead:
        return FittedHead(self._best or last, self._epoch, self._looks)


class _Orders:
    """Each head's own order of the samples, drawn anew each epoch."""

    def __init__(self, labels: Tensor, seeds: Sequence[int]) -> None:
        self._number, self._device = len(labels), labels.device
        self._generators = [
            torch.Generator(labels.device).manual_seed(seed) for seed in seeds
        ]

    def epoch(self, batch_size: int) -> tuple[Tensor, ...]:
        """Batches (H, B) of all samples; the last one may be smaller."""
        orders = [
            torch.randperm(self._number, generator=generator, device=self._device)
            for generator in self._generators
        ]
        return torch.stack(orders).split(batch_size, 1)


def _split(values: Sequence[int], at_once: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), at_once):
        yield values[start : start + at_once]


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
