"""Released weights: every format, bit for bit; what does not fit; what would run."""

import argparse
import copy
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from replication.backbones import checkpoints
from replication.backbones.checkpoints import Imported, _scaled, read_checkpoint
from replication.backbones.networks import build_network, features_of
from replication.core.files import read_state, write_arrays

CLASSES = 7
SMALL = "resnet8_cifar"  # 59 keys: 48 of the body, 9 counters, 2 of the head


def unlike_fresh(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every weight and statistic, so that one that is not loaded shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(12)
        elif value.ndim == 1:
            value.uniform_(0.5, 1.5, generator=generator)
        else:
            spread = value[0].numel() ** -0.5
            value.normal_(0, spread, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's network, whose names, order and shapes PaCo and Decouple share."""
    return unlike_fresh(torchvision.models.resnet18(num_classes=CLASSES))


@pytest.fixture(scope="module")
def little() -> nn.Module:
    """The same layouts around a network that takes no time."""
    return unlike_fresh(build_network(SMALL, CLASSES, None, seed=1))


@pytest.fixture(scope="module", params=["resnet18", SMALL])
def backbone(request) -> nn.Module:
    return request.getfixturevalue(
        "theirs" if request.param == "resnet18" else "little"
    )


def name_of(backbone: nn.Module) -> str:
    return "resnet18" if isinstance(backbone, torchvision.models.ResNet) else SMALL


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True, scope="module")
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


class PaCo(nn.Module):
    """What PaCo trains: query and key encoders with projections, head, queue."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.encoder_q = copy.deepcopy(backbone)
        self.linear = self.encoder_q.fc
        width = self.linear.in_features
        self.encoder_q.fc = nn.Sequential(
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 16),
        )
        self.encoder_k = unlike_fresh(copy.deepcopy(self.encoder_q), seed=5)
        self.register_buffer("queue", torch.randn(32, 16))
        self.register_buffer("queue_l", torch.zeros(32, dtype=torch.long))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


def paco(backbone: nn.Module, prefix: bool = True) -> dict[str, Any]:
    """As `paco_lt.py` saves it, optimiser and all."""
    model = PaCo(backbone)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    return {
        "epoch": 400,
        "arch": "resnet18",
        "acc": torch.tensor([57.0]),
        "state_dict": (nn.DataParallel(model) if prefix else model).state_dict(),
        "optimizer": optimizer.state_dict(),
    }


class Decoupled(nn.Module):
    """Decouple's classifier; with scales it is the one of LWS."""

    def __init__(self, head: nn.Linear, scales: Tensor | None = None) -> None:
        super().__init__()
        self.fc = copy.deepcopy(head)
        if scales is not None:
            self.scales = nn.Parameter(scales)


def decouple(
    backbone: nn.Module, scales: Tensor | None = None, prefix: bool = True
) -> dict[str, Any]:
    """What Decouple keeps under `state_dict_best` and `state_dict`."""
    features = copy.deepcopy(backbone)
    head = features.fc
    del features.fc
    classifier = Decoupled(head, scales)
    parts = {"feat_model": features, "classifier": classifier}
    if prefix:
        parts = {name: nn.DataParallel(part) for name, part in parts.items()}
    return {name: part.state_dict() for name, part in parts.items()}


def best(parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": 90,
        "best_epoch": 88,
        "state_dict_best": parts,
        "best_acc": 0.495,
        "centroids": None,
    }


def saved(content: Any, path: Path, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def loaded(imported: Imported, name: str) -> nn.Module:
    """A network that loads the state strictly, so that no key is left or missing."""
    network = build_network(name, CLASSES, None, seed=9)
    network.load_state_dict(imported.state, strict=True)
    return network.eval()


def pooled(backbone: nn.Module, pixels: Tensor) -> Tensor:
    """Features, by taking the head away."""
    bare = copy.deepcopy(backbone)
    bare.fc = nn.Identity()
    return bare(pixels)


def assert_same(imported: Imported, backbone: nn.Module, pixels: Tensor) -> None:
    network = loaded(imported, name_of(backbone))
    assert torch.equal(network(pixels), backbone(pixels))
    assert torch.equal(features_of(network, pixels), pooled(backbone, pixels))
    assert imported.head is not None
    weight, bias = imported.head
    assert torch.equal(weight, backbone.fc.weight)
    assert torch.equal(bias, backbone.fc.bias)


# --- every format


def test_paco(tmp_path: Path, backbone, pixels) -> None:
    path = saved(paco(backbone), tmp_path / "moco_ckpt.pth.tar")
    imported = read_checkpoint(path, name_of(backbone), CLASSES)
    assert imported.source == "PaCo"
    assert_same(imported, backbone, pixels)
    in_encoder = len(backbone.state_dict()) - 2 + 9
    assert imported.ignored == (
        "acc: not of the chosen weights",
        "arch: not of the chosen weights",
        "epoch: not of the chosen weights",
        "optimizer: not of the chosen weights",
        "encoder_q.fc.* (9 keys): projection, used by the contrastive loss only",
        f"encoder_k.* ({in_encoder} keys): momentum copy of the encoder",
        "queue* (3 keys): queue of the contrastive loss",
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_paco_however_it_was_saved(
    tmp_path: Path, little, pixels, wrapped, prefix, legacy
) -> None:
    content = paco(little, prefix)
    content = content if wrapped else content["state_dict"]
    imported = read_checkpoint(saved(content, tmp_path / "a", legacy), SMALL, CLASSES)
    assert imported.source == "PaCo"
    assert_same(imported, little, pixels)


def test_paco_as_safetensors(tmp_path: Path, little, pixels) -> None:
    path = tmp_path / "a.safetensors"
    save_file(paco(little)["state_dict"], path)
    imported = read_checkpoint(path, SMALL, CLASSES)
    assert imported.source == "PaCo"
    assert_same(imported, little, pixels)


def test_decouple(tmp_path: Path, backbone, pixels) -> None:
    path = saved(best(decouple(backbone)), tmp_path / "final_model_checkpoint.pth")
    imported = read_checkpoint(path, name_of(backbone), CLASSES)
    assert imported.source == "Decouple"
    assert_same(imported, backbone, pixels)
    assert imported.ignored == (
        "best_acc: not of the chosen weights",
        "best_epoch: not of the chosen weights",
        "centroids: not of the chosen weights",
        "epoch: not of the chosen weights",
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("which", ["best", "latest", "bare"])
def test_decouple_however_it_was_saved(
    tmp_path: Path, little, pixels, which, prefix, legacy
) -> None:
    parts = decouple(little, prefix=prefix)
    latest = {"epoch": 12, "state_dict": parts}
    content = {"best": best(parts), "latest": latest, "bare": parts}[which]
    imported = read_checkpoint(saved(content, tmp_path / "a", legacy), SMALL, CLASSES)
    assert imported.source == "Decouple"
    assert_same(imported, little, pixels)


def test_decouple_prefers_the_best_weights(tmp_path: Path, little, pixels) -> None:
    other = unlike_fresh(build_network(SMALL, CLASSES, None, 0), seed=3)
    content = best(decouple(little)) | {"state_dict": decouple(other)}
    imported = read_checkpoint(saved(content, tmp_path / "a.pth"), SMALL, CLASSES)
    assert_same(imported, little, pixels)
    assert "state_dict: not of the chosen weights" in imported.ignored


@pytest.mark.parametrize("flattened", [False, True])
def test_lws_scales_go_into_the_head(tmp_path: Path, little, pixels, flattened) -> None:
    """Powers of two scale without rounding, so that even here every bit agrees."""
    scales = 2.0 ** torch.arange(-3, 4)
    parts = decouple(little, scales)
    path = tmp_path / ("a.safetensors" if flattened else "a.pth")
    if flattened:
        save_file({**parts["feat_model"], **parts["classifier"]}, path)
    else:
        saved(best(parts), path)
    imported = read_checkpoint(path, SMALL, CLASSES)
    assert imported.source == "Decouple"
    assert torch.equal(loaded(imported, SMALL)(pixels), little(pixels) * scales)
    assert imported.head is not None
    assert torch.equal(imported.head[0], little.fc.weight * scales[:, None])
    assert torch.equal(imported.head[1], little.fc.bias * scales)


@examples(max_examples=50)
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6))
def test_folded_scales_scale_every_logit(values) -> None:
    scales = torch.tensor(values)
    generator = torch.Generator().manual_seed(len(values))
    head = nn.Linear(5, len(values))
    x = torch.randn(4, 5, generator=generator)
    weights = {"fc.weight": head.weight, "fc.bias": head.bias, "scales": scales}
    folded = _scaled(weights, "fc")
    assert folded.keys() == {"fc.weight", "fc.bias"}
    logits = x @ folded["fc.weight"].T + folded["fc.bias"]
    torch.testing.assert_close(logits, head(x) * scales, rtol=1e-5, atol=1e-5)


def test_torchvision(tmp_path: Path, theirs, pixels) -> None:
    path = saved(theirs.state_dict(), tmp_path / "any.pth")
    imported = read_checkpoint(path, "resnet18", CLASSES)
    assert imported.source == "torchvision" and imported.ignored == ()
    assert_same(imported, theirs, pixels)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_timm(tmp_path: Path, pixels, ending) -> None:
    network = unlike_fresh(timm.create_model("resnet18", num_classes=CLASSES), seed=4)
    path = tmp_path / f"model.{ending}"
    state = network.state_dict()
    save_file(state, path) if ending == "safetensors" else saved(state, path)
    imported = read_checkpoint(path, "resnet18", CLASSES)
    assert imported.source == "timm" and imported.ignored == ()
    assert torch.equal(loaded(imported, "resnet18")(pixels), network(pixels))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_flat_weights_however_they_were_saved(
    tmp_path: Path, little, pixels, ending, wrapper, prefix
) -> None:
    flat = {prefix + key: value for key, value in little.state_dict().items()}
    path = tmp_path / f"a.{ending}"
    if ending == "safetensors":
        save_file(flat, path)
    else:
        saved(flat if wrapper is None else {wrapper: flat, "epoch": 3}, path)
    imported = read_checkpoint(path, SMALL, CLASSES)
    assert_same(imported, little, pixels)
    left = wrapper is not None and ending == "pth"
    assert imported.ignored == ("epoch: not of the chosen weights",) * left


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("resnet8_cifar-f37072fd.pth", "torchvision"),
        ("resnet8_cifar-f37072fd.pt", "timm"),
        ("resnet8_cifar_a1-f37072fd.pth", "timm"),
        ("resnet14_cifar-f37072fd.pth", "timm"),
        ("resnet8_cifar.pth", "timm"),
    ],
)
def test_flat_weights_without_memory_are_known_by_name(
    tmp_path: Path, little, name, source
) -> None:
    path = saved(dict(little.state_dict()), tmp_path / name)
    assert read_checkpoint(path, SMALL, CLASSES).source == source


