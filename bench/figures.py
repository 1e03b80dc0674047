"""What is measured: each figure builds its data, then hands back the work to time.

    python -m bench.figures NAME WHOSE DEVICE REPEATS KEY=VALUE ...

is one figure in a process of its own, `ours` or the `reference`, as a line of JSON.
"""

import random
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import loading, references
from bench.measuring import as_json, measure_ceilings, take
from replication.backbones.networks import build_network, features_of
from replication.cascade import drawn_terms
from replication.classifiers.fitting import Problem, fit_classifier
from replication.classifiers.heads import Rows, Term, log_prior
from replication.core.settings import ClassifierSettings, FilterSettings
from replication.core.stage import pick_device
from replication.flow_filter.fitting import (
    PairDraws,
    fit_flow_filter,
    objective_terms,
    read_clusters,
)
from replication.flow_filter.flow import NUM_BLOCKS, FlowFilter

Size = Mapping[str, int]
Work = Callable[[], Any]


class Figure(NamedTuple):
    """The suite's work, the plain reference's, and what both must at least do.

    Fields: `ours` and `reference` build their data when called and return the work;
    `reference` None where there is no plainer way; `operations` of the dense products
    that the equations ask for, masks ignored; `moved` bytes that cannot but be read or
    written; `reference_mb` that the reference will need.
    """

    ours: Callable[[Size, torch.device], Work]
    reference: Callable[[Size, torch.device], Work] | None
    operations: Callable[[Size], float]
    moved: Callable[[Size], float]
    reference_mb: Callable[[Size], float]


# --- Flow Filter


def _filter_settings(size: Size, epochs: int = 1) -> FilterSettings:
    return FilterSettings(
        lambda_mle=1.0,
        lambda_bal=2.0,
        lambda_pure=0.03,
        num_clusters=size["K"],
        sigma=0.05,
        eta=0.7,
        weight_exponent=2.0,
        lr=0.1,
        batch_size=size["B"],
        epochs=epochs,
    )


def _pair(size: Size, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, size["B"], size["D"], generator=generator).to(device)
    return x[0], x[1], torch.full((size["B"],), 1 / 365, device=device)


def _flow(size: Size, device: torch.device) -> FlowFilter:
    generator = torch.Generator().manual_seed(0)
    return FlowFilter(size["D"], size["K"], 0.05, generator).to(device)


