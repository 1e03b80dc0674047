"""PaCo: the loss against a loop, the queue by hand, resuming."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from replication.backbones.networks import build_network
from replication.backbones.paco import (
    Paco,
    PacoSettings,
    contrast_step,
    freeze_for_places,
    paco_loss,
    train_paco,
)
from replication.backbones.training import (
    History,
    learning_rate,
    make_fabric,
    validated,
)
from replication.core.state import read_state
from replication.images.batches import ImageSplit
from tests.backbones.made import (
    CPU,
    Killed,
    TwoProcesses,
    equal,
    images,
    paco_settings,
    silent,
)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric(CPU)


# --- the loss


def looped(
    class_logits: Tensor,
    queries: Tensor,
    contrast: Tensor,
    labels: Tensor,
    contrast_labels: Tensor,
    log_prior: Tensor,
    *,
    first: int,
    alpha: float,
    beta: float,
    gamma: float,
    temperature: float,
    supt: float,
) -> Tensor:
    """PaCo's loss read aloud: one row an anchor, one element at a time.

    Row [(head(f) + log prior) / supt ; q . (q, k, queue) / T]; positives weigh beta
    (own class) and alpha (same label, self masked); denominator the classes' exp plus
    gamma times the samples'; mean over positives divided by the sum of weights.
    """
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(queries)):
        row: list[Tensor] = []
        weights, shares = [], []
        for c in range(class_logits.shape[1]):
            row.append((class_logits[i, c] + log_prior[c]) / supt)
            weights.append(beta if c == labels[i] else 0.0)
            shares.append(1.0)
        for j in range(len(contrast)):
            row.append(sum(queries[i] * contrast[j]) / temperature)
            is_self = j == first + i
            alike = bool(contrast_labels[j] == labels[i])
            weights.append(alpha if alike and not is_self else 0.0)
            shares.append(0.0 if is_self else gamma)
        largest = max(float(value.detach()) for value in row)
        denominator = sum(
            share * (value - largest).exp()
            for share, value in zip(shares, row, strict=True)
        )
        log_prob = [value - largest - denominator.log() for value in row]
        mean = sum(w * value for w, value in zip(weights, log_prob, strict=True))
        total = total - mean / sum(weights)
    return total / len(queries)


def case(
    seed: int,
    batch: int = 4,
    classes: int = 3,
    queue: int = 5,
    dim: int = 3,
    first: int = 0,
) -> dict[str, Any]:
    """A batch, its keys and a queue; the batch stands at `first` of a larger one."""
    generator = torch.Generator().manual_seed(seed)

    def unit(number: int) -> Tensor:
        drawn = torch.randn(number, dim, generator=generator, dtype=torch.float64)
        return F.normalize(drawn, dim=1)

    def some_labels(number: int, low: int) -> Tensor:
        return torch.randint(low, classes, (number,), generator=generator)

    queries, labels = unit(batch), some_labels(batch, 0)
    around = some_labels(first, 0)
    parts = [unit(first), queries, unit(batch + queue)]
    their = [around, labels, labels, some_labels(queue, -1)]
    return {
        "class_logits": 3
        * torch.randn(batch, classes, generator=generator, dtype=torch.float64),
        "queries": queries,
        "contrast": torch.cat(parts),
        "labels": labels,
        "contrast_labels": torch.cat(their),
        "log_prior": torch.randn(classes, generator=generator, dtype=torch.float64),
        "first": first,
        "alpha": 0.05,
        "beta": 1.0,
        "gamma": 1.0,
        "temperature": 0.2,
        "supt": 1.0,
    }


WEIGHTS = [
    {},
    {"alpha": 0.01, "temperature": 0.05},
    {"alpha": 0.7, "beta": 0.3, "gamma": 0.4, "temperature": 0.5, "supt": 2.0},
    {"alpha": 0.0, "gamma": 2.5},
    {"gamma": 0.0},
]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    batch=st.integers(1, 5),
    classes=st.integers(1, 5),
    queue=st.integers(0, 4),
    dim=st.integers(1, 3),
    first=st.integers(0, 3),
    alpha=st.floats(0, 2),
    beta=st.floats(0.01, 2),
    gamma=st.floats(0.01, 2),
    temperature=st.floats(0.05, 2),
    supt=st.floats(0.1, 2),
)
def test_loss_of_any_small_case(
    seed, batch, classes, queue, dim, first, **weights
) -> None:
    given_ = case(seed, batch, classes, queue, dim, first) | weights
    torch.testing.assert_close(
        paco_loss(**given_), looped(**given_), rtol=1e-10, atol=1e-10
    )


def test_without_samples_it_is_balanced_softmax() -> None:
    given_ = case(1, batch=6) | {"alpha": 0.0, "gamma": 0.0, "beta": 0.4}
    adjusted = given_["class_logits"] + given_["log_prior"]
    expected = F.cross_entropy(adjusted, given_["labels"])
    torch.testing.assert_close(paco_loss(**given_), expected)


def leaves(given_: Mapping[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """Logits, queries and the rest of the contrast as leaves; queries stand in it."""
    first, batch = given_["first"], len(given_["queries"])
    logits = given_["class_logits"].clone().requires_grad_()
    queries = given_["queries"].clone().requires_grad_()
    rest = given_["contrast"].clone()
    contrast = torch.cat([rest[:first], queries, rest[first + batch :]])
    rest = {"class_logits": logits, "queries": queries, "contrast": contrast}
    return [logits, queries], {**given_, **rest}


@pytest.mark.parametrize("first", [0, 2])
def test_gradient_is_that_of_the_loop(first) -> None:
    """It also reaches a query where it is another query's contrast."""
    for seed, changes in enumerate(WEIGHTS):
        inputs, given_ = leaves(case(seed, first=first) | changes)
        got = torch.autograd.grad(paco_loss(**given_), inputs)
        inputs, given_ = leaves(case(seed, first=first) | changes)
        expected = torch.autograd.grad(looped(**given_), inputs)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_loss_is_stable_in_small_types(dtype) -> None:
    """Scores of ±20 and logits of ±200, under mixed precision: float32's accuracy."""
    given_ = case(4, batch=8, queue=20, dim=8) | {"temperature": 0.05}
    given_["class_logits"] = given_["class_logits"] * 60
    names = ("class_logits", "queries", "contrast", "log_prior")
    small = {name: given_[name].to(dtype) for name in names}
    exact = {name: small[name].double() for name in names}
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        got = paco_loss(**{**given_, **small})
    assert got.dtype == torch.float32
    torch.testing.assert_close(
        got.double(), looped(**{**given_, **exact}), rtol=1e-5, atol=1e-5
    )