def test_flat_weights_are_known_by_their_modules(tmp_path: Path, theirs) -> None:
    """Even in a parallel wrapper, and whatever the file is called."""
    twin = timm.create_model("resnet18", num_classes=CLASSES)
    for network, source in ((theirs, "torchvision"), (twin, "timm")):
        state = nn.DataParallel(network).state_dict()
        path = saved({"state_dict": state}, tmp_path / "resnet18-00000000.pth")
        assert read_checkpoint(path, "resnet18", CLASSES).source == source


@pytest.mark.parametrize("network", [SMALL, "regnetx_002"])
def test_weights_of_our_backbone_stage(tmp_path: Path, network) -> None:
    trained = unlike_fresh(build_network(network, 4, None, seed=1))
    path = tmp_path / "weights.safetensors"
    write_arrays(path, trained.state_dict(), {"network": network, "classes": 4})
    imported = read_checkpoint(path, network, 4)
    assert imported.source == "ours" and imported.ignored == ()
    back = build_network(network, 4, None, seed=2).eval()
    back.load_state_dict(imported.state, strict=True)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(back(x), trained(x))
    head = trained.get_classifier()
    assert imported.head is not None
    assert torch.equal(imported.head[0], head.weight)
    assert torch.equal(imported.head[1], head.bias)


