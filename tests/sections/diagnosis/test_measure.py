"""What DLSA would need, measured: from features to the page, and killed midway."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from replication.core.files import (
    BadInput,
    read_arrays,
    read_json,
    read_table,
    write_arrays,
    write_json,
)
from replication.core.settings import load
from replication.core.stage import Stage
from replication.samples.predictions import by_seed
from replication.sections.diagnosis import search, trials
from replication.sections.diagnosis.experiment import AUGMENTED, METHODS
from replication.sections.diagnosis.measure import measure
from replication.sections.diagnosis.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.made import as_read, write_params
from tests.sections.checkout import BENCHMARK, write_checkout

NAME = f"diagnosis@{BENCHMARK}"
LABELS = np.repeat(np.arange(4), 20)
TINY = {
    "seeds": [0, 1],
    "num_clusters": 6,
    "filter": {"epochs": 1, "batch_size": 64, "lr": 0.1},
    "classifier": {"epochs": 2, "batch_size": 64, "lr": 0.01, "evaluate_every": 1},
    "head": {"epochs": 1},
    "diagnose": {
        "search_seeds": 1,
        "lr_factors": [30],
        "depths": [2],
        "leaving_shares": [],
        "sigmas": [],
        "num_clusters": [],
        "weight_exponents": [],
        "without": [],
    },
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkout in which everything that the stage builds on has been made."""
    folder = tmp_path_factory.mktemp("checkout")
    write_checkout(folder, stand_in=True)
    (folder / "params.yaml").unlink()
    write_params(folder, TINY)
    return folder


