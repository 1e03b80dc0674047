"""cRT and LWS: balanced draws, gradients by hand, frozen networks."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from replication.backbones.networks import build_network
from replication.classifiers import decoupling
from replication.classifiers.decoupling import (
    class_aware_order,
    fit_crt,
    fit_lws,
    fit_on_images,
    lws_step,
    tau_normalised,
)
from replication.classifiers.heads import Term, drawn_term
from replication.core.settings import DecouplingSettings
from replication.images.batches import ImageSplit, normalise
from replication.samples.features import Samples
from tests.made import generator

CPU = torch.device("cpu")


def decoupling_settings(**changes: Any) -> DecouplingSettings:
    values = {
        "inputs": "features", "crt_epochs": 3, "lws_epochs": 2, "lr": 0.2,
        "momentum": 0.9, "weight_decay": 1e-2, "batch_size": 8, "samples_per_class": 2,
    }  # fmt: skip
    return DecouplingSettings(**(values | changes))


def labels_of(counts: list[int], seed: int = 0) -> Tensor:
    """Labels with these class counts, in random order."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator(seed))]


def made(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Classes of unit Gaussians around the corners of a simplex, float64."""
    labels = labels_of(counts, seed)
    noise = torch.randn(len(labels), len(counts), generator=generator(seed))
    return (noise + 1.5 * torch.eye(len(counts))[labels]).double(), labels


def a_head(classes: int, dimensions: int, seed: int = 5) -> Term:
    like = torch.empty(0, dtype=torch.float64)
    return drawn_term(classes, dimensions, generator(seed), like)


@pytest.fixture
def recorded(monkeypatch) -> dict[str, list[Any]]:
    """Orders and heads that are drawn while it is in use."""
    seen: dict[str, list[Any]] = {"class_aware_order": [], "drawn_term": []}

    def listening(name: str, drawn: Callable[..., Any]) -> Callable[..., Any]:
        def draw(*arguments: Any) -> Any:
            result = drawn(*arguments)
            seen[name].append(result)
            return result

        return draw

    for name in seen:
        listener = listening(name, getattr(decoupling, name))
        monkeypatch.setattr(decoupling, name, listener)
    return seen


# --- class_aware_order

DRAWS = st.tuples(
    st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any),
    st.integers(1, 5),
    st.integers(0, 200),
    st.integers(0, 2**31),
)


@settings(max_examples=60, deadline=None)
@given(DRAWS)
def test_classes_take_turns_and_samples_do(draws) -> None:
    """Every turn is of one class, every round has each class that has samples once.

    Pass after pass: n_c draws of class c are its n_c samples.
    """
    counts, per_class, length, seed = draws
    labels = labels_of(counts)
    order = class_aware_order(labels, per_class, length, generator(seed))
    assert len(order) == length
    turns = labels[order].split(per_class)
    assert all((turn == turn[0]).all() for turn in turns if len(turn))
    classes = torch.tensor([int(turn[0]) for turn in turns if len(turn)])
    there = [label for label, count in enumerate(counts) if count]
    for one_round in classes.split(len(there)):
        assert len(set(one_round.tolist())) == len(one_round)
        assert set(one_round.tolist()) <= set(there)
    for label in there:
        drawn = order[labels[order] == label]
        for one_pass in drawn.split(counts[label]):
            assert len(one_pass.unique()) == len(one_pass)


def test_classes_and_samples_are_drawn_evenly() -> None:
    """First class and its first sample over 3,000 seeds: 1/3 and 1/4, 4 deviations."""
    labels = torch.arange(3).repeat(4)
    first = torch.tensor(
        [int(class_aware_order(labels, 2, 1, generator(s))) for s in range(3_000)]
    )
    share = first.bincount(minlength=12) / 3_000
    assert (share - 1 / 12).abs().max() < 4 * math.sqrt(1 / 12 * 11 / 12 / 3_000)


# --- The tau-normalised classifier


def test_tau_normalised_worked() -> None:
    """Weights 4 and 1 long: a sample at (1, 1.9) is the second's if 4^(1-t) < 1.9.

    4^0.5 = 2 and 4^0.4 = 1.74: of the steps 0.6 is the smallest that decides both
    validation samples rightly; without any it is 1. The bias is dropped.
    """
    head = Term(torch.diag(torch.tensor([4.0, 1.0])).double(), torch.ones(2).double())
    features, labels = torch.tensor([[1.0, 1.9], [1.0, 0.5]]).double(), torch.arange(2)
    term, tau = tau_normalised(head, Samples(features, labels.flip(0)))
    assert tau == 0.6
    expected = torch.diag(torch.tensor([4.0, 1.0]).double() ** 0.4)
    torch.testing.assert_close(term.weight, expected)
    assert not term.bias.any()
    term, tau = tau_normalised(head, Samples(features[:0], labels[:0]))
    assert tau == 1
    torch.testing.assert_close(term.weight, torch.eye(2).double())


# --- LWS


def test_lws_steps_are_those_of_autograd() -> None:
    """Scales after 5 steps are PyTorch's own SGD's; float64, so 1e-12 is rounding."""
    features, labels = made([9, 6, 3], seed=1)
    head = a_head(3, 3)
    scales, buffer = torch.ones(2, 3).double()
    buffer.zero_()
    expected = nn.Parameter(torch.ones(3).double())
    optimiser = torch.optim.SGD([expected], lr=0.3, momentum=0.9, weight_decay=0.05)
    for step in range(5):
        some = torch.arange(step, step + 8)
        logits = F.linear(features[some], head.weight, head.bias) * expected
        loss = F.cross_entropy(logits, labels[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lws_step(scales, buffer, head, features[some], labels[some], 0.3, 0.9, 0.05)
        assert torch.allclose(scales, expected.detach(), rtol=0, atol=1e-12)
    assert (scales - 1).abs().min() > 1e-3


# --- cRT


def reference_crt(
    batches: list[tuple[Tensor, Tensor]], start: Term, setting: DecouplingSettings
) -> nn.Linear:
    """torch.nn.Linear, torch.optim.SGD and CosineAnnealingLR on the same batches."""
    layer = nn.Linear(start.weight.shape[1], len(start.weight), dtype=torch.float64)
    layer.load_state_dict({"weight": start.weight, "bias": start.bias})
    optimiser = torch.optim.SGD(
        layer.parameters(), setting.lr, setting.momentum, 0.0, setting.weight_decay
    )
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, setting.crt_epochs)
    steps = len(batches) // setting.crt_epochs
    for number, (features, labels) in enumerate(batches):
        optimiser.zero_grad()
        F.cross_entropy(layer(features), labels).backward()
        optimiser.step()
        if (number + 1) % steps == 0:
            cosine.step()
    return layer


def test_crt_is_pytorchs_linear_layer_and_sgd_on_the_same_draws(recorded) -> None:
    """3 epochs of 21 // 8 = 2 whole batches; float64, so 1e-12 is rounding."""
    features, labels = made([14, 5, 2], seed=1)
    setting = decoupling_settings()
    fitted = fit_crt(features, labels, 3, setting, 7)
    (order,), (start,) = recorded["class_aware_order"], recorded["drawn_term"]
    assert len(order) == 3 * 2 * 8
    batches = [(features[some], labels[some]) for some in order.split(8)]
    expected = reference_crt(batches, start, setting)
    assert torch.allclose(fitted.weight, expected.weight, rtol=0, atol=1e-12)
    assert torch.allclose(fitted.bias, expected.bias, rtol=0, atol=1e-12)
    assert (fitted.weight - start.weight).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["crt", "lws"])