# --- the encoders


def small(queue_size: int = 6, momentum: float = 0.75) -> Paco:
    return Paco(build_network("resnet8_cifar", 3, None, 0), 2, queue_size, momentum, 0)


def test_copy_follows_by_hand() -> None:
    """0.75 of its own weights, 0.25 of the network's; batch-norm statistics stay."""
    paco = small(momentum=0.75)
    for module in (paco.encoder_q, paco.projection_q):
        for weight in module.parameters():
            weight.data += torch.randn_like(weight)
    paco.encoder_q.bn1.running_mean += 1
    before = {name: value.clone() for name, value in paco.state_dict().items()}
    paco.follow()
    after = paco.state_dict()
    slow = [name for name, _ in paco.named_parameters() if "_k." in name]
    assert len(slow) == len(list(paco.parameters())) / 2
    for name in slow:
        expected = 0.75 * before[name] + 0.25 * before[name.replace("_k.", "_q.")]
        torch.testing.assert_close(after[name], expected)
        assert not torch.equal(after[name], before[name])
    for name in set(after) - set(slow):
        assert torch.equal(after[name], before[name])


def test_the_class_head_starts_as_pytorchs_linear_layers_do() -> None:
    """On CIFAR too, whose own start for cross-entropy is He's normal one.

    Uniform within 1 / sqrt(64): the largest of 300 lies near it, none beyond.
    """
    network = build_network("resnet8_cifar", 3, None, 0)
    assert network.fc.weight.abs().max() > 0.25
    head = Paco(network, 2, 6, 0.75, 0).encoder_q.fc
    for values in (head.weight, head.bias):
        assert values.abs().max() <= 0.125
    assert head.weight.abs().max() > 0.11
    assert Paco(network, 2, 6, 0.75, 1).encoder_q.fc.weight.std() > 0.05


# --- the queue


