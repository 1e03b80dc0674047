"""cRT, LWS and the τ-normalised classifier: a new head while the network stays.

cRT and LWS draw samples class by class. On images each batch passes through the frozen
network, whose batch-norm layers go on as in training; on features there is no network.
Nothing is chosen by epoch: the last one stands.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from replication.backbones.extraction import extract_features
from replication.backbones.networks import features_of
from replication.classifiers.descent import Stack
from replication.classifiers.fitting import check_finite
from replication.classifiers.heads import Rows, Term, drawn_term, predict
from replication.core.settings import (
    BackboneSettings,
    DecouplingSettings,
    ImageSettings,
)
from replication.images.batches import ImageSplit, mixed_seed, training_batches
from replication.samples.features import Features, Samples

Report = Callable[[int, int, Mapping[str, float]], None]
# Epoch, from 0 -> its batches: features (B, D) and labels (B,).
Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
# Features (B, D), labels (B,), learning rate.
Step = Callable[[Tensor, Tensor, float], None]

_ORDER, _HEAD, _AUGMENTATION = range(3)


def class_aware_order(
    labels: Tensor, per_class: int, length: int, generator: torch.Generator
) -> Tensor:
    """Draw samples class by class, each class as often as any other.

    The sampler of cRT and LWS. Classes come in rounds, in a new order each round; a
    class's turn is `per_class` samples in a row. Its samples come in a random order,
    and in a new one whenever all have been drawn, so that a class with fewer than
    `per_class` samples repeats them within a turn. Labels (N,) -> indices (length,).
    """
    device = labels.device
    counts = labels.bincount()
    counts = counts[counts > 0]
    turns = -(-length // per_class)
    rounds = -(-turns // len(counts))
    shape = (rounds, len(counts))
    classes = torch.rand(shape, generator=generator, device=device).argsort(1)
    # A class's stream is as many passes over its samples as all rounds need.
    passes = -(-rounds * per_class // counts)
    ends = (passes * counts).cumsum(0)
    starts = ends - passes * counts
    stream = _shuffled_passes(labels.argsort(stable=True), counts, passes, generator)
    draw = torch.arange(length, device=device)
    turn = draw // per_class
    place = starts[classes.flatten()[turn]] + turn // len(counts) * per_class
    return stream[place + draw % per_class]


def _shuffled_passes(
    by_class: Tensor, counts: Tensor, passes: Tensor, generator: torch.Generator
) -> Tensor:
    """A class after another, all its samples `passes` times, each pass in a new order.

    `by_class` (N,) are the samples in the order of their classes.
    """
    sizes = counts.repeat_interleave(passes)
    pass_of = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    first = (counts.cumsum(0) - counts).repeat_interleave(passes)
    shift = first - (sizes.cumsum(0) - sizes)
    shuffled = torch.randperm(len(pass_of), generator=generator, device=pass_of.device)
    # Passes are contiguous: sorting a permutation by pass permutes within each.
    slot = shuffled[pass_of[shuffled].argsort(stable=True)]
    return by_class[slot + shift[pass_of]]


def tau_normalised(head: Term, val: Samples) -> tuple[Term, float]:
    """Decouple's τ-normalised classifier, and its τ: weights over their norm to the τ.

    The head's bias is dropped, as in Decouple. τ is chosen out of 0, 0.1, ... 1 by
    class-mean accuracy on validation samples, the smallest of equals; 1 without them.
    """
    norms = head.weight.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def scaled(tau: float) -> Term:
        return Term(head.weight / norms**tau, torch.zeros_like(head.bias))

    if len(val.labels) == 0:
        return scaled(1.0), 1.0
    rows = torch.arange(len(val.labels), device=val.labels.device)
    sizes = val.labels.bincount(minlength=len(head.weight))

    def accuracy(tau: float) -> float:
        right = predict([scaled(tau)], [Rows(val.features)], rows) == val.labels
        share = val.labels[right].bincount(minlength=len(sizes)) / sizes
        return float(share[sizes > 0].mean())

    tau = max((step / 10 for step in range(11)), key=accuracy)
    return scaled(tau), tau


def lws_step(
    scales: Tensor,
    buffer: Tensor,
    head: Term,
    features: Tensor,
    labels: Tensor,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """LWS: one step of SGD on cross-entropy of scales * (W x + b).

    `scales` (C,) and their momentum change in place, the head does not. The gradient of
    a scale is the sum over the batch of (share - target) * (W x + b).
    """
    logits = nn.functional.linear(features, head.weight, head.bias)
    error = torch.softmax(logits * scales, 1)
    error.scatter_add_(1, labels[:, None], error.new_full((len(labels), 1), -1.0))
    gradient = error.mul_(logits).sum(0).div_(len(labels))
    buffer.mul_(momentum).add_(gradient).add_(scales, alpha=weight_decay)
    scales.add_(buffer, alpha=-lr)


def fit_crt(
    features: Features,
    labels: Tensor,
    num_classes: int,
    settings: DecouplingSettings,
    seed: int,
) -> Term:
    """Fit a new random head to frozen features, classes drawn equally often.

    Implements: Table 1's row cRT, on cached features.

    Raises:
        BadInput: the loss is not finite.
    """
    batches = _feature_batches(features, labels, settings.crt_epochs, settings, seed)
    return _fit_crt(batches, num_classes, features[:0], settings, seed)


def fit_lws(
    features: Features,
    labels: Tensor,
    head: Term,
    settings: DecouplingSettings,
    seed: int,
) -> Term:
    """Fit one scale per class on a frozen head, classes drawn equally often.

    Implements: Table 1's row LWS, on cached features: the head with the scales
    multiplied in, s W and s b.

    Raises:
        BadInput: the loss is not finite.
    """
    batches = _feature_batches(features, labels, settings.lws_epochs, settings, seed)
    return _fit_lws(batches, head, settings)


def fit_on_images(
    kind: Literal["crt", "lws"],
    network: nn.Module,
    train: ImageSplit,
    num_classes: int,
    head: Term,
    settings: DecouplingSettings,
    images: BackboneSettings,
    device: torch.device,
    workers: int,
    seed: int,
    report: Report | None = None,
) -> Term:
    """Fit cRT or LWS on augmented images through a frozen network, as published.

    Implements: Table 1's rows cRT and LWS. No weight of the network learns, but its
    batch-norm layers normalise by the batch and update their running statistics, as in
    the released code; every other layer is in evaluation mode.

    Args:
        network: its batch-norm statistics are changed in place: give a copy, and keep
            it, for the fitted head belongs to the new statistics. Moved to the device
            and left in evaluation mode.
        head: that LWS rescales, with its bias, on the device; not changed. cRT takes
            none of it.
        images: how an image is augmented and normalised.

    Raises:
        BadInput: the loss is not finite, or an image is not whole.
    """
    network.to(device, memory_format=torch.channels_last)
    epochs = settings.crt_epochs if kind == "crt" else settings.lws_epochs
    batches = _image_batches(
        network, train, epochs, settings, images, device, workers, seed
    )
    if kind == "crt":
        width = getattr(network, "head_hidden_size", None) or network.num_features
        like = torch.empty(0, width, device=device)
        return _fit_crt(batches, num_classes, like, settings, seed, report)
    return _fit_lws(batches, head, settings, report)


def predict_images(
    network: nn.Module,
    term: Term,
    split: ImageSplit,
    images: ImageSettings,
    device: torch.device,
    workers: int,
) -> Tensor:
    """Classes (N,) of images by a fitted head, without augmentation.

    The network has the batch-norm statistics that the head was fitted with.
    """
    features = extract_features(network, split, images, device, workers)
    everyone = torch.arange(len(features), device=device)
    return predict([term], [Rows(torch.from_numpy(features).to(device))], everyone)


def _fit_crt(
    batches: Batches,
    num_classes: int,
    like: Tensor,
    settings: DecouplingSettings,
    seed: int,
    report: Report | None = None,
) -> Term:
    """`like` (0, D) gives the head's width, type and device."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, _HEAD))
    start = drawn_term(num_classes, like.shape[1], generator, like)
    stack = Stack(
        [[start]],
        [[Rows(like)]],
        like.new_zeros(1, num_classes),
        settings.batch_size,
        settings.momentum,
        settings.weight_decay,
    )

    def step(features: Tensor, labels: Tensor, lr: float) -> None:
        inputs = stack.inputs[: len(features)]
        inputs[:, :-1] = features
        stack.step(inputs, labels[:, None], lr)

    _descend("crt", stack.weight, step, batches, settings.crt_epochs, settings, report)
    [[term]] = stack.terms(stack.weight)
    return term