def test_weights_of_our_backbone_stage_of_a_tagged_network(
    tmp_path: Path, little
) -> None:
    path = tmp_path / "a.safetensors"
    about = {"network": f"{SMALL}.tv_in1k", "classes": CLASSES}
    write_arrays(path, little.state_dict(), about)
    assert read_checkpoint(path, SMALL, CLASSES).source == "ours"


@pytest.mark.parametrize("about", ["no JSON", "3", '{"network": "x"}'])
def test_a_foreign_note_does_not_make_weights_ours(
    tmp_path: Path, little, about
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(little.state_dict(), path, metadata={"about": about})
    assert read_checkpoint(path, SMALL, CLASSES).source == "timm"


@pytest.mark.parametrize("layout", ["flat", "PaCo", "Decouple"])
def test_without_a_head_the_backbone_alone(
    tmp_path: Path, little, pixels, layout
) -> None:
    bare = {k: v for k, v in little.state_dict().items() if not k.startswith("fc.")}
    state = paco(little)["state_dict"]
    content = {
        "flat": bare,
        "PaCo": {k: v for k, v in state.items() if ".linear." not in k},
        "Decouple": best({"feat_model": bare}),
    }[layout]
    imported = read_checkpoint(saved(content, tmp_path / "a.pth"), SMALL, 3)
    assert imported.head is None
    network = build_network(SMALL, 3, None, seed=9)
    answer = network.load_state_dict(imported.state, strict=False)
    assert answer.missing_keys == ["fc.weight", "fc.bias"]
    assert answer.unexpected_keys == []
    assert torch.equal(features_of(network.eval(), pixels), pooled(little, pixels))


def test_old_files_lack_the_counter_of_batches(tmp_path: Path, little, pixels) -> None:
    state = little.state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) == len(state) - 7
    path = saved(old, tmp_path / "a.pth")
    assert_same(read_checkpoint(path, SMALL, CLASSES), little, pixels)


