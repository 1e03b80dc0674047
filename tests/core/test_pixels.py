"""What weights say of their pixels, and when that is what a network sees."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replication.core.files import write_arrays
from replication.core.pixels import agreed, pixels_of
from replication.core.settings import Settings, load
from tests.made import write_params

ROOT = Path(__file__).resolve().parents[2]
HALF, IMAGENET = [0.5] * 3, [0.485, 0.456, 0.406]
LITE = "tf_efficientnet_lite0"
VIT = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings whose `own` has images, with changes by section."""

    def make(**changes: Mapping[str, Any]) -> Settings:
        (tmp_path / "params.yaml").unlink(missing_ok=True)
        write_params(tmp_path, {"inputs": {"own": {"images": str(tmp_path)}}})
        return load(write_params(tmp_path, changes))

    return make


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of weights, of which nothing is read here."""
    (tmp_path / "weights.pth").touch()
    return str(tmp_path / "weights.pth")


def view(settings: Settings, *names: str) -> list[Any]:
    return [getattr(settings.images("own"), name) for name in names]


def test_a_file_of_lite0_comes_with_its_own_pixels(weights, settings) -> None:
    """The facts: mean and std 0.5, bicubic, crop 0.875 of 256 pixels."""
    used = settings(backbone={"network": LITE, "pretrained": weights})
    assert used.images("own").model_dump() == {
        "network": LITE,
        "image_size": 224,
        "resize": 256,
        "interpolation": "bicubic",
        "mean": HALF,
        "std": HALF,
    }
    assert used.choices("own", "view", ("mean",))["mean"].origin == "input"


def test_params_yaml_wins_and_the_shorter_side_goes_with_the_size(
    weights, settings
) -> None:
    used = settings(
        backbone={"network": LITE, "pretrained": weights},
        view={"image_size": 98, "mean": IMAGENET},
    )
    assert view(used, "image_size", "resize", "mean") == [98, 112, IMAGENET]
    assert used.own_pixels("own")["mean"] == HALF


def test_a_weight_tag_says_it_for_a_checkpoint_too(tmp_path, weights, settings) -> None:
    used = settings(backbone={"network": VIT})
    assert view(used, "mean", "interpolation") == [IMAGENET, "bilinear"]
    doors = {"images": str(tmp_path), "checkpoint": weights, "features": None}
    used = settings(backbone={"network": VIT}, inputs={"own": doors})
    assert view(used, "mean", "interpolation", "resize") == [HALF, "bicubic", 248]


def test_weights_of_the_recipes_own_network_come_with_its_pixels(
    tmp_path, weights
) -> None:
    """iNat18's published mean is not its ImageNet weights', and stays."""
    write_params(tmp_path, {"inputs": {"inat18": {"images": str(tmp_path)}}})
    published = [0.466, 0.471, 0.380]
    for pretrained in (None, "resnet50.tv_in1k", weights):
        params = write_params(tmp_path, {"backbone": {"pretrained": pretrained}})
        images = load(params).images("inat18")
        assert (images.mean, images.resize) == (published, 256)


def test_a_file_of_ours_says_it_of_itself(tmp_path, settings) -> None:
    path = tmp_path / "weights.safetensors"
    own = {"image_size": 32, "resize": 36, "mean": HALF, "std": [0.25] * 3}
    write_arrays(path, {"a": np.zeros(1)}, {"view": own | {"interpolation": "bicubic"}})
    used = settings(backbone={"pretrained": str(path)}, view={"image_size": 64})
    assert view(used, "resize", "std", "interpolation") == [72, [0.25] * 3, "bicubic"]


def test_where_a_networks_weights_differ_only_what_they_agree_on() -> None:
    """timm has ResNet-50s for several crops; all of one mean."""
    some = agreed(pixels_of("a/resnet50.pth", "resnet50"), None)
    assert some["mean"] == IMAGENET and "resize" not in some
    tagged = agreed(pixels_of("a/resnet50.pth", "resnet50.tv_in1k"), None)
    assert (tagged["resize"], tagged["interpolation"]) == (256, "bilinear")


def test_what_timm_takes_for_a_name_without_a_tag() -> None:
    default = agreed(pixels_of("resnet50", None), None)
    assert default == agreed(pixels_of("resnet50.a1_in1k", None), None)


def test_a_network_that_timm_does_not_know_says_nothing() -> None:
    assert agreed(pixels_of("a/weights.pth", "resnet32_cifar"), 32) == {}
