"""What a stage runs on, and the switch of repeatability."""

import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from replication.cascade import PROTOCOLS, Samples, decide, fit_levels
from replication.classifiers.heads import Term
from replication.core import device
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)

# --- the device of a record


def test_about_a_gpu(monkeypatch) -> None:
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "580.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    about = device.about_device(torch.device("cuda"))
    assert about["device_kind"] == "cuda" and about["device_model"] == "A GPU"
    assert (about["devices"], about["driver"]) == (1, "580.1")
    assert about["cuda"] == torch.version.cuda
    assert set(about["tf32"]) == {"matrix products", "convolutions"}
    del driver.nvmlInit  # whatever goes wrong, no run is lost to it
    assert device.about_device(torch.device("cuda"))["driver"] is None


def test_about_a_processor_and_about_no_device() -> None:
    about = device.about_device(torch.device("cpu"))
    assert about["device_kind"] == "cpu" and about["device_model"]
    assert about["devices"] == 1 and "driver" not in about
    assert set(device.about_device(None).values()) == {None}


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


@pytest.mark.parametrize(("given", "kept"), [(":16:8", ":16:8"), (":0:0", ":4096:8")])
def test_a_workspace_that_repeats_is_left_as_given(
    switched, monkeypatch, given, kept
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    device.set_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == kept


def test_switch_off_leaves_pytorch_as_it_is(switched) -> None:
    device.set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


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
    classifier = ClassifierSettings(lr=0.1, batch_size=32, epochs=4, evaluate_every=2)
    head = Term(torch.zeros(6, 16), torch.zeros(6))
    levels, _ = fit_levels(splits, 6, filters, chained, 0)
    predicted = [
        decide(levels, splits, 6, head, classifier, protocol, 0)[0]
        for protocol in PROTOCOLS.values()
    ]
    return list(levels[0].fitted.flow.state_dict().values()), predicted


# --- picking


def test_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.pick_device("cuda:0") == torch.device("cuda:0")
    assert refused(lambda: device.pick_device("cuda:1")) == [
        "params.yaml: machine.device: expected one of this machine's 1 GPUs or cpu, "
        "got 'cuda:1'"
    ]


def test_automatic_device_is_the_gpu_where_there_is_one(monkeypatch) -> None:
    for there, name in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device.pick_device("auto") == torch.device(name)


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
