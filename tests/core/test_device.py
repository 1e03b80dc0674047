"""What a stage runs on, and the switch of repeatability."""

import os
from collections.abc import Iterator

import pytest
import torch

from replication.core import device


@pytest.fixture
def switched(monkeypatch) -> Iterator[None]:
    """What is switched in a test is switched back after it."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    device.set_arithmetic(False)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_switch_sets_everything_that_makes_a_gpu_repeat(switched) -> None:
    device.set_arithmetic(True, tf32=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.pick_device("cuda:0") == torch.device("cuda:0")
    assert refused(lambda: device.pick_device("cuda:1")) == [
        "params.yaml: machine.device: expected one of this machine's 1 GPUs or cpu, "
        "got 'cuda:1'"
    ]
