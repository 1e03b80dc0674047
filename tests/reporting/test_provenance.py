"""Whether runs belong together, and what is said where they do not."""

import pytest

from replication.reporting.provenance import (
    disagreements,
    each_once,
    provenance,
    refuse_mixed_data,
)


def run(stage: str, **changes: object) -> dict:
    """A run record of a stage that computes, with changes."""
    plain = {
        "stage": stage,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 10.0,
        "commit": "a" * 40,
        "clean": True,
        "modules": {"replication/files.py": "1", f"replication/{stage}.py": stage},
        "inputs": {"outputs/x/data/summary.json": "s"},
        "data_hash": "d1",
        "settings_hash": "h",
        "seeds": {"seeds": [0, 1]},
        "device": "Chip, 2 threads",
        "device_model": "Chip",
        "device_kind": "cpu",
        "devices": 1,
        "threads": 2,
        "libraries": {"torch": "2.9", "numpy": "2.0"},
        "python": "3.11.1",
        "peak_memory_mb": 500,
        "peak_gpu_memory_mb": None,
        "energy_joules": {"cpu": 100.0, "gpu": None},
    }
    return plain | changes


PREPARE = run("prepare@x", device_kind=None, device_model=None, device="cpu")
ALIKE = [PREPARE, run("heads@x"), run("dlsa@x")]


# --- mixed data


def test_runs_on_one_data_set_are_taken(refused) -> None:
    refuse_mixed_data("table1@x", "d1", ALIKE)
    refuse_mixed_data("audit", "d1", [run("audit", data_hash=None)])


def test_another_data_set_behind_one_stage_is_refused(refused) -> None:
    runs = [*ALIKE, run("decoupling@x", data_hash="d2")]
    assert refused(lambda: refuse_mixed_data("table1@x", "d1", runs)) == [
        "table1@x: expected one data set behind it, hash d1, got hash d2 behind "
        "decoupling@x; run: dvc repro table1@x"
    ]


def test_two_contents_of_one_file_are_refused(refused) -> None:
    """The same data, but features extracted anew between two stages that read them."""
    features = "outputs/x/paco/features/train.safetensors"
    runs = [
        PREPARE,
        run("heads@x", inputs={features: "1"}),
        run("dlsa@x", inputs={features: "2"}),
    ]
    assert refused(lambda: refuse_mixed_data("table2@x", "d1", runs)) == [
        f"table2@x: expected one {features} behind it, got two: that of heads@x and "
        "that of dlsa@x; run: dvc repro -f heads@x dlsa@x"
    ]


# --- disagreements


def test_runs_that_are_alike_need_no_word() -> None:
    assert disagreements(ALIKE) == []
    assert disagreements([]) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"commit": "b" * 40, "modules": {}},
            "2 commits made these numbers: (1) prepare@x, heads@x; (2) dlsa@x; some of "
            "the code, perhaps, changed between them.",
        ),
        (
            {"commit": None, "modules": {"replication/files.py": "2"}},
            "2 commits made these numbers: (1) prepare@x, heads@x; (2) dlsa@x; "
            "replication/files.py changed between them.",
        ),
        ({"clean": False}, "Uncommitted code ran in dlsa@x."),
        (
            {"device_model": "A GPU", "device_kind": "cuda", "device": "A GPU"},
            "Different devices computed these numbers: Chip in heads@x; A GPU in "
            "dlsa@x.",
        ),
        (
            {"libraries": {"torch": "2.10", "numpy": "2.0"}},
            "Different versions of torch ran: 2.9 in prepare@x, heads@x; 2.10 in "
            "dlsa@x.",
        ),
    ],
    ids=["commit", "commit and module", "uncommitted", "device", "library"],
)
def test_each_kind_of_disagreement_has_its_sentence(changes, sentence) -> None:
    assert disagreements([*ALIKE[:2], run("dlsa@x", **changes)]) == [sentence]


@pytest.mark.parametrize(
    "changes",
    [
        {"started": "2027-01-01T00:00:00+00:00"},
        {"seconds": 99.0},
        {"peak_memory_mb": 1},
        {"energy_joules": {"cpu": None, "gpu": None}},
        {"threads": 1, "device": "Chip, 1 threads"},
        {"commit": "b" * 40},  # with the same code: said in the folded block alone
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_differs_between_any_two_runs_is_no_disagreement(changes) -> None:
    assert disagreements([*ALIKE[:2], run("dlsa@x", **changes)]) == []


def test_sentences_name_no_commit() -> None:
    """A run repeated at other commits must say the same."""
    code = {"modules": {"replication/files.py": "2"}}
    one = [run("heads@x", commit="a" * 40), run("dlsa@x", commit="b" * 40, **code)]
    other = [run("heads@x", commit="c" * 40), run("dlsa@x", commit="d" * 40, **code)]
    assert disagreements(one) == disagreements(other) != []


# --- provenance


def test_provenance_by_hand() -> None:
    gpu = run(
        "backbone@x",
        commit="b" * 40,
        clean=False,
        started="2025-12-31T00:00:00+00:00",
        device="A GPU",
        device_kind="cuda",
        devices=2,
        cuda="13.0",
        driver="580",
        seconds=5.5,
        peak_memory_mb=700,
        peak_gpu_memory_mb=4000,
        seeds={"backbone.seed": 3},
        energy_joules={"cpu": 1.5, "gpu": 2000.0},
    )
    made = provenance("d1", [PREPARE, gpu])
    assert made["data_hash"] == "d1"
    assert made["commits"] == ["a" * 40, "b" * 40]
    assert made["clean"] is False
    assert made["seeds"] == {"seeds": [0, 1], "backbone.seed": 3}
    assert made["devices"] == ["2 × A GPU", "cpu"]
    assert made["libraries"] == {
        "cuda": ["13.0"],
        "driver": ["580"],
        "numpy": ["2.0"],
        "python": ["3.11.1"],
        "torch": ["2.9"],
    }
    assert made["started"] == "2025-12-31T00:00:00+00:00"
    assert made["seconds"] == 15.5
    assert (made["peak_memory_mb"], made["peak_gpu_memory_mb"]) == (700, 4000)
    assert made["energy_joules"] == {"cpu": 101.5, "gpu": 2000.0}
    assert made["stages"]["backbone@x"]["energy_joules"]["gpu"] == 2000.0
    assert "modules" not in made["stages"]["backbone@x"]


def test_energy_is_no_claim_where_one_run_does_not_know_its_own() -> None:
    silent = run("heads@x", energy_joules={"cpu": None, "gpu": None})
    assert provenance(None, [PREPARE, silent])["energy_joules"] == {
        "cpu": None,
        "gpu": None,
    }


def test_settings_hash_changes_with_that_of_any_stage() -> None:
    def of(*hashes: str) -> str:
        runs = [run(f"{n}", settings_hash=one) for n, one in enumerate(hashes)]
        return provenance("d1", runs)["settings_hash"]

    assert of("1", "2") == of("1", "2")
    assert len({of("1", "2"), of("2", "1"), of("1", "3"), of("1")}) == 4


def test_a_stage_behind_two_pages_counts_once() -> None:
    assert each_once([*ALIKE, *ALIKE]) == ALIKE
