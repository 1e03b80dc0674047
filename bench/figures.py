"""What is measured: each figure builds its data, then hands back the work to time.

    python -m bench.figures NAME WAY DEVICE REPEATS KEY=VALUE ...

is one figure done one way in a process of its own, as a line of JSON.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import torch
from nflows.transforms import BatchNorm, MaskedAffineAutoregressiveTransform
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench import loading, references
from bench.measuring import as_json, measure_ceilings, take
from replication.backbones.networks import build_network, features_of
from replication.cascade import drawn_terms
from replication.classifiers.fitting import Problem, fit_classifier
from replication.classifiers.heads import Rows, Term, log_prior
from replication.core.device import pick_device
from replication.core.settings import ClassifierSettings, FilterSettings
from replication.flow_filter.fitting import latents, objective_terms, read_clusters
from replication.flow_filter.flow import (
    NUM_BLOCKS,
    AffineAutoregressive,
    BatchNormTransform,
    FlowFilter,
    TriangularLinear,
)

Size = Mapping[str, int]
Work = Callable[[], Any]
Build = Callable[[Size, torch.device], Work]
SUITE = "suite"


class Figure(NamedTuple):
    """Ways to do one thing, and what each must at least do.

    Fields: `ways` build their data when called and return the work; `operations` of the
    dense products that the equations ask for, masks ignored; `moved` bytes that cannot
    but be read or written.
    """

    ways: Mapping[str, Build]
    operations: Callable[[Size], float]
    moved: Callable[[Size], float]


# --- Flow Filter


def _filter_settings(size: Size) -> FilterSettings:
    return FilterSettings(
        lambda_mle=1.0, lambda_bal=2.0, lambda_pure=0.03, num_clusters=size["K"],
        sigma=0.05, eta=0.7, weight_exponent=2.0, lr=0.1, batch_size=size["B"],
        epochs=1,
    )  # fmt: skip


def _flow(size: Size, device: torch.device) -> FlowFilter:
    generator = torch.Generator().manual_seed(0)
    return FlowFilter(size["D"], size["K"], 0.05, generator).to(device)


def _plain_flow(size: Size, device: torch.device) -> tuple[nn.Module, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = 0.05 * torch.randn(size["K"], size["D"], generator=generator)
    return references.plain_flow(size["D"]).to(device), centres.to(device)


def without(kind: str, flow: FlowFilter) -> FlowFilter:
    """The same filter with one of the suite's own operations done by autograd.

    Args:
        kind: `triangular products`, `affine gradient` or `batch-norm gradient`.
    """
    for module in flow.modules():
        if kind == "triangular products" and isinstance(module, TriangularLinear):
            module.forward = MethodType(_masked, module)
        if kind == "affine gradient" and isinstance(module, AffineAutoregressive):
            plain = MaskedAffineAutoregressiveTransform._elementwise_forward
            module._elementwise_forward = MethodType(plain, module)
        if kind == "batch-norm gradient" and isinstance(module, BatchNormTransform):
            module.forward = MethodType(BatchNorm.forward, module)
    return flow


def _masked(layer: TriangularLinear, inputs: Tensor) -> Tensor:
    return F.linear(inputs, layer.weight * layer.mask, layer.bias)


OWN_OPERATIONS = ("triangular products", "affine gradient", "batch-norm gradient")
Objective = Callable[..., tuple[Tensor, Tensor]]


def _step(
    objective: Objective, network: nn.Module, size: Size, device: torch.device
) -> Work:
    """Objective, gradient and update, on the same pair of batches."""
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(2, size["B"], size["D"], generator=generator).to(device)
    weights = torch.full((size["B"],), 1 / 365, device=device)
    settings = _filter_settings(size)
    optimiser = torch.optim.SGD(network.parameters(), lr=settings.lr)
    scale = torch.tensor([1.0, 2.0, 0.03], device=device)
    state = {"share": torch.zeros(size["K"], device=device), "step": 0}

    def step() -> None:
        state["step"] += 1
        terms, state["share"] = objective(
            pair, weights, state["share"], state["step"], settings
        )
        optimiser.zero_grad(set_to_none=True)
        (terms @ scale).backward()
        optimiser.step()

    return step


def _filter_step(size: Size, device: torch.device, *left_out: str) -> Work:
    flow = _flow(size, device)
    for kind in left_out:
        without(kind, flow)
    return _step(
        lambda pair, *rest: objective_terms(flow, *pair, *rest), flow, size, device
    )


def _plain_filter_step(
    size: Size, device: torch.device, square: references.Square
) -> Work:
    transform, centres = _plain_flow(size, device)

    def objective(pair: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return references.objective(transform, centres, tuple(pair), *rest, square)

    return _step(objective, transform, size, device)


def _features(size: Size, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(size["N"], size["D"], generator=generator).to(device)


def _read(size: Size, device: torch.device) -> Work:
    features, flow = _features(size, device), _flow(size, device)
    return lambda: read_clusters(flow, features)


def _plain_read(size: Size, device: torch.device, square: references.Square) -> Work:
    features = _features(size, device)
    transform, centres = _plain_flow(size, device)
    return lambda: references.read(transform, centres, features, square)


def flow_operations(size: Size) -> float:
    """Of one sample's way forward: both MADEs, and the products with the centres."""
    return 2 * (NUM_BLOCKS * 4 * size["D"] ** 2 + size["K"] * size["D"])


