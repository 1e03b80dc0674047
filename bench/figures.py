"""What is measured: each figure builds its data, then hands back the work to time.

    python -m bench.figures NAME WAY DEVICE THREADS REPEATS KEY=VALUE ...

is one figure done one way in a process of its own, as a line of JSON.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import references
from bench.measuring import take
from replication.backbones.networks import build_network, features_of
from replication.cascade import SPLITS, Classifiers, drawn_terms, fit_chains
from replication.classifiers.descent import Stack
from replication.classifiers.heads import Rows, Term, log_prior
from replication.core.device import pick_device
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.fitting import descend, read_clusters
from replication.flow_filter.flow import FlowFilter
from replication.protocols import PROTOCOLS
from replication.samples.features import Samples

Size = Mapping[str, int]
Work = Callable[[], Any]
Build = Callable[[Size, torch.device], Work]
SUITE = "suite"
_BATCH = 128  # samples in a classifier's step


class Figure(NamedTuple):
    """Ways to do one thing; each builds its data when called and returns the work.

    Fields: `operations` of the products that the equations ask for, without what a mask
    sets to zero; 0 where they are not counted.
    """

    ways: Mapping[str, Build]
    operations: Callable[[Size], float]


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


def _step(size: Size, device: torch.device, step: Callable[..., Tensor]) -> Work:
    """Objective, gradient and update, on the same pair of batches."""
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(2, size["B"], size["D"], generator=generator).to(device)
    weights = torch.full((size["B"],), 1 / 365, device=device)
    settings = _filter_settings(size)
    state = {"share": torch.zeros(size["K"], device=device), "step": 0}

    def work() -> None:
        state["step"] += 1
        given = (weights, state["share"], state["step"], settings)
        state["share"] = step(pair, *given)

    return work


def _filter_step(size: Size, device: torch.device) -> Work:
    flow = _flow(size, device)
    return _step(
        size, device, lambda pair, *rest: descend(flow, pair.flatten(0, 1), *rest).share
    )


def _plain_filter_step(size: Size, device: torch.device) -> Work:
    transform, centres = _plain_flow(size, device)
    optimiser = torch.optim.SGD(transform.parameters(), lr=_filter_settings(size).lr)
    scale = torch.tensor([1.0, 2.0, 0.03], device=device)

    def step(pair: Tensor, *rest: Any) -> Tensor:
        terms, share = references.objective(transform, centres, pair, *rest)
        optimiser.zero_grad(set_to_none=True)
        (terms @ scale).backward()
        optimiser.step()
        return share

    return _step(size, device, step)


def _features(size: Size, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(size["N"], size["D"], generator=generator).to(device)


def _read(size: Size, device: torch.device) -> Work:
    features, flow = _features(size, device), _flow(size, device)
    return lambda: read_clusters(flow, features)


def _plain_read(size: Size, device: torch.device) -> Work:
    features = _features(size, device)
    transform, centres = _plain_flow(size, device)
    return lambda: references.read(transform, centres, features)


def flow_operations(size: Size) -> float:
    """Of one sample's way forward: both MADEs, and the products with the centres.

    A MADE has D x D twice and D x 2D once; its masks leave half of each.
    """
    return 2 * (2 * 2 * size["D"] ** 2 + size["K"] * size["D"])


def step_operations(size: Size) -> float:
    """Both batches forward; the gradient twice that, but the centres never move."""
    centres = 2 * size["K"] * size["D"]
    return 2 * size["B"] * (3 * flow_operations(size) - centres)


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


def _epoch(inputs: list[Rows], size: Size, device: torch.device) -> Work:
    """An epoch of the first input's head and drawn terms for the others."""
    labels, classes = _labels(size, device), size["C"]
    weight = torch.zeros(classes, size["D"], device=device)
    head = Term(weight, torch.zeros(classes, device=device))
    generator = torch.Generator().manual_seed(0)
    terms = [head, *drawn_terms(inputs[1:], classes, generator, head)]
    prior = log_prior(labels.bincount(minlength=classes))
    stack = Stack([terms], [inputs], prior[None], size["B"])
    order = torch.randperm(size["N"], device=device)
    return lambda: stack.descend(inputs, labels, order, 1e-4)


def _plain_epoch(size: Size, device: torch.device) -> Work:
    return _epoch([Rows(_features(size, device))], size, device)


def _aided_epoch(size: Size, device: torch.device) -> Work:
    features, (table, cluster) = _features(size, device), _clusters(size, device)
    inputs = [Rows(features), Rows(features.flip(0)), Rows(table, cluster)]
    return _epoch(inputs, size, device)


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


def _epoch_operations(aided: bool, size: Size) -> float:
    """Logits and gradient of D inputs, or of twice D and the span of K clusters' C."""
    width = 2 * size["D"] + min(size["K"], size["C"]) if aided else size["D"]
    return 4 * size["N"] * size["C"] * width