def test_queue_by_hand_wraps_around() -> None:
    paco = small(queue_size=6)
    start = paco.queue.clone()

    def put(value: float, labels: list[int]) -> None:
        paco.enqueue(torch.full((2, 2), value), torch.tensor(labels))

    put(1.0, [0, 1])
    assert torch.equal(paco.queue[:2], torch.ones(2, 2))
    assert torch.equal(paco.queue[2:], start[2:])
    assert paco.queue_labels.tolist() == [0, 1, -1, -1, -1, -1]
    assert paco.pointer == 2
    put(2.0, [2, 2])
    put(3.0, [1, 0])
    assert paco.pointer == 0
    put(4.0, [5, 6])
    assert paco.queue[:, 0].tolist() == [4, 4, 2, 2, 3, 3]
    assert paco.queue_labels.tolist() == [5, 6, 2, 2, 1, 0]
    assert paco.pointer == 2


def test_step_contrasts_with_the_queue_as_it_was(fabric) -> None:
    """Keys come from the copy after it followed, and enter the queue after the loss."""
    settings_ = paco_settings(batch_size=4)
    paco = small(queue_size=8, momentum=0.5).train()
    with torch.no_grad():
        for weight in paco.encoder_q.parameters():
            weight += 0.05 * torch.randn_like(weight)
    paco.queue_labels[:] = torch.tensor([0, 1, 2, -1, 0, 1, 2, -1])
    one, two = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    labels, log_prior = torch.tensor([2, 0, 0, 1]), torch.tensor([-1.0, -2.0, -0.5])
    twin = copy.deepcopy(paco)
    loss, logits = contrast_step(
        fabric, paco, paco, one, two, labels, torch.randperm(4), log_prior, settings_
    )
    expected_logits, queries = twin(one)
    twin.follow()
    keys = twin.keys(two)
    weights = ("alpha", "beta", "gamma", "temperature", "supt")
    expected = looped(
        expected_logits.double(),
        queries.double(),
        torch.cat([queries, keys, twin.queue]).double(),
        labels,
        torch.cat([labels, labels, twin.queue_labels]),
        log_prior.double(),
        first=0,
        **{name: getattr(settings_, name) for name in weights},
    )
    torch.testing.assert_close(logits, expected_logits.detach())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(paco.queue[:4], keys)
    assert torch.equal(paco.queue[4:], twin.queue[4:])
    assert paco.queue_labels.tolist() == [2, 0, 0, 1, 0, 1, 2, -1]


# --- freezing


# Of each network: some weights that train, and some that stay, by hand.
FREEZES = {
    "resnet26": (
        ("layer4.1.conv1.weight", "layer4.1.conv3.weight", "fc.weight"),
        ("conv1.weight", "layer3.1.conv2.weight", "layer4.0.downsample.0.weight"),
    ),
    "tf_efficientnet_lite0": (
        ("blocks.6.0.conv_pw.weight", "blocks.6.0.conv_pwl.weight", "conv_head.weight"),
        ("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.5.3.conv_pwl.weight"),
    ),
    "vit_tiny_patch16_224": (
        ("blocks.11.attn.qkv.weight", "blocks.11.mlp.fc2.bias", "head.weight"),
        ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.10.mlp.fc2.bias"),
    ),
    "convnext_atto": (
        ("stages.3.blocks.1.mlp.fc1.weight", "head.fc.weight"),
        ("stages.3.blocks.0.mlp.fc1.weight", "stages.3.downsample.1.weight"),
    ),
    "regnetx_002": (
        ("s4.b7.conv1.conv.weight", "head.fc.weight"),
        ("s4.b6.conv3.conv.weight", "stem.conv.weight"),
    ),
    "resnet14_cifar": (
        ("layer3.1.conv1.weight", "fc.weight"),
        ("layer3.0.conv1.weight", "conv1.weight"),
    ),
}


@pytest.mark.parametrize("name", FREEZES)
def test_the_last_block_of_the_last_stage_trains_and_what_comes_after(name) -> None:
    network = build_network(name, 3, None, 0)
    freeze_for_places(network)
    trains = {name: weight.requires_grad for name, weight in network.named_parameters()}
    training, staying = FREEZES[name]
    assert [trains[name] for name in (*training, *staying)] == [True] * len(
        training
    ) + [False] * len(staying)
    norms = [
        f"{name}.{part}"
        for name, module in network.named_modules()
        if "Norm" in type(module).__name__
        for part, _ in module.named_parameters(recurse=False)
    ]
    assert len(norms) > 5 and all(trains[name] for name in norms)


