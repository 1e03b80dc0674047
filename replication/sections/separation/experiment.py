"""Fig. 2: what a given separation of head and tail samples is worth (Sect. 1).

A separation model that is right with probability p is simulated: it sends each sample
to one of two groups by a coin that knows whether the sample's class is head or tail.
Each group then has a classifier of its own. Test samples are sent the same way, by
their own labels: an oracle, which no method can be.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from replication.backbones.networks import build_network
from replication.classifiers.heads import Rows, Term, drawn_term, logits_of
from replication.core.files import BadInput
from replication.core.settings import BackboneSettings, Boundary, Fig2Settings
from replication.images.batches import (
    ImageSplit,
    mixed_seed,
    plain_batches,
    subset,
    training_batches,
)
from replication.samples.features import Features, Samples
from replication.samples.metrics import accuracy_weights
from replication.samples.shots import FEW_BELOW, MANY_ABOVE
from replication.sections.basis import Basis
from replication.statistics.intervals import LEVEL, Estimate, estimate, over_seeds
from replication.statistics.results import Cell, Claim, estimated
from replication.statistics.verdicts import judge_claim, judged

GROUPS = (0, 1)
METRICS = ("overall", "head", "tail", "many", "medium", "few")
VARIANTS = {
    "images": "networks on images",
    "linear": "linear classifiers on a network's features",
}
BOUNDARIES = {
    "half_classes": "the larger half of the classes",
    "many": "classes of more than 100 images",
    "many_medium": "classes of at least 20 images",
    "half_images": "the fewest classes with half of the images",
}
# A loss that falls by more than this over the last fifth of a fit is not at rest.
AT_REST = 0.01
_CHUNK = 4096
Report = Callable[[int, int, Mapping[str, float]], None]
# (variant, boundary, p) -> (S, N) predicted classes of the test samples.
Predictions = Mapping[tuple[str, str, float], np.ndarray]

# ---- Who goes where ----------------------------------------------------------------


def head_classes(counts: np.ndarray, boundary: Boundary) -> np.ndarray:
    """(C,) bool, the classes that count as head; Sect. 1 does not say where one ends.

    `counts`: (C,) training images of each class. Of an odd number of classes the larger
    half has C // 2. Raises BadInput: no class is head, or none is tail.
    """
    if boundary == "many":
        head = counts > MANY_ABOVE
    elif boundary == "many_medium":
        head = counts >= FEW_BELOW
    else:
        order = np.argsort(-counts, kind="stable")
        size = len(counts) // 2
        if boundary == "half_images":
            held = counts[order].cumsum()
            size = int(np.searchsorted(2 * held, held[-1])) + 1
        head = np.zeros(len(counts), dtype=bool)
        head[order[:size]] = True
    number = int(head.sum())
    if number in (0, len(counts)):
        raise BadInput(
            f"fig2.boundaries: {boundary}: expected head and tail classes, got "
            f"{number} head classes of {len(counts)}"
        )
    return head


def route(labels: Tensor, head: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Send each sample to a group: (p, 1 - p) for head classes, (1 - p, p) for tail.

    Implements: Sect. 1. A sample's coin is one uniform number, compared with its
    group's probability: with the same seed, raising p moves samples to their own side
    and none back, so that curves over p are paired.

    Args:
        labels: (N,) int64; head: (C,) bool; p: 0.5 .. 1.
        generator: on the CPU, in the same state for every p.

    Returns:
        (N,) int64 on the device of the labels: 0 is the head's group, 1 the tail's.
    """
    coin = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    is_head = head.to(labels.device)[labels]
    return (coin.to(labels.device) >= torch.where(is_head, p, 1 - p)).long()


def route_splits(
    train_labels: Tensor,
    test_labels: Tensor,
    head: Tensor,
    p: float,
    seed: int,
    boundary: str,
) -> tuple[Tensor, Tensor]:
    """Groups of training and of test samples, each sent by their own labels.

    The coins are the same for every p and boundary. Raises BadInput: a group has fewer
    than two training samples.
    """
    train, test = (
        route(labels, head, p, torch.Generator().manual_seed(mixed_seed(seed, split)))
        for split, labels in enumerate((train_labels, test_labels))
    )
    sizes = torch.bincount(train, minlength=len(GROUPS)).tolist()
    if min(sizes) < 2:
        raise BadInput(
            f"fig2: p = {p}, boundary {boundary}, seed {seed}: expected at least 2 "
            f"training samples in each group, got {sizes[0]} and {sizes[1]}"
        )
    return train, test


# ---- A classifier for each group ---------------------------------------------------


