"""What a stage runs on, and the switch of repeatability."""

import os
from collections.abc import Iterator

import pytest
import torch

from replication.cascade import Classifiers, Samples, fit_chains
from replication.classifiers.heads import Term
from replication.core import device
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.protocols import PROTOCOLS

# --- the device of a record


# --- the same each time


@pytest.fixture
def switched(monkeypatch) -> Iterator[None]:
    """What is switched in a test is switched back after it."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    device.set_deterministic(False)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_switch_sets_everything_that_makes_a_gpu_repeat(switched) -> None:
    device.set_deterministic(True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def cascade() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """A Flow Filter's weights and both protocols' predictions, on noise."""
    generator = torch.Generator().manual_seed(0)

    def split(size: int) -> Samples:
        labels = torch.arange(size) % 6
        noise = torch.randn(size, 16, generator=generator)
        return Samples(noise + labels[:, None], labels)

    splits = {"train": split(240), "val": split(60), "test": split(120)}
    filters = FilterSettings(
        lambda_mle=2.0,
        lambda_bal=0.6,
        lambda_pure=0.03,
        num_clusters=8,
        sigma=0.1,
        eta=0.7,
        weight_exponent=2.0,
        lr=0.01,
        batch_size=64,
        epochs=3,
    )
    chained = CascadeSettings(depth=2, leaving_share=0.3)
    classifier = ClassifierSettings(
        lr=0.1, batch_size=32, epochs=4, evaluate_every=2, second_terms="drawn"
    )
    head = Term(torch.zeros(6, 16), torch.zeros(6))
    both = list(PROTOCOLS.values())
    chains = fit_chains(splits, 6, filters, chained, both, 0)
    predicted = [
        Classifiers(head, splits, classifier, protocol)
        .decide_as_dlsa(chains[protocol.key].levels, 0)
        .predicted
        for protocol in both
    ]
    first = chains["validated"].levels[0].fitted.flow
    return list(first.state_dict().values()), predicted


# --- picking


def test_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.pick_device("cuda:0") == torch.device("cuda:0")
    assert refused(lambda: device.pick_device("cuda:1")) == [
        "params.yaml: machine.device: expected one of this machine's 1 GPUs or cpu, "
        "got 'cuda:1'"
    ]


# --- a whole cascade


def test_a_cpu_repeats_itself_to_the_byte_and_refuses_nothing(switched) -> None:
    """Without and with the setting, weights as well as predictions.

    With it on, every operation of the cascade must have a form that repeats.
    """
    device.set_deterministic(False)
    weights, predicted = cascade()
    device.set_deterministic(True)
    again = cascade()
    for one, other in zip([*weights, *predicted], [*again[0], *again[1]], strict=True):
        assert torch.equal(one, other)