def test_resnet_152_freezes_as_pacos_own_rule_does() -> None:
    """Every convolution but layer4[-1]'s; nothing else."""
    with torch.device("meta"):
        network = build_network("resnet152", 3, None, 0)
    freeze_for_places(network)
    frozen = {n for n, w in network.named_parameters() if not w.requires_grad}
    assert frozen == {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith("layer4.2")
    }


def test_a_network_without_stages_cannot_be_frozen(refused) -> None:
    network = build_network("densenet121", 3, None, 0)
    assert refused(lambda: freeze_for_places(network)) == [
        "paco.freeze: expected a network of stages, such as a ResNet, an EfficientNet "
        "or a ViT, got DenseNet"
    ]


def test_frozen_weights_stay_where_they_were(fabric, tmp_path) -> None:
    settings_ = paco_settings(network="resnet10t", freeze=True, epochs=1, image_size=32)
    got, _ = train(fabric, settings_, tmp_path, images(32, side=32))
    start = build_network("resnet10t", 3, None, settings_.seed).state_dict()
    moved = {
        name for name, value in got.state_dict().items() if not value.equal(start[name])
    }
    assert {
        "layer4.0.conv1.weight",
        "bn1.weight",
        "bn1.running_mean",
        "fc.bias",
    } <= moved
    assert {"conv1.0.weight", "layer1.0.conv1.weight"}.isdisjoint(moved)


# --- training


def train(
    fabric: Fabric,
    settings_: PacoSettings,
    resume: Path,
    split: ImageSplit | None = None,
    val: ImageSplit | None = None,
    report: Any = silent,
) -> tuple[nn.Module, History]:
    split = split or images(64, 16)
    counts = torch.bincount(split.labels, minlength=3)
    return train_paco(fabric, split, val, 3, counts, settings_, 0, resume, report)


def final(folder: Path) -> dict[str, Any]:
    return read_state(folder / "state.pt")


def test_training_learns_what_is_easy(fabric, tmp_path) -> None:
    settings_ = paco_settings(epochs=8, query_view="cifar_sim", lr=0.1)
    val = images(30, 16, seed=1)
    network, rows = train(fabric, settings_, tmp_path, val=val)
    losses = [row["train_loss"] for row in rows]
    assert losses[-1] < losses[0] - 0.5
    assert [row["lr"] for row in rows] == [
        learning_rate(settings_, epoch) for epoch in range(8)
    ]
    assert rows[-1]["val_accuracy"] > 0.8
    again = validated(fabric, val, settings_, 0, network)
    assert again == {"val_accuracy": rows[-1]["val_accuracy"]}
    state = final(tmp_path)["model"]
    # 4 batches of 16 an epoch fill the queue of 32 again and again.
    assert state["queue_labels"].min() == 0 and state["pointer"] == 0
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[f"encoder_q.{name}"])


def test_resumed_run_equals_one_that_was_not_stopped(fabric, tmp_path) -> None:
    """Bit for bit: both encoders, queue, optimiser, history."""
    settings_ = paco_settings(epochs=3, queue_size=48)
    val = images(12, 16, seed=1)
    whole = train(fabric, settings_, tmp_path / "whole", val=val)
    told = []

    def report(epoch: int, _: int, __: Mapping[str, float]) -> None:
        told.append(epoch)
        if told in ([0, 1], [0, 1, 1, 2]):
            raise Killed

    resume = tmp_path / "resumed"
    for seed in (3, 4):
        torch.manual_seed(seed)
        with pytest.raises(Killed):
            train(fabric, settings_, resume, val=val, report=report)
    torch.manual_seed(5)
    resumed = train(fabric, settings_, resume, val=val, report=report)
    assert told == [0, 1, 1, 2, 2]
    assert resumed[1] == whole[1]
    assert equal(resumed[0].state_dict(), whole[0].state_dict())
    assert equal(final(tmp_path / "whole"), final(resume))


# --- refusals


def test_sizes_that_do_not_fit_are_refused(tmp_path, refused) -> None:
    def problems(**changes: Any) -> list[str]:
        return refused(
            lambda: train(TwoProcesses(), paco_settings(**changes), tmp_path)
        )

    for batch in (15, 2, 66):
        line = (
            "paco.batch_size: expected a multiple of the 2 devices, at least 2 for "
            f"each and at most the 64 training images, got {batch}"
        )
        assert problems(batch_size=batch, queue_size=2 * batch) == [line]
    assert problems(queue_size=40) == [
        "paco.queue_size: expected a multiple of the batch size 16, got 40"
    ]