def test_a_counter_of_batches_may_have_an_axis(tmp_path: Path, little, pixels) -> None:
    state = {
        k: v.reshape(-1) if v.ndim == 0 else v
        for k, v in dict(little.state_dict()).items()
    }
    path = saved(state, tmp_path / "a.pth")
    imported = read_checkpoint(path, SMALL, CLASSES)
    assert_same(imported, little, pixels)
    assert imported.state["bn1.num_batches_tracked"] == 12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_other_precisions_become_float32(tmp_path: Path, little, dtype, ending) -> None:
    state = copy.deepcopy(little).to(dtype).state_dict()
    path = tmp_path / f"a.{ending}"
    save_file(state, path) if ending == "safetensors" else saved(state, path)
    imported = read_checkpoint(path, SMALL, CLASSES)
    for name, value in little.state_dict().items():
        assert imported.state[name].dtype == value.dtype
        assert torch.equal(imported.state[name], state[name].to(value.dtype))


def test_keys_come_in_the_order_of_the_network(tmp_path: Path, little) -> None:
    backwards = dict(reversed(little.state_dict().items()))
    imported = read_checkpoint(saved(backwards, tmp_path / "a.pth"), SMALL, CLASSES)
    assert list(imported.state) == list(little.state_dict())


# --- what does not fit