@dataclass(frozen=True)
class LinearClassifiers:
    """One linear classifier a group, on frozen features as they are.

    Not in the paper, where the classifier is a network: the same question at a
    hundredth of the cost.
    """

    train: Samples
    test: Samples
    num_classes: int
    settings: Fig2Settings

    def of_group(
        self, group: int, rows: Tensor, tested: Tensor, seed: int, report: Report
    ) -> tuple[Tensor, list[float]]:
        """As `Networks.of_group`; tells nothing: a fit takes less than a second."""
        labels, inputs = self.train.labels, [Rows(self.test.features)]
        rows, tested = rows.to(labels.device), tested.to(labels.device)
        term, losses = fit_linear(
            self.train.features, labels, rows, self.num_classes, self.settings, seed
        )
        allowed = candidates(labels[rows], self.num_classes, self.settings.candidates)
        parts = [
            answer(logits_of([term], inputs, some), allowed)
            for some in tested.split(_CHUNK)
        ]
        return torch.cat(parts).cpu(), losses


def fit_linear(
    features: Features,
    labels: Tensor,
    rows: Tensor,
    num_classes: int,
    settings: Fig2Settings,
    seed: int,
) -> tuple[Term, list[float]]:
    """Fit a classifier by cross-entropy, Adam, constant lr; its loss of each epoch."""
    drawing = torch.Generator().manual_seed(seed)
    term = drawn_term(num_classes, features.shape[1], drawing, features[:0])
    assert term.bias is not None
    ordering = torch.Generator(features.device).manual_seed(seed)
    # One kernel for all of Adam: at small sizes a step costs what its launches cost.
    optimiser = torch.optim.Adam([term.weight, term.bias], lr=settings.lr, fused=True)
    history = []
    for epoch in range(settings.linear_epochs):
        order = torch.randperm(len(rows), generator=ordering, device=rows.device)
        total = term.bias.new_zeros(())
        for samples in rows[order].split(settings.batch_size):
            batch, wanted = features[samples], labels[samples, None]
            logits = torch.addmm(term.bias, batch, term.weight.T)
            log_share = torch.log_softmax(logits, 1)
            total -= log_share.gather(1, wanted).sum()
            error = log_share.exp_()
            error.scatter_add_(1, wanted, error.new_full(wanted.shape, -1.0))
            error.div_(len(samples))
            term.weight.grad, term.bias.grad = error.T @ batch, error.sum(0)
            optimiser.step()
        history.append(total.item() / len(rows))
        if not math.isfinite(history[-1]):
            raise BadInput(
                f"fig2: the loss of a linear classifier is not finite in epoch "
                f"{epoch + 1}; a smaller fig2.lr may help"
            )
    return term, history