# --- both

_FILTER_EPOCHS, _CLASSIFIER_EPOCHS, _LEAVING = 50, 150, 0.3


def _whole_fit(size: Size, device: torch.device) -> Work:
    """A filter and the classifiers of both protocols; every split is the same."""
    samples = Samples(_features(size, device), _labels(size, device))
    splits = dict.fromkeys(SPLITS, samples)
    settings = _filter_settings(size).model_copy(update={"epochs": _FILTER_EPOCHS})
    cascade = CascadeSettings(depth=1, leaving_share=_LEAVING)
    classifier = ClassifierSettings(
        lr=1e-4, batch_size=_BATCH, epochs=_CLASSIFIER_EPOCHS, evaluate_every=5,
        second_terms="drawn",
    )  # fmt: skip
    zeros = torch.zeros(size["C"], size["D"] + 1, device=device)
    head = Term(zeros[:, 1:], zeros[:, 0])

    def work() -> None:
        protocols = list(PROTOCOLS.values())
        chains = fit_chains(splits, size["C"], settings, cascade, protocols, 0)
        for protocol in protocols:
            classifiers = Classifiers(head, splits, classifier, protocol)
            classifiers.decide_as_dlsa(chains[protocol.key].levels, 0)

    return work


def _plain_whole_fit(size: Size, device: torch.device) -> Work:
    """As many steps of the references, and readings; nothing is looked at between."""
    step, read = _plain_filter_step(size, device), _plain_read(size, device)
    leaving = int(_LEAVING * size["N"])
    parts = [
        _reference_epoch({**size, "N": number, "B": _BATCH}, device, aided)
        for number, aided in ((leaving, True), (size["N"] - leaving, False))
    ]

    def work() -> None:
        for _ in range(_FILTER_EPOCHS):
            for _ in range(-(-size["N"] // size["B"])):
                step()
            read()
        for part in len(PROTOCOLS) * _CLASSIFIER_EPOCHS * parts:
            part()

    return work


def _whole_operations(size: Size) -> float:
    """Of every epoch: its pairs and a reading; its samples, in two parts."""
    leaving = int(_LEAVING * size["N"])
    parts = (leaving, True), (size["N"] - leaving, False)
    epoch = sum(_epoch_operations(aided, {**size, "N": n}) for n, aided in parts)
    read = size["N"] * flow_operations(size)
    descend = step_operations({**size, "B": size["N"]})
    of_classifiers = len(PROTOCOLS) * _CLASSIFIER_EPOCHS * epoch
    return _FILTER_EPOCHS * (read + descend) + of_classifiers


# --- networks


def _network(size: Size, device: torch.device) -> tuple[nn.Module, Tensor]:
    kind = "_cifar" if size["pixels"] == 32 else ""
    name = f"resnet{size['layers']}{kind}"
    network = build_network(name, 100, None, seed=0).to(device)
    pixels = torch.randn(size["B"], 3, size["pixels"], size["pixels"], device=device)
    return network, pixels


def _extraction(size: Size, device: torch.device) -> Work:
    """As `extract_features` does it, without decoding."""
    network, pixels = _network(size, device)
    network = network.eval().to(memory_format=torch.channels_last)
    pixels = pixels.to(memory_format=torch.channels_last)
    return torch.inference_mode()(lambda: features_of(network, pixels))


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


def _unknown(size: Size) -> float:
    return 0.0


FIGURES = {
    "filter step": Figure(
        {SUITE: _filter_step, "nflows": _plain_filter_step},
        step_operations,
    ),
    "likelihood pass": Figure(
        {SUITE: _read, "nflows": _plain_read},
        lambda size: size["N"] * flow_operations(size),
    ),
    "aided epoch": Figure(
        {SUITE: _aided_epoch, "plain": partial(_reference_epoch, aided=True)},
        partial(_epoch_operations, True),
    ),
    "plain epoch": Figure(
        {SUITE: _plain_epoch, "plain": partial(_reference_epoch, aided=False)},
        partial(_epoch_operations, False),
    ),
    "whole fit": Figure(
        {SUITE: _whole_fit, "plain": _plain_whole_fit}, _whole_operations
    ),
    "training step": Figure({SUITE: _training_step}, _unknown),
    "extraction": Figure({SUITE: _extraction}, _unknown),
}


def main(arguments: list[str]) -> None:
    """One figure, measured beside the rate of products."""
    name, way, device_word, threads, repeats, *sizes = arguments
    device = pick_device(device_word)
    torch.set_num_threads(int(threads))
    size = {key: int(value) for key, value in (word.split("=") for word in sizes)}
    taken = take(FIGURES[name].ways[way](size, device), int(repeats), device)
    print(json.dumps(asdict(taken)))


if __name__ == "__main__":
    main(sys.argv[1:])