@pytest.fixture
def small() -> dict[str, Tensor]:
    return dict(build_network(SMALL, 3, None, 0).state_dict())


def test_each_key_that_does_not_fit_is_named(tmp_path: Path, refused, small) -> None:
    small["bn1.weight"] = torch.zeros(17)
    del small["layer1.0.bn1.bias"]
    small["fc_add.weight"] = torch.zeros(2, 64)
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: bn1.weight: expected (16,), got (17,)",
        f"{path}: layer1.0.bn1.bias: expected (16,), got nothing",
        f"{path}: fc_add.weight: expected no such key, got (2, 64)",
    ]


@pytest.mark.parametrize(
    ("wrong", "more"), [(5, None), (6, "1 more key"), (8, "3 more keys")]
)
def test_five_keys_are_named_and_the_rest_counted(
    tmp_path: Path, refused, theirs, wrong, more
) -> None:
    state = dict(theirs.state_dict())
    names = [name for name, value in state.items() if value.shape == (64,)][:wrong]
    for name in names:
        state[name] = torch.zeros(65)
    path = saved(state, tmp_path / "a.pth")
    rest = [] if more is None else [f"{path}: {more} of 122 like these"]
    assert refused(lambda: read_checkpoint(path, "resnet18", CLASSES)) == [
        *(f"{path}: {name}: expected (64,), got (65,)" for name in names[:5]),
        *rest,
    ]


def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, refused, small
) -> None:
    small["layer1.0.conv1.weight"][0, 0, 0] = torch.nan
    small["fc.bias"][1] = torch.inf
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: layer1.0.conv1.weight: expected finite numbers, got 3 NaN or "
        "infinite",
        f"{path}: fc.bias: expected finite numbers, got 1 NaN or infinite",
    ]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("fc.weight", Tensor.long, "expected floating-point numbers, got int64"),
        (
            "fc.weight",
            lambda value: value.to(torch.complex64),
            "expected floating-point numbers, got complex64",
        ),
        ("fc.weight", Tensor.to_sparse, "expected plain numbers, got sparse_coo"),
        (
            "fc.weight",
            lambda value: torch.ones(1, 1).expand(value.shape),
            "expected plain numbers, got one number repeated",
        ),
        (
            "fc.bias",
            lambda value: torch.full((3,), 1e300, dtype=torch.float64),
            "expected finite numbers, got 3 NaN or infinite",
        ),
        (
            "bn1.running_var",
            lambda value: -2 * torch.ones_like(value),
            "expected numbers of at least 0, got -2",
        ),
    ],
)
def test_what_would_become_another_number_is_refused(
    tmp_path: Path, refused, small, name, change, problem
) -> None:
    """Cast to float32 it would be loaded without a word."""
    small[name] = change(small[name])
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: {name}: {problem}"
    ]


def test_half_a_head_is_refused(tmp_path: Path, refused, small) -> None:
    del small["fc.bias"]
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: fc.bias: expected (3,), got nothing"
    ]


def test_scales_of_other_classes_are_refused(tmp_path: Path, refused, little) -> None:
    path = saved(best(decouple(little, torch.ones(6))), tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, CLASSES)) == [
        f"{path}: scales: expected no such key, got (6,)"
    ]


def test_another_classifier_of_decouple_is_refused(
    tmp_path: Path, refused, little
) -> None:
    parts = decouple(little)
    parts["classifier"] = {"module.weight": torch.zeros(7, 64)}
    path = saved(best(parts), tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, CLASSES)) == [
        f"{path}: classifier.weight: expected no such key, got (7, 64)"
    ]


@pytest.mark.parametrize("layout", [lambda b: b.state_dict(), paco, decouple])
@pytest.mark.parametrize("classes", [6, 8, 1000])
def test_a_head_of_other_classes_is_refused(
    tmp_path: Path, refused, little, layout: Callable, classes
) -> None:
    content = layout(little)
    path = saved(content, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, classes)) == [
        f"{path}: expected a head of {classes} classes, got one of 7; a file without "
        "its head gives the backbone alone"
    ]


