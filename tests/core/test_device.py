"""What a stage runs on: energy by hand-made counters, the switch of repeatability."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from replication.cascade import PROTOCOLS, Samples, decide, fit_levels
from replication.classifiers.heads import Term
from replication.core import device as machine
from replication.core.files import write_text
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)

# --- energy of the processor


def package(
    place: Path, name: str, energy: int, wraps_at: int = 262_143_328_850
) -> None:
    write_text(place / name / "energy_uj", f"{energy}\n")
    write_text(place / name / "max_energy_range_uj", f"{wraps_at}\n")


def test_counters_are_those_of_whole_packages(tmp_path) -> None:
    package(tmp_path, "intel-rapl:0", 5)
    package(tmp_path, "intel-rapl:1", 7, 99)
    package(tmp_path, "intel-rapl:0:0", 3)
    assert machine.cpu_counters(tmp_path) == {
        "intel-rapl:0": (5, 262_143_328_850),
        "intel-rapl:1": (7, 99),
    }


def test_no_counter_or_one_that_cannot_be_read_is_no_claim(tmp_path) -> None:
    assert machine.cpu_counters(tmp_path / "none") == {}
    package(tmp_path, "intel-rapl:0", 5)
    (tmp_path / "intel-rapl:1" / "energy_uj").mkdir(parents=True)
    assert machine.cpu_counters(tmp_path) == {}
    assert machine.cpu_joules({}, {}, 1.0) is None


def test_joules_by_hand() -> None:
    """Two packages: 3 J, and 2 J over a wrap at 100 kJ; in 5 seconds."""
    edge = 10**11
    before = {"a": (10**6, edge), "b": (edge - 10**6, edge)}
    after = {"a": (4 * 10**6, edge), "b": (10**6 - 1, edge)}
    assert machine.cpu_joules(before, after, 5.0) == 5.0


def test_a_counter_that_may_have_wrapped_twice_is_no_claim() -> None:
    """At most 1000 W: a counter of 262 kJ is good for 262 seconds."""
    before, after = {"a": (0, 262_000_000_000)}, {"a": (10**6, 262_000_000_000)}
    assert machine.cpu_joules(before, after, 261.0) == 1.0
    assert machine.cpu_joules(before, after, 262.0) is None


# --- energy and driver of a GPU, by a made NVML


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An NVML of two GPUs whose counters rise by 1,500 mJ at each look."""
    made = SimpleNamespace(looks=0, open=0)

    def consumed(handle: str) -> int:
        made.looks += 1
        return {"GPU-a": 1_000, "GPU-b": 50_000}[handle] + 1_500 * made.looks

    def opened(by: int) -> None:
        made.open += by

    made.nvmlInit = lambda: opened(1)
    made.nvmlShutdown = lambda: opened(-1)
    made.nvmlDeviceGetHandleByUUID = lambda name: name
    made.nvmlDeviceGetTotalEnergyConsumption = consumed
    made.nvmlSystemGetDriverVersion = lambda: "580.1"
    monkeypatch.setitem(sys.modules, "pynvml", made)
    uuids = [SimpleNamespace(uuid="a"), SimpleNamespace(uuid="b")]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda one: uuids[one])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    return made


def test_gpu_joules_are_of_the_device_in_use(nvml) -> None:
    before = machine.gpu_counters(torch.device("cuda:1"))
    after = machine.gpu_counters(torch.device("cuda:1"))
    assert before == {"GPU-b": 51_500}
    assert machine.gpu_joules(before, after) == 1.5
    assert nvml.open == 0


def test_gpu_joules_are_of_every_device_of_a_training(nvml, monkeypatch) -> None:
    monkeypatch.setattr(machine, "number_of_devices", lambda: 2)
    counters = machine.gpu_counters(torch.device("cuda:0"))
    assert list(counters) == ["GPU-a", "GPU-b"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # the other one is in another machine
    assert machine.gpu_counters(torch.device("cuda:0")) == {}


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetTotalEnergyConsumption"])
def test_a_gpu_that_does_not_tell_is_no_claim(nvml, broken) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    setattr(nvml, broken, refuse)
    assert machine.gpu_counters(torch.device("cuda")) == {}
    assert machine.gpu_joules({}, {}) is None
    assert nvml.open == 0


def test_processor_has_no_gpu_counter(nvml) -> None:
    assert machine.gpu_counters(torch.device("cpu")) == {}
    assert nvml.looks == 0


def test_about_a_gpu(nvml) -> None:
    about = machine.about_device(torch.device("cuda"))
    assert about["device_kind"] == "cuda" and about["device_model"] == "A GPU"
    assert (about["devices"], about["driver"]) == (1, "580.1")
    assert about["cuda"] == torch.version.cuda
    assert set(about["tf32"]) == {"matrix products", "convolutions"}


def test_about_a_processor_and_about_no_device() -> None:
    about = machine.about_device(torch.device("cpu"))
    assert about["device_kind"] == "cpu" and about["device_model"]
    assert about["devices"] == 1 and "driver" not in about
    assert set(machine.about_device(None).values()) == {None}


# --- the same each time


@pytest.fixture
def switched(monkeypatch) -> Iterator[None]:
    """What is switched in a test is switched back after it."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    machine.set_deterministic(False)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_switch_sets_everything_that_makes_a_gpu_repeat(switched) -> None:
    machine.set_deterministic(True)
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
    machine.set_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == kept


def test_switch_off_leaves_pytorch_as_it_is(switched) -> None:
    machine.set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_refused_operation_is_named_as_pytorch_names_it(switched) -> None:
    """`put_` has no deterministic form on any device, so that a CPU shows it too."""
    machine.set_deterministic(True)
    with pytest.raises(RuntimeError) as refusal:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert machine.refused_operation(refusal.value) == "put_"
    assert machine.refused_operation(RuntimeError("out of memory")) is None


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
        for protocol in PROTOCOLS
    ]
    return list(levels[0].fitted.flow.state_dict().values()), predicted


def test_a_cpu_repeats_itself_to_the_byte_and_refuses_nothing(switched) -> None:
    """Without and with the setting, weights as well as predictions.

    With it on, every operation of the cascade must have a form that repeats.
    """
    machine.set_deterministic(False)
    weights, predicted = cascade()
    machine.set_deterministic(True)
    again = cascade()
    for one, other in zip([*weights, *predicted], [*again[0], *again[1]], strict=True):
        assert torch.equal(one, other)