def _plain_flow(size: Size, device: torch.device) -> tuple[nn.Module, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = 0.05 * torch.randn(size["K"], size["D"], generator=generator)
    return references.plain_flow(size["D"]).to(device), centres.to(device)


def _labels(samples: int, classes: int) -> Tensor:
    """Long-tailed, every class at least once."""
    place = torch.linspace(0, 1, samples).pow(3) * (classes - 1)
    return torch.cat([torch.arange(classes), place.long()])[:samples]


def _filter_step(size: Size, device: torch.device) -> Work:
    flow, settings = _flow(size, device), _filter_settings(size)
    optimiser = torch.optim.SGD(flow.parameters(), lr=settings.lr)
    x_pos, x_neg, weights = _pair(size, device)
    scale = torch.tensor([1.0, 2.0, 0.03], device=device)
    state = {"share": torch.zeros(size["K"], device=device), "step": 0}

    def step() -> None:
        state["step"] += 1
        terms, state["share"] = objective_terms(
            flow, x_pos, x_neg, weights, state["share"], state["step"], settings
        )
        optimiser.zero_grad(set_to_none=True)
        (terms @ scale).backward()
        optimiser.step()

    return step


def _plain_filter_step(size: Size, device: torch.device) -> Work:
    transform, centres = _plain_flow(size, device)
    step = references.filter_step(transform, centres, _filter_settings(size))
    pair = _pair(size, device)
    return lambda: step(*pair)


def _samples(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(size["N"], size["D"], generator=generator)
    labels = _labels(size["N"], size.get("C", 2))
    return features.to(device), labels.to(device)


def _filter_epoch(size: Size, device: torch.device) -> Work:
    features, labels = _samples(size, device)
    return lambda: fit_flow_filter(features, labels, _filter_settings(size), seed=0)


def _plain_filter_epoch(size: Size, device: torch.device) -> Work:
    features, labels = _samples(size, device)
    transform, centres = _plain_flow(size, device)
    step = references.filter_step(transform, centres, _filter_settings(size))
    by_class: dict[int, list[int]] = {}
    for sample, label in enumerate(labels.tolist()):
        by_class.setdefault(label, []).append(sample)
    generator = random.Random(0)
    weights = torch.full((size["B"],), 1 / len(by_class), device=device)

    def epoch() -> None:
        transform.train()
        for _ in range(-(-size["N"] // size["B"])):
            one, other = references.draw_pairs(by_class, size["B"], generator)
            step(features[one], features[other], weights)
        references.read(transform, centres, features)

    return epoch


def _read(size: Size, device: torch.device) -> Work:
    features, _ = _samples(size, device)
    flow = _flow(size, device)
    return lambda: read_clusters(flow, features)


def _plain_read(size: Size, device: torch.device) -> Work:
    features, _ = _samples(size, device)
    transform, centres = _plain_flow(size, device)
    return lambda: references.read(transform, centres, features)


def _draws(size: Size, device: torch.device) -> Work:
    labels = _labels(size["N"], size["C"]).to(device)
    draws = PairDraws(labels, torch.Generator(device).manual_seed(0))
    return lambda: list(draws.epoch(size["B"]))


def _plain_draws(size: Size, device: torch.device) -> Work:
    by_class: dict[int, list[int]] = {}
    for sample, label in enumerate(_labels(size["N"], size["C"]).tolist()):
        by_class.setdefault(label, []).append(sample)
    generator = random.Random(0)
    return lambda: references.draw_pairs(by_class, size["N"], generator)


def flow_operations(size: Size) -> float:
    """Of one sample's way forward: both MADEs, and the products with the centres."""
    return 2 * (NUM_BLOCKS * 4 * size["D"] ** 2 + size["K"] * size["D"])


def _flow_bytes(size: Size) -> float:
    return 4 * (NUM_BLOCKS * 4 * size["D"] ** 2 + size["K"] * size["D"])


def _step_operations(size: Size) -> float:
    """Both batches forward, and the gradient twice that."""
    return 3 * 2 * size["B"] * flow_operations(size)


def _step_bytes(size: Size) -> float:
    """Weights and their gradients, read and written once in each of three passes."""
    return 6 * _flow_bytes(size)


def _differences_mb(size: Size) -> float:
    """z - mu of both batches, kept for the gradient, and two more while it is made."""
    return 4 * size["B"] * size["K"] * size["D"] * 4 / 2**20


def _steps(size: Size) -> int:
    return -(-size["N"] // size["B"])


# --- classifiers


def _classifier_settings(size: Size) -> ClassifierSettings:
    return ClassifierSettings(lr=1e-4, batch_size=size["B"], epochs=1, evaluate_every=1)


def _aided(size: Size, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """x, z (N, D), class frequencies (K, C), and the cluster of each sample."""
    generator = torch.Generator().manual_seed(3)
    x, z = torch.randn(2, size["N"], size["D"], generator=generator)
    table = torch.rand(size["K"], size["C"], generator=generator)
    cluster = torch.randint(size["K"], (size["N"],), generator=generator)
    table = table / table.sum(1, keepdim=True)
    return [part.to(device) for part in (x, z, table)], cluster.to(device)


def _head(size: Size, device: torch.device) -> Term:
    weight = torch.zeros(size["C"], size["D"], device=device)
    return Term(weight, torch.zeros(size["C"], device=device))


def _classifier_epoch(
    inputs: list[Rows], terms: list[Any], size: Size, device: torch.device
) -> Work:
    labels = _labels(size["N"], size["C"]).to(device)
    counts = labels.bincount(minlength=size["C"])
    settings = _classifier_settings(size)
    problem = Problem(terms, inputs, labels, counts, None, seed=0)
    return lambda: fit_classifier(problem, settings)


def _aided_epoch(size: Size, device: torch.device) -> Work:
    (x, z, table), cluster = _aided(size, device)
    inputs = [Rows(x), Rows(z), Rows(table, cluster)]
    head = _head(size, device)
    generator = torch.Generator().manual_seed(0)
    terms = [head, *drawn_terms(inputs[1:], size["C"], generator, head)]
    return _classifier_epoch(inputs, terms, size, device)


def _plain_epoch(size: Size, device: torch.device) -> Work:
    (x, _, _), _ = _aided(size, device)
    return _classifier_epoch([Rows(x)], [_head(size, device)], size, device)


def _reference_epoch(
    inputs: Callable[[], Tensor], width: int, size: Size, device: torch.device
) -> Work:
    """Inputs are made in the timed work: (N, D_in) is the reference's own memory."""
    labels = _labels(size["N"], size["C"]).to(device)
    layer = nn.Linear(width, size["C"]).to(device)
    log_counts = log_prior(labels.bincount(minlength=size["C"]))
    order = torch.randperm(size["N"], device=device)
    return lambda: references.classifier_epoch(
        layer, inputs(), labels, order, log_counts, 1e-4, size["B"]
    )


def _reference_aided_epoch(size: Size, device: torch.device) -> Work:
    (x, z, table), cluster = _aided(size, device)
    width = 2 * size["D"] + size["C"]
    return _reference_epoch(
        lambda: torch.cat([x, z, table[cluster]], 1), width, size, device
    )


def _reference_plain_epoch(size: Size, device: torch.device) -> Work:
    (x, _, _), _ = _aided(size, device)
    return _reference_epoch(lambda: x, size["D"], size, device)


def _epoch_operations(width: int) -> Callable[[Size], float]:
    """Logits and gradient of `width` terms of D inputs each; clusters cost no more."""
    return lambda size: 4 * size["N"] * size["C"] * width * size["D"]


def _epoch_bytes(width: int) -> Callable[[Size], float]:
    """The weights, read for the logits, read and written for the update, each step."""
    return lambda size: 3 * 4 * _steps(size) * size["C"] * width * size["D"]


# --- extraction


def _extraction(size: Size, device: torch.device) -> Work:
    """As `extract_features` does it, without decoding; both ResNets of the paper."""
    network = build_network(f"resnet{size['layers']}", 2, None, seed=0)
    network = network.eval().to(device, memory_format=torch.channels_last)
    pixels = torch.randn(size["B"], 3, size["pixels"], size["pixels"], device=device)
    pixels = pixels.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward() -> None:
        features_of(network, pixels)

    return forward


def _plain_extraction(size: Size, device: torch.device) -> Work:
    """One image after the other, in PyTorch's default layout."""
    network = build_network(f"resnet{size['layers']}", 2, None, seed=0).eval()
    network = network.to(device)
    pixels = torch.randn(size["B"], 3, size["pixels"], size["pixels"], device=device)

    @torch.no_grad()
    def forward() -> None:
        for image in pixels.split(1):
            features_of(network, image)

    return forward


def _extraction_operations(size: Size) -> float:
    """Counted by PyTorch on the network itself."""
    with torch.device("meta"):
        network = build_network(f"resnet{size['layers']}", 2, None, seed=0).eval()
        pixels = torch.empty(1, 3, size["pixels"], size["pixels"])
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        features_of(network, pixels)
    return float(size["B"] * counter.get_total_flops())


def _nothing(size: Size) -> float:
    return 0.0


FIGURES = {
    "filter step": Figure(
        _filter_step, _plain_filter_step, _step_operations, _step_bytes,
        _differences_mb,
    ),
    "filter epoch": Figure(
        _filter_epoch,
        _plain_filter_epoch,
        lambda size: size["N"] * 7 * flow_operations(size),
        lambda size: _steps(size) * _step_bytes(size),
        _differences_mb,
    ),
    "pair draws": Figure(_draws, _plain_draws, _nothing, _nothing, _nothing),
    "likelihood pass": Figure(
        _read,
        _plain_read,
        lambda size: size["N"] * flow_operations(size),
        _flow_bytes,
        lambda size: _differences_mb({**size, "B": 512}) / 2,
    ),
    "aided epoch": Figure(
        _aided_epoch, _reference_aided_epoch, _epoch_operations(2), _epoch_bytes(2),
        lambda size: 4 * (size["N"] + 3 * size["C"]) * (2 * size["D"] + size["C"])
        / 2**20,
    ),
    "plain epoch": Figure(
        _plain_epoch, _reference_plain_epoch, _epoch_operations(1), _epoch_bytes(1),
        _nothing,
    ),
    "extraction": Figure(
        _extraction, _plain_extraction, _extraction_operations, _nothing, _nothing
    ),
    "decode": Figure(
        loading.decoding, loading.plain_decoding, _nothing, _nothing, _nothing
    ),
    "load to train": Figure(
        loading.plain_training, loading.reference_plain_training, _nothing, _nothing,
        _nothing,
    ),
    "load PaCo's views": Figure(
        loading.paco_training, loading.reference_paco_training, _nothing, _nothing,
        _nothing,
    ),
    "load to extract": Figure(
        loading.extraction, loading.reference_extraction, _nothing, _nothing, _nothing
    ),
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """One figure, measured beside the ceilings."""
    name, whose, device_word, repeats, *sizes = arguments
    device = pick_device(device_word)
    size = {key: int(value) for key, value in (one.split("=") for one in sizes)}
    build = FIGURES[name].ours if whose == "ours" else FIGURES[name].reference
    assert build is not None
    taken = take(build(size, device), int(repeats), device)
    print(as_json(taken, measure_ceilings(device)))


if __name__ == "__main__":
    main(sys.argv[1:])