def _flow_bytes(size: Size) -> float:
    return 2 * flow_operations(size)


# --- classifiers


def _labels(size: Size, device: torch.device) -> Tensor:
    """Long-tailed, every class at least once."""
    place = torch.linspace(0, 1, size["N"]).pow(3) * (size["C"] - 1)
    labels = torch.cat([torch.arange(size["C"]), place.long()])
    return labels[: size["N"]].to(device)


def _clusters(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Class frequencies (K, C), and the cluster of each sample (N,)."""
    generator = torch.Generator().manual_seed(3)
    table = torch.rand(size["K"], size["C"], generator=generator)
    cluster = torch.randint(size["K"], (size["N"],), generator=generator)
    return (table / table.sum(1, keepdim=True)).to(device), cluster.to(device)


def _fit(inputs: list[Rows], size: Size, device: torch.device) -> Any:
    """An epoch of the first input's head and drawn terms for the others."""
    labels = _labels(size, device)
    classes = size["C"]
    weight = torch.zeros(classes, size["D"], device=device)
    head = Term(weight, torch.zeros(classes, device=device))
    generator = torch.Generator().manual_seed(0)
    terms = [head, *drawn_terms(inputs[1:], classes, generator, head)]
    counts = labels.bincount(minlength=classes)
    settings = ClassifierSettings(
        lr=1e-4, batch_size=size["B"], epochs=1, evaluate_every=1
    )
    return fit_classifier(Problem(terms, inputs, labels, counts, None, 0), settings)


def _plain_epoch(size: Size, device: torch.device) -> Work:
    features = _features(size, device)
    return lambda: _fit([Rows(features)], size, device)


def _aided_epoch(size: Size, device: torch.device) -> Work:
    features, (table, cluster) = _features(size, device), _clusters(size, device)
    inputs = [Rows(features), Rows(features.flip(0)), Rows(table, cluster)]
    return lambda: _fit(inputs, size, device)


def _aided_memory(size: Size, device: torch.device) -> Work:
    """From features to a fitted cluster-aided classifier, latents included."""
    features, (table, cluster) = _features(size, device), _clusters(size, device)
    flow = _flow(size, device)

    def work() -> None:
        z = latents(flow, features)
        some = torch.arange(20 * size["B"], device=device)
        inputs = [Rows(features, some), Rows(z, some), Rows(table, cluster[some])]
        _fit(inputs, {**size, "N": len(some)}, device)

    return work


def _reference_epoch(size: Size, device: torch.device, aided: bool) -> Work:
    """Inputs are made in the timed work: (N, D_in) is the reference's own memory."""
    features, (table, cluster) = _features(size, device), _clusters(size, device)
    labels, classes = _labels(size, device), size["C"]
    width = 2 * size["D"] + classes if aided else size["D"]
    layer = nn.Linear(width, classes).to(device)
    log_counts = log_prior(labels.bincount(minlength=classes))
    order = torch.randperm(size["N"], device=device)

    def work() -> None:
        inputs = features
        if aided:
            inputs = torch.cat([features, features.flip(0), table[cluster]], 1)
        references.classifier_epoch(
            layer, inputs, labels, order, log_counts, 1e-4, size["B"]
        )

    return work


def _epoch_operations(width: int, size: Size) -> float:
    """Logits and gradient of `width` terms of D inputs each; clusters cost no more."""
    return 4 * size["N"] * size["C"] * width * size["D"]


def _epoch_bytes(width: int, size: Size) -> float:
    """The weights, read for the logits, read and written for the update, each step."""
    return 3 * 4 * -(-size["N"] // size["B"]) * size["C"] * width * size["D"]


# --- networks


def _network(size: Size, device: torch.device) -> tuple[nn.Module, Tensor]:
    network = build_network(f"resnet{size['layers']}", 100, None, seed=0).to(device)
    pixels = torch.randn(size["B"], 3, size["pixels"], size["pixels"], device=device)
    return network, pixels


def _extraction(size: Size, device: torch.device) -> Work:
    """As `extract_features` does it, without decoding."""
    network, pixels = _network(size, device)
    network = network.eval().to(memory_format=torch.channels_last)
    pixels = pixels.to(memory_format=torch.channels_last)
    return torch.inference_mode()(lambda: features_of(network, pixels))


def _plain_extraction(size: Size, device: torch.device) -> Work:
    """One image after the other, in PyTorch's default layout."""
    network, pixels = _network(size, device)
    network.eval()
    return torch.no_grad()(lambda: [features_of(network, x) for x in pixels.split(1)])


def _training_step(size: Size, device: torch.device) -> Work:
    """Forward, backward and SGD of cross-entropy, without loading."""
    network, pixels = _network(size, device)
    labels = torch.arange(size["B"], device=device) % 100
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        loss = F.cross_entropy(network(pixels), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def _network_operations(size: Size) -> float:
    """Of a batch forward, counted by PyTorch on the network itself."""
    with torch.device("meta"):
        network = build_network(f"resnet{size['layers']}", 2, None, seed=0).eval()
        pixels = torch.empty(1, 3, size["pixels"], size["pixels"])
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        features_of(network, pixels)
    return float(size["B"] * counter.get_total_flops())


def _nothing(size: Size) -> float:
    return 0.0


_SQUARES = {"nflows": references.expanded, "differences": references.differences}
FIGURES = {
    "filter step": Figure(
        {SUITE: _filter_step}
        | {way: partial(_plain_filter_step, square=f) for way, f in _SQUARES.items()}
        | {
            f"without {kind}": lambda size, device, kind=kind: _filter_step(
                size, device, kind
            )
            for kind in OWN_OPERATIONS
        },
        # Both batches forward, and the gradient twice that.
        lambda size: 6 * size["B"] * flow_operations(size),
        # Weights and their gradients, read and written once in each of three passes.
        lambda size: 6 * _flow_bytes(size),
    ),
    "likelihood pass": Figure(
        {SUITE: _read}
        | {way: partial(_plain_read, square=f) for way, f in _SQUARES.items()},
        lambda size: size["N"] * flow_operations(size),
        _flow_bytes,
    ),
    "aided epoch": Figure(
        {SUITE: _aided_epoch, "plain": partial(_reference_epoch, aided=True)},
        partial(_epoch_operations, 2),
        partial(_epoch_bytes, 2),
    ),
    "plain epoch": Figure(
        {SUITE: _plain_epoch, "plain": partial(_reference_epoch, aided=False)},
        partial(_epoch_operations, 1),
        partial(_epoch_bytes, 1),
    ),
    "latents and 20 aided steps": Figure({SUITE: _aided_memory}, _nothing, _nothing),
    "training step": Figure(
        {SUITE: _training_step}, lambda size: 3 * _network_operations(size), _nothing
    ),
    "extraction": Figure(
        {SUITE: _extraction, "plain": _plain_extraction}, _network_operations, _nothing
    ),
    **{
        name: Figure({SUITE: ours, "plain": plain}, _nothing, _nothing)
        for name, (ours, plain) in loading.WAYS.items()
    },
}


def main(arguments: list[str]) -> None:
    """One figure, measured beside the ceilings."""
    name, way, device_word, repeats, *sizes = arguments
    device = pick_device(device_word)
    size = {key: int(value) for key, value in (one.split("=") for one in sizes)}
    taken = take(FIGURES[name].ways[way](size, device), int(repeats), device)
    print(as_json(taken, measure_ceilings(device)))


if __name__ == "__main__":
    main(sys.argv[1:])