@dataclass(frozen=True)
class Networks:
    """One network a group, trained from scratch on that group's images.

    Implements: Sect. 1: Adam. From scratch and a constant learning rate are guesses.

    Fields: of `view`, augmentation, image size, mean and std are used, nothing else;
    `workers`: processes that decode images.
    """

    train: ImageSplit
    test: ImageSplit
    num_classes: int
    settings: Fig2Settings
    view: BackboneSettings
    device: torch.device
    workers: int

    def of_group(
        self, group: int, rows: Tensor, tested: Tensor, seed: int, report: Report
    ) -> tuple[Tensor, list[float]]:
        """Train one group's network and answer its test images.

        Args:
            rows, tested: training and test images of the group.
            seed: of weights, order and augmentation; each group draws its own.
            report: told (epoch, epochs, metrics) of both groups in turn.

        Returns:
            (n,) int64 on the CPU; and the mean training loss of each epoch.
        """

        def tell(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            report(group * epochs + epoch, len(GROUPS) * epochs, metrics)

        network, losses = self.fit(rows, mixed_seed(seed, group), tell)
        labels = self.train.labels[rows]
        allowed = candidates(labels, self.num_classes, self.settings.candidates)
        return self._answers(network, tested, allowed), losses

    def fit(
        self, rows: Tensor, seed: int, report: Report
    ) -> tuple[nn.Module, list[float]]:
        """Train a network on some images by cross-entropy, Adam, constant lr."""
        settings = self.settings
        network = build_network(settings.network, self.num_classes, None, seed)
        network = network.to(self.device, memory_format=torch.channels_last).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=settings.lr)
        batches = training_batches(
            self.train, settings.batch_size, self.view, self.device, self.workers
        )
        history = []
        for epoch in range(settings.epochs):
            generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, 0))
            order = rows[torch.randperm(len(rows), generator=generator)]
            drawn = batches(order, mixed_seed(seed, epoch, 1))
            history.append(_train_epoch(network, optimiser, drawn, epoch))
            report(epoch, settings.epochs, {"train_loss": history[-1]})
        return network, history

    @torch.inference_mode()
    def _answers(self, network: nn.Module, rows: Tensor, allowed: Tensor) -> Tensor:
        """Answers to some test images, (n,) on the CPU."""
        network.eval()
        allowed = allowed.to(self.device)
        images = subset(self.test, rows)
        batches = plain_batches(images, 512, self.view, self.device, self.workers)
        parts = [answer(network(pixels), allowed).cpu() for pixels, _ in batches]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    epoch: int,
) -> float:
    """One pass over batches of (pixels, labels); the mean loss of a sample."""
    normed = any(isinstance(part, _BatchNorm) for part in network.modules())
    seen: list[Tensor] = []
    for pixels, labels in batches:
        if normed and len(labels) == 1:
            continue  # one image has no variance; the next epoch's order has it
        loss = F.cross_entropy(network(pixels), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        size = loss.new_full((), len(labels))
        seen.append(torch.stack([loss.detach() * size, size]))
    steps = torch.stack(seen)
    finite = steps[:, 0].isfinite()
    if not finite.all():
        raise BadInput(
            f"fig2: the loss of a network is not finite in epoch {epoch + 1}, step "
            f"{int(finite.int().argmin()) + 1}; a smaller fig2.lr may help"
        )
    total, samples = steps.sum(0).tolist()
    return total / samples


def candidates(labels: Tensor, num_classes: int, which: str) -> Tensor:
    """(C,) bool, which a classifier may answer with: all, or seen in training."""
    if which == "all":
        return torch.ones(num_classes, dtype=torch.bool, device=labels.device)
    return torch.bincount(labels, minlength=num_classes) > 0


def answer(logits: Tensor, allowed: Tensor) -> Tensor:
    """The allowed class with the largest logit, (n, C) -> (n,) int64."""
    return logits.masked_fill(~allowed, -math.inf).argmax(1)


def predict(
    classifiers: LinearClassifiers | Networks,
    train: Tensor,
    test: Tensor,
    seed: int,
    report: Report,
) -> tuple[Tensor, list[list[float]]]:
    """Fit a classifier to each group, which answers the group's test samples.

    `train`, `test`: group of each sample. Returns (N,) int64 on the CPU; and of each
    group the mean training loss of each epoch.
    """
    predictions = torch.empty(len(test), dtype=torch.int64)
    losses = []
    for group in GROUPS:
        rows, tested = ((of == group).nonzero()[:, 0].cpu() for of in (train, test))
        answers, history = classifiers.of_group(group, rows, tested, seed, report)
        predictions[tested] = answers
        losses.append(history)
    return predictions, losses


# ---- What it is worth --------------------------------------------------------------


def point(p: float, boundary: str) -> str:
    """A Cell's `at`."""
    return f"p={p:g}, boundary={boundary}"


def accuracy_cells(
    predictions: Predictions,
    labels: np.ndarray,
    heads: Mapping[str, np.ndarray],
    basis: Basis,
) -> list[Cell]:
    """The curves of Fig. 2, with intervals over seeds and test sampling.

    `labels`: (N,) of the test samples; `heads`: boundary -> (C,) bool.
    """
    shots = accuracy_weights(labels, basis.train_counts)
    sides = {name: _side_weights(labels, head) for name, head in heads.items()}
    cells = []
    for (variant, boundary, p), predicted in predictions.items():
        right, weights = _right(predicted, labels), {**shots, **sides[boundary]}
        row = {"method": variant, "label": VARIANTS[variant], "at": point(p, boundary)}
        for metric in METRICS:
            accuracy = estimate(right, weights[metric], labels).within(0.0, 1.0)
            cells.append(basis.cell(**row, metric=metric, **estimated(accuracy)))
    return cells


def step_cells(
    predictions: Predictions, labels: np.ndarray, basis: Basis
) -> list[Cell]:
    """What each step from one p to the next is worth, paired; verdict: does it rise?

    The steps of a curve share 5 % of risk among them (Bonferroni), or one of many would
    fall by chance.
    """
    cells = []
    for (variant, boundary), curve in _curves(predictions).items():
        steps = list(pairwise(sorted(curve)))
        for low, high in steps:
            gap = _gap(curve[high], curve[low], labels, 1 - 0.05 / len(steps))
            cells.append(
                basis.cell(
                    method=variant,
                    label=VARIANTS[variant],
                    metric="overall",
                    at=point(high, boundary),
                    minus=f"p={low:g}",
                    **estimated(gap),
                    p_value=gap.p_value,
                    verdict=judge_claim(gap.low, gap.high),
                )
            )
    return cells


def larger_p_claims(
    predictions: Predictions,
    labels: np.ndarray,
    steps: Sequence[Cell],
    fits: Sequence[Mapping[str, Any]],
    basis: Basis,
) -> list[Claim]:
    """`So larger p leads to higher accuracy`, for each variant and boundary.

    The difference from the smallest to the largest p decides, paired: same test
    samples, seeds and coins; a step between neighbouring p that falls contradicts.
    `not run` where there is one p alone.

    `steps`: of `step_cells`; `fits`: of `fits_of`.
    """
    claims = []
    for (variant, boundary), curve in _curves(predictions).items():
        low, high = min(curve), max(curve)
        ends = _gap(curve[high], curve[low], labels)
        tested = judged([ends if low < high else over_seeds([])])
        of_curve = [s for s in steps if is_of_curve(s, variant, boundary)]
        fallen = [step.p_value for step in of_curve if step.verdict == "contradicted"]
        if fallen:
            p_value = min(1.0, len(of_curve) * min(fallen))
            tested |= {"verdict": "contradicted", "p_value": p_value}
        claims.append(
            basis.claim(
                id=f"larger_p_{variant}_{boundary}",
                sentence="s1_larger_p",
                place="Sect. 1",
                statement="So larger p leads to higher accuracy.",
                test=f"{VARIANTS[variant]}, head = {BOUNDARIES[boundary]}: Overall at "
                f"p = {high:g} minus at p = {low:g}, paired; no step between "
                "neighbouring p falls",
                caveat=_caveat(fits, variant, boundary),
                **tested,
            )
        )
    return claims


def is_of_curve(cell: Cell, variant: str, boundary: str) -> bool:
    """Whether a Cell belongs to this curve over p."""
    return cell.method == variant and cell.at.endswith(f", boundary={boundary}")


def fits_of(
    losses: Mapping[tuple[str, str, float], np.ndarray],
) -> list[dict[str, Any]]:
    """Whether each group's classifier was trained to the end; means over seeds.

    Args:
        losses: (variant, boundary, p) -> (S, groups, epochs) mean training loss.

    Returns:
        variant, boundary; `fell`: by which share the loss fell over the last fifth of
        the epochs, NaN for a single one; `at_rest`: whether that was little.
    """
    fits = []
    for (variant, boundary, _), seeds in losses.items():
        fifth = max(seeds.shape[2] // 5, 1)
        for group in GROUPS:
            fell = np.nan
            if seeds.shape[2] > 1:
                before, last = seeds[:, group, -1 - fifth], seeds[:, group, -1]
                fell = float(np.mean(1 - last / before))
            about = {"variant": variant, "boundary": boundary, "fell": fell}
            fits.append(about | {"at_rest": not fell > AT_REST})
    return fits


def _caveat(fits: Sequence[Mapping[str, Any]], variant: str, boundary: str) -> str:
    """What a claim must say of classifiers that were not trained to the end."""
    of_curve = [f for f in fits if (f["variant"], f["boundary"]) == (variant, boundary)]
    moving = sum(not fit["at_rest"] for fit in of_curve)
    if not moving:
        return ""
    return (
        f"{moving} of {len(of_curve)} fits were still improving when they ended: the "
        "accuracies are those of a short budget"
    )


def _curves(predictions: Predictions) -> dict[tuple[str, str], dict[float, np.ndarray]]:
    """(variant, boundary) -> p -> (S, N) predicted classes."""
    curves: dict[tuple[str, str], dict[float, np.ndarray]] = {}
    for (variant, boundary, p), predicted in predictions.items():
        curves.setdefault((variant, boundary), {})[p] = predicted
    return curves


def _right(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(S, N) 1 where right, as whole numbers."""
    return (predicted == labels).astype(np.int8)


def _gap(
    more: np.ndarray, less: np.ndarray, labels: np.ndarray, level: float = LEVEL
) -> Estimate:
    """Overall of some predictions minus that of others, paired."""
    weights = np.full(len(labels), 1 / len(labels))
    gap = _right(more, labels) - _right(less, labels)
    return estimate(gap, weights, labels, level)


def _side_weights(labels: np.ndarray, head: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of Head and Tail: means over classes, as those of Many and Few."""
    weights = accuracy_weights(labels, np.where(head, MANY_ABOVE + 1, FEW_BELOW - 1))
    return {"head": weights["many"], "tail": weights["few"]}