@pytest.fixture
def checkout(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be in."""
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


def ran() -> Measurement:
    stage = Stage(NAME, load())
    measured = measure(stage, BENCHMARK)
    stage.finish()
    return measured


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory) -> tuple[Path, Measurement]:
    folder = tmp_path_factory.mktemp("done") / "checkout"
    shutil.copytree(prepared, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, ran()


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """Name -> (S, N) predictions of every file that the stage wrote."""
    files = (folder / "outputs" / BENCHMARK / "paco/diagnosis").iterdir()
    return {
        file.name.removesuffix(".predictions.safetensors"): by_seed(
            read_table(file), "validated"
        )[0]
        for file in files
    }


def test_predictions_behind_every_cell_are_written(done) -> None:
    folder, measured = done
    written = predictions(folder)
    methods = ("head", "refitted", "plain", "published", "chosen")
    assert set(written) == set(methods)
    assert all(some.shape == (2, 80) for some in written.values())
    for method in methods:
        cell = pick(measured.cells, method=method, metric="overall", at="", minus=None)
        assert cell.mean == pytest.approx((written[method] == LABELS).mean())


def test_all_that_was_tried_is_counted(done) -> None:
    details = done[1].details
    # lr, depth, five of the classifiers, two readings of sigma; 2 rates from 2 starts.
    assert len(details["factors"]) == 9
    assert details["tried"]["cascades"] >= 10
    assert details["tried"]["plain"] == 4
    assert details["searched"] == [0]
    assert "sigma" in done[1].about["departures"]
    assert all(step["after"] > step["before"] for step in details["steps"])


def test_the_page_has_a_row_a_model_pair_and_factor(done, tmp_path) -> None:
    details = done[1].details
    text, _ = page(as_read(done[1], tmp_path), "Places-LT", "figures")
    assert f"{details['tried']['cascades']} settings of the cascade and 4 of" in text
    lines = text.splitlines()
    first_cells = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    for label in METHODS.values():
        assert f"| {label}" in first_cells
    assert any(line.startswith("| DLSA, tuned | Head, refitted | ") for line in lines)


@pytest.mark.parametrize(
    ("verdict", "head", "cascade"),
    [
        ("supported", "beats", "itself helps"),
        ("contradicted", "loses to", "costs accuracy"),
        ("undecided", "is not shown to differ from", "no gain of"),
    ],
)
def test_the_finding_can_come_out_every_way(done, verdict, head, cascade) -> None:
    cells = tuple(
        replace(cell, verdict=verdict) if cell.method == "chosen" else cell
        for cell in done[1].cells
    )
    step = {"factor": "lr", "old": 0.01, "new": 0.3, "before": 0.1, "after": 0.2}
    details = done[1].details | {"steps": [step]}
    said = finding(replace(done[1], cells=cells, details=details))
    assert f"images, DLSA {head} the head" in said and cascade in said
    still = replace(done[1], cells=cells, details=details | {"steps": []})
    assert "No other settings help DLSA on validation images" in finding(still)
    assert "Nothing: no change helped." in page(still, "Places-LT", "figures")[0]


def test_a_run_that_was_killed_goes_on_and_ends_the_same(
    done, checkout, monkeypatch
) -> None:
    """On one thread: the pieces run in this process, so that one can be killed."""
    monkeypatch.setattr(trials, "run_pieces", one_after_the_other)
    decide, calls, again = trials.decide_as, [], []

    def killed(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return decide(*arguments)

    monkeypatch.setattr(trials, "decide_as", killed)
    with pytest.raises(KeyboardInterrupt):
        ran()
    monkeypatch.setattr(
        trials, "decide_as", lambda *some: again.append(some) or decide(*some)
    )
    assert ran().cells == done[1].cells
    assert {(some[0], some[-1]) for some in calls[:8]}.isdisjoint(
        (some[0], some[-1]) for some in again
    )
    assert not (checkout / ".resume" / NAME).exists()


def test_augmented_training_features_are_compared_with_clean_ones(
    done, checkout, tmp_path
) -> None:
    """A row a model, and the search may choose clean ones."""
    assert "clean or augmented" not in page(done[1], "Places-LT", "f")[0]
    folder = checkout / "outputs" / BENCHMARK / "paco" / "features"
    arrays = read_arrays(folder / "train.safetensors")
    drawn = np.random.default_rng(0).standard_normal(arrays["features"].shape)
    features = (arrays["features"] + 3.0 * drawn).astype(np.float32)
    augmented = {"features": features, "labels": arrays["labels"]}
    write_arrays(folder / "train_augmented.safetensors", augmented)
    about = read_json(folder / "about.json") | {"train": "augmented"}
    write_json(folder / "about.json", about)
    measured = ran()
    gaps = [cell for cell in measured.cells if cell.minus == AUGMENTED]
    assert {gap.method for gap in gaps} == {"refitted", "plain", "published"}
    assert any(gap.mean for gap in gaps)
    text, _ = page(as_read(measured, tmp_path), "Places-LT", "f")
    assert "## Training features, clean or augmented" in text
    assert "| training features | clean | augmented |" in text


def one_after_the_other(pieces, dimensions, device, tell) -> None:
    for file, piece in pieces.items():
        if not file.is_file():
            piece(tell)


def test_filters_that_diverge_are_wrong_and_the_stage_goes_on(
    checkout, monkeypatch
) -> None:
    """So are those that were chosen, under a seed that the search did not see."""
    monkeypatch.setattr(trials, "run_pieces", one_after_the_other)
    fit, largest = trials.fit_levels, {0: 0.6, 1: 0.1}

    def diverging(splits, classes, settings, cascade, protocol, seed):
        if settings.sigma > largest[seed]:
            raise BadInput("filter: the loss is not finite in epoch 1, step 1")
        return fit(splits, classes, settings, cascade, protocol, seed)

    def wider(base, others, score):
        path = [base, replace(base, sigma=min(others["sigma"]))]
        score(path)
        return path

    monkeypatch.setattr(trials, "fit_levels", diverging)
    monkeypatch.setattr(search, "search", wider)
    measured = ran()
    published, chosen = (
        pick(measured.cells, method=method, metric="overall", at="", minus=None)
        for method in ("published", "chosen")
    )
    lost = pick(measured.cells, method="sigma=0.948683", metric="overall", at="")
    assert lost.mean == pytest.approx(-published.per_seed[0])
    assert chosen.per_seed[0] > chosen.per_seed[1] == 0
    assert len(predictions(checkout)["chosen"]) == 1
    largest[0] = 0
    with pytest.raises(BadInput, match="the loss is not finite"):
        ran()


def test_without_validation_samples_nothing_is_chosen(checkout, refused) -> None:
    file = checkout / "outputs" / BENCHMARK / "paco" / "features" / "val.safetensors"
    arrays = read_arrays(file)
    write_arrays(file, {name: values[:0] for name, values in arrays.items()})
    assert refused(ran) == [
        "diagnosis@places_lt: expected validation samples to choose settings on, got "
        "none; where the images allow it, data.validation_per_class holds some out"
    ]