def _fit_lws(
    batches: Batches,
    head: Term,
    settings: DecouplingSettings,
    report: Report | None = None,
) -> Term:
    scales = head.weight.new_ones(len(head.weight))
    buffer = torch.zeros_like(scales)
    momentum, decay = settings.momentum, settings.weight_decay

    def step(features: Tensor, labels: Tensor, lr: float) -> None:
        lws_step(scales, buffer, head, features, labels, lr, momentum, decay)

    _descend("lws", scales, step, batches, settings.lws_epochs, settings, report)
    return Term(head.weight * scales[:, None], head.bias * scales)


def _descend(
    what: Literal["crt", "lws"],
    weight: Tensor,
    step: Step,
    batches: Batches,
    epochs: int,
    settings: DecouplingSettings,
    report: Report | None,
) -> None:
    """Step through every batch of every epoch; the cosine moves once an epoch, to 0."""
    for epoch in range(epochs):
        lr = 0.5 * settings.lr * (1 + math.cos(math.pi * epoch / epochs))
        for features, labels in batches(epoch):
            step(features, labels, lr)
        check_finite(weight, what, epoch, "decoupling.lr")
        if report is not None:
            report(epoch, epochs, {"lr": lr})


def _epoch_orders(
    labels: Tensor, epochs: int, settings: DecouplingSettings, seed: int
) -> tuple[Tensor, ...]:
    """Each epoch's draws: as many whole batches as N samples fill, at least one.

    Rounds and passes go on from one epoch to the next, as in the released code.
    """
    batch_size = min(settings.batch_size, len(labels))
    length = len(labels) // batch_size * batch_size
    generator = torch.Generator(labels.device).manual_seed(mixed_seed(seed, _ORDER))
    order = class_aware_order(
        labels, settings.samples_per_class, epochs * length, generator
    )
    return order.split(length)


def _feature_batches(
    features: Features,
    labels: Tensor,
    epochs: int,
    settings: DecouplingSettings,
    seed: int,
) -> Batches:
    orders = _epoch_orders(labels, epochs, settings, seed)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for samples in orders[epoch].split(settings.batch_size):
            yield features[samples], labels[samples]

    return batches


def _image_batches(
    network: nn.Module,
    train: ImageSplit,
    epochs: int,
    settings: DecouplingSettings,
    images: BackboneSettings,
    device: torch.device,
    workers: int,
    seed: int,
) -> Batches:
    orders = _epoch_orders(train.labels, epochs, settings, seed)
    augmented = training_batches(train, settings.batch_size, images, device, workers)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        of_epoch = mixed_seed(seed, _AUGMENTATION, epoch)
        network.eval()
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        for pixels, labels in augmented(orders[epoch], of_epoch):
            with torch.no_grad():
                features = features_of(network, pixels)
            yield features, labels
        network.eval()

    return batches