def test_classes_and_keys_are_refused_together(tmp_path: Path, refused, small) -> None:
    small["bn1.bias"] = torch.zeros(1)
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 1)) == [
        f"{path}: bn1.bias: expected (16,), got (1,)",
        f"{path}: expected a head of 1 class, got one of 3; a file without its head "
        "gives the backbone alone",
    ]


def test_a_head_of_another_width_is_a_key_that_does_not_fit(
    tmp_path: Path, refused, small
) -> None:
    small["fc.weight"], small["fc.bias"] = torch.zeros(4, 65), torch.zeros(4)
    path = saved(small, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: fc.weight: expected (3, 64), got (4, 65)",
        f"{path}: fc.bias: expected (3,), got (4,)",
    ]


@pytest.mark.parametrize(
    ("given_network", "wanted", "counts", "first"),
    [
        (
            "resnet14_cifar",
            SMALL,
            "0 keys missing, 30 unknown, 0 of another shape",
            "layer1.1.bn1.bias: expected no such key, got (16,)",
        ),
        (
            SMALL,
            "resnet14_cifar",
            "30 keys missing, 0 unknown, 0 of another shape",
            "layer1.1.bn1.bias: expected (16,), got nothing",
        ),
        (
            "resnet18",
            SMALL,
            "0 keys missing, 65 unknown, 35 of another shape",
            "bn1.bias: expected (16,), got (64,)",
        ),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(
    tmp_path: Path, refused, given_network, wanted, counts, first
) -> None:
    state = build_network(given_network, 3, None, 0).state_dict()
    path = saved(state, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, wanted, 3)) == [
        f"{path}: backbone.network: expected weights of {wanted}, got another "
        f"network's: {counts}; {first}"
    ]


def test_the_closest_two_resnets_are_told_apart(tmp_path: Path, refused) -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet101(num_classes=3).state_dict()
    zeros = {
        name: torch.zeros((), dtype=v.dtype).expand(v.shape)
        for name, v in state.items()
    }
    path = saved(zeros, tmp_path / "a.pth")
    (problem,) = refused(lambda: read_checkpoint(path, "resnet152", 3))
    assert problem == (
        f"{path}: backbone.network: expected weights of resnet152, got another "
        "network's: 255 keys missing, 0 unknown, 0 of another shape; "
        "layer2.4.bn1.bias: expected (128,), got nothing"
    )


def test_our_own_weights_name_their_network(tmp_path: Path, refused, small) -> None:
    path = tmp_path / "weights.safetensors"
    write_arrays(path, small, {"network": SMALL, "classes": 3})
    assert refused(lambda: read_checkpoint(path, "resnet14_cifar", 3)) == [
        f"{path}: backbone.network: expected weights of resnet14_cifar, got those of "
        f"{SMALL}"
    ]


def test_a_network_without_one_linear_head_is_refused(tmp_path: Path, refused) -> None:
    path = tmp_path / "a.pth"
    assert refused(lambda: read_checkpoint(path, "resnetv2_50", 3)) == [
        f"{path}: backbone.network: expected a network whose head is one linear layer "
        "with a bias, got resnetv2_50 with Conv2d(2048, 3, kernel_size=(1, 1), "
        "stride=(1, 1))"
    ]


def test_a_head_without_a_bias_is_refused(tmp_path: Path, refused, monkeypatch) -> None:
    network = build_network(SMALL, 3, None, 0)
    network.fc = nn.Linear(64, 3, bias=False)
    monkeypatch.setattr(checkpoints, "build_network", lambda *_, **__: network)
    path = tmp_path / "a.pth"
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: backbone.network: expected a network whose head is one linear layer "
        f"with a bias, got {SMALL} with Linear(in_features=64, out_features=3, "
        "bias=False)"
    ]


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({}, "nothing"),
        ({"epoch": 3}, "epoch"),
        ({"state_dict": {}, "epoch": 3}, "epoch, state_dict"),
        ({f"k{i}": i for i in range(7)}, "k0, k1, k2, k3, k4, 2 more"),
        ([torch.zeros(2)], "list"),
        (torch.zeros(2), "Tensor"),
    ],
)
def test_what_is_not_weights_is_refused(tmp_path: Path, refused, content, got) -> None:
    path = saved(content, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: expected weights by name, got {got}"
    ]


