"""An imported head whose rows are not the classes that the labels say is not silent."""

from pathlib import Path

import numpy as np
import pytest

from replication.core.files import read_json
from replication.core.settings import load
from replication.core.stage import OUTPUTS, Stage
from replication.stages import backbone, features, heads, prepare
from tests.made import write_params

CENTRES = 4 * np.eye(12, 16)


def stated(rows: list[int]) -> dict:
    """What the heads' artefact says where the head's row k is class rows[k]."""
    generator = np.random.default_rng(0)
    for split, each in (("train", 10), ("test", 5)):
        labels = np.repeat(np.arange(12), each)
        drawn = CENTRES[labels] + generator.standard_normal((len(labels), 16))
        np.savez(f"theirs/feature_{split}.npz", features=drawn, labels=labels)
    np.savez("theirs/classifier.npz", weight=CENTRES[rows], bias=np.zeros(12))
    stages = {"prepare": prepare, "backbone": backbone, "features": features}
    for name, module in (stages | {"heads": heads}).items():
        arguments = ("own",) if name == "prepare" else ("own", "paco")
        module.main(Stage(f"{name}@own", load()), *arguments)
    return read_json(OUTPUTS / "own" / "paco" / "heads" / "about.json")


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    inputs = {"own": {"features": "theirs"}}
    head = {"epochs": 20, "lr": 0.5}
    write_params(tmp_path, {"seeds": [0], "inputs": inputs, "head": head})


def test_rows_in_the_order_of_the_labels_give_no_doubt() -> None:
    assert stated([*range(12)])["doubts"] == []


def test_rows_in_the_order_of_text_are_seen_by_value_and_by_place() -> None:
    about = stated(sorted(range(12), key=str))
    low, swapped = about["doubts"][::-1]
    assert low.startswith("the imported head is right on 1")
    assert swapped == (
        "10 classes have changed places in the imported head, the first class 2"
    )
    assert {f"Of the head: {doubt}." for doubt in about["doubts"]} <= {*about["notes"]}


def test_two_rows_changed_are_seen_though_accuracy_hides_it() -> None:
    (swapped,) = stated([0, 1, 2, 4, 3, *range(5, 12)])["doubts"]
    assert swapped == (
        "2 classes have changed places in the imported head, the first class 3"
    )