def test_fits_follow_their_seed(kind: str) -> None:
    features, labels = made([40, 10, 3], seed=1)

    def fitted(seed: int) -> Term:
        if kind == "crt":
            return fit_crt(features, labels, 3, decoupling_settings(), seed)
        return fit_lws(features, labels, a_head(3, 3), decoupling_settings(), seed)

    first, again, other = (fitted(seed) for seed in (3, 3, 4))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize("kind", ["crt", "lws"])
def test_a_loss_that_is_not_finite_is_refused(kind: str, refused) -> None:
    features, labels = made([20, 20], seed=1)
    features[:] = float("nan")
    setting = decoupling_settings()
    fits = {
        "crt": lambda: fit_crt(features, labels, 2, setting, 0),
        "lws": lambda: fit_lws(features, labels, a_head(2, 2), setting, 0),
    }
    assert refused(fits[kind]) == [
        f"{kind}: the loss is not finite in epoch 1; a smaller decoupling.lr may help"
    ]


# --- images


def pictures(counts: list[int], seed: int = 0) -> ImageSplit:
    """Noise with one channel brighter for each of three classes."""
    labels = labels_of(counts, seed)
    pixels = torch.randint(
        100, (len(labels), 3, 8, 8), generator=generator(seed), dtype=torch.uint8
    )
    pixels[torch.arange(len(labels)), labels] += 60
    return ImageSplit(labels, pixels, ())


def small_network() -> nn.Module:
    return build_network("resnet8_cifar", 3, None, seed=0)


def test_statistics_move_with_the_batches_and_no_weight_does(
    backbone_settings, recorded
) -> None:
    """The head is that of features normalised by their own batch: PyTorch's loop."""
    train, network = pictures([20, 10, 5]), small_network()
    expected = copy.deepcopy(network).train()
    before = copy.deepcopy(network)
    images = backbone_settings(image_size=8, resize=8)
    setting = decoupling_settings()
    fitted = fit_on_images(
        "crt", network, train, 3, a_head(3, 64), setting, images, CPU, 0, seed=4
    )
    (order,), (start,) = recorded["class_aware_order"], recorded["drawn_term"]
    batches = []
    for some in order.split(8):
        with torch.no_grad():
            maps = expected.forward_features(normalise(train.pixels[some], images))
        pooled = expected.forward_head(maps, pre_logits=True)
        batches.append((pooled.double(), train.labels[some]))
    start = Term(start.weight.double(), start.bias.double())
    layer = reference_crt(batches, start, setting)
    # 12 steps of float32 against float64.
    assert torch.allclose(fitted.weight.double(), layer.weight, rtol=1e-3, atol=1e-4)
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before.get_parameter(name))
        assert weight.grad is None
    for name, value in network.named_buffers():
        there = expected.get_buffer(name)
        assert torch.allclose(value, there, rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, before.get_buffer(name))
    # 3 epochs of 35 // 8 = 4 batches.
    assert network.bn1.num_batches_tracked == 12
    assert not any(part.training for part in network.modules())