# --- files that cannot be opened, or must not be


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_missing_file_is_refused(tmp_path: Path, refused, name) -> None:
    path = tmp_path / name
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: expected a file, found nothing"
    ]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_refused(
    tmp_path: Path, refused, small, share, legacy
) -> None:
    path = saved(small, tmp_path / "a.pth", legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    problems = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problems == refused(lambda: read_state(path))
    assert problems[0].startswith(f"{path}: expected a file of plain tensors, got ")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_safetensors_is_refused(
    tmp_path: Path, refused, small, share
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(small, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    (problem,) = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problem.startswith(f"{path}: expected safetensors, got ")


def needs(path: Path, what: str) -> str:
    """The whole line for a file that would have to be run."""
    return (
        f"{path}: expected a file of plain tensors, got one that needs {what}; nothing "
        "in a file is run here: re-save its state_dict alone as .safetensors"
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("extra", "refused_class"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (np.float64(0.5), f"{np.float64(0).__reduce__()[0].__module__}.scalar"),
        (Path("logs"), f"{type(Path()).__module__}.{type(Path()).__name__}"),
    ],
    ids=["Namespace", "numpy", "Path"],
)
def test_what_is_more_than_tensors_is_refused_by_its_class(
    tmp_path: Path, refused, small, extra, refused_class, legacy
) -> None:
    path = saved({"state_dict": small, "extra": extra}, tmp_path / "a.pth", legacy)
    problems = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problems == [needs(path, refused_class)]


def test_a_whole_pickled_network_is_refused(tmp_path: Path, refused) -> None:
    path = saved(nn.Linear(2, 2), tmp_path / "a.pth")
    problems = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problems == [needs(path, "torch.nn.modules.linear.Linear")]


class Malicious:
    """Unpickling this makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle", "hidden"])
def test_a_malicious_file_is_refused_and_does_not_run(
    tmp_path: Path, refused, small, layout
) -> None:
    path, mark = tmp_path / "a.pth", tmp_path / "ran"
    content = {"state_dict": small, "acc": Malicious(mark)}
    if layout == "pickle":
        path.write_bytes(pickle.dumps(Malicious(mark), protocol=2))
    elif layout == "hidden":
        state = OrderedDict(small)
        state._metadata = {"": Malicious(mark)}
        saved(state, path)
    else:
        saved(content, path, legacy=layout == "legacy")
    problems = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problems == [needs(path, f"{os.name}.mkdir")]
    assert not mark.exists()
    if layout != "pickle":
        torch.load(path, weights_only=False)  # the file would have been harmful
        assert mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("protocol", "what"),
    [
        (0, f"{os.name}.mkdir"),
        (4, "instructions that torch.save never writes"),
        (5, "instructions that torch.save never writes"),
    ],
)
def test_a_malicious_pickle_of_any_protocol_does_not_run(
    tmp_path: Path, refused, protocol, what
) -> None:
    path, mark = tmp_path / "a.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Malicious(mark), protocol=protocol))
    problems = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problems == [needs(path, what)]
    assert not mark.exists()


def test_a_pickle_named_safetensors_does_not_run(tmp_path: Path, refused) -> None:
    path, mark = tmp_path / "a.safetensors", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Malicious(mark)))
    (problem,) = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert problem.startswith(f"{path}: expected safetensors, got ")
    assert not mark.exists()
