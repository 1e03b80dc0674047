"""Networks and what they make of images: shapes, weights, features."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from replication.backbones.extraction import extract_augmented, extract_features
from replication.backbones.networks import (
    OptionABlock,
    build_network,
    check_network,
    features_of,
)
from replication.images.batches import ImageSplit, looked_at_once

CPU = torch.device("cpu")


def pixels(number: int = 5, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, 3, side, side, generator=generator)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def cifar_parameters(depth: int, classes: int) -> int:
    """He et al. (2016), Sect. 4.2: 3x3 convolutions, batch-norm, one linear layer."""

    def convolution(channels_in: int, channels_out: int) -> int:
        return channels_in * channels_out * 9 + 2 * channels_out

    blocks = (depth - 2) // 6
    total = convolution(3, 16)
    for channels_in, channels in ((16, 16), (16, 32), (32, 64)):
        total += convolution(channels_in, channels)
        total += (2 * blocks - 1) * convolution(channels, channels)
    return total + 64 * classes + classes


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44])
def test_cifar_resnet_has_6n_plus_2_layers(depth) -> None:
    network = build_network(f"resnet{depth}_cifar", 7, None, 0)
    assert num_parameters(network) == cifar_parameters(depth, 7)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_option_a_shortcut_strides_and_fills_with_zeros() -> None:
    """With convolutions that give nothing, a block is its shortcut and a ReLU."""
    block = OptionABlock(4, 8, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    y = block(x)
    assert y.shape == (2, 8, 3, 3)
    torch.testing.assert_close(y[:, 2:6], F.relu(x[:, :, ::2, ::2]))
    assert not y[:, :2].any() and not y[:, 6:].any()


# --- every network offers features and a head

NETWORKS = ("resnet8_cifar", "resnet10t", "test_convnext", "mobilenetv3_small_050")


@pytest.mark.parametrize("name", NETWORKS)
def test_head_on_features_is_the_network(name) -> None:
    network = build_network(name, 6, None, 0).eval()
    with torch.inference_mode():
        features = features_of(network, pixels())
        logits = network(pixels())
        again = network.get_classifier()(features)
    head = network.get_classifier()
    assert isinstance(head, nn.Linear) and head.out_features == 6
    assert features.shape == (5, head.in_features)
    torch.testing.assert_close(again, logits)


# --- weights follow the seed


@pytest.mark.parametrize("name", ["resnet8_cifar", "resnet10t"])
def test_weights_follow_the_seed_alone(name) -> None:
    torch.manual_seed(1)
    first = build_network(name, 6, None, 3).state_dict()
    torch.manual_seed(2)
    again = build_network(name, 6, None, 3).state_dict()
    other = build_network(name, 6, None, 4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if first[key].dim() > 1]
    assert drawn and not any(torch.equal(first[key], other[key]) for key in drawn)


# --- refusals


@pytest.mark.parametrize(
    ("name", "meant"),
    [("resnett50", "; did you mean resnet50?"), ("", ""), ("hf-hub:some/one", "")],
)
def test_unknown_network_is_refused(refused, name, meant) -> None:
    line = (
        "backbone.network: expected a timm network or resnet32_cifar, "
        f"got {name!r}{meant}"
    )
    assert refused(lambda: check_network(name)) == [line]
    assert refused(lambda: build_network(name, 5, None, 0)) == [line]


def test_weights_that_cannot_be_had_are_refused(refused, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host\nand a second line")

    monkeypatch.setattr(timm, "create_model", fail)
    tag = "resnet10t.c3_in1k"
    assert refused(lambda: build_network("resnet10t", 5, tag, 0)) == [
        f"backbone.pretrained: timm could not load {tag!r} (OSError); give "
        "inputs.<benchmark>.checkpoint or inputs.<benchmark>.features instead"
    ]


# --- extraction


def split(number: int) -> ImageSplit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        256, (number, 3, 32, 32), generator=generator, dtype=torch.uint8
    )
    return ImageSplit(torch.zeros(number, dtype=torch.int64), images, ())


def test_extraction_keeps_the_order_beyond_a_batch(backbone_settings) -> None:
    """Features of an image do not hang on the images beside it."""
    network, settings, images = (
        build_network("resnet8_cifar", 6, None, 0),
        backbone_settings(),
        split(300),
    )
    whole = extract_features(network, images, settings, CPU, 0)
    assert whole.shape == (300, 64)
    assert images.pixels is not None
    for row in (0, 255, 256, 299):
        one = ImageSplit(images.labels[:1], images.pixels[row : row + 1], ())
        alone = extract_features(network, one, settings, CPU, 0)
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-4, atol=1e-5)


def test_a_look_follows_from_its_seed_and_its_image(backbone_settings) -> None:
    """Not from the images around it; one that changes nothing gives plain features."""
    network = build_network("resnet8_cifar", 6, None, 0)
    images = split(40)

    def looked(view: Any, seed: int, rows: slice = slice(None)) -> np.ndarray:
        assert images.pixels is not None
        some = ImageSplit(images.labels[rows], images.pixels[rows], ())
        return extract_augmented(network, some, view, backbone_settings(), CPU, 0, seed)

    crop = v2.RandomResizedCrop(32, antialias=True)
    first = looked(crop, 7)
    np.testing.assert_array_equal(looked(crop, 7), first)
    assert not np.isclose(looked(crop, 8), first).all(1).any()
    np.testing.assert_allclose(looked(crop, 7, slice(9)), first[:9], rtol=1e-4)
    plain = extract_features(network, images, backbone_settings(), CPU, 0)
    np.testing.assert_array_equal(looked(v2.Identity(), 7), plain)


@pytest.mark.parametrize(
    ("side", "device", "number"),
    [(32, "cpu", 256), (96, "cpu", 28), (224, "cpu", 16), (224, "cuda", 256)],
)
def test_a_cpu_looks_at_few_large_images_at_once(side, device, number) -> None:
    """2^18 pixels, but for the least and the most images."""
    assert looked_at_once(side, torch.device(device)) == number
