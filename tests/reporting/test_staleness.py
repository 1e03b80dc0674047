"""Where record, dvc.lock and checkout disagree, and where they agree."""

import re
import shutil
from pathlib import Path

import pytest

from replication.core import settings
from replication.core.files import read_json, write_text
from replication.core.settings import load
from replication.core.stage import Stage, input_hash, read_record, record_of
from replication.published.reader import read_published_tables
from replication.reporting import staleness
from replication.reporting.staleness import Checkout, read_lock, stale

ROOT = Path(__file__).resolve().parents[2]
MODULE = "replication/stages/running.py"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which nothing has run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)


@pytest.fixture
def ran(checkout) -> dict:
    """The record of a stage that has just run in a checkout."""
    given = load()
    given.seeds()
    given.filter("places_lt")
    Stage("dlsa@places_lt", given).finish()
    return read_record(record_of("dlsa@places_lt"))


def locked(record: dict, **changes: str) -> dict:
    path = record_of(record["stage"]).as_posix()
    return {record["stage"]: {path: record["record_md5"], **changes}}


def test_a_run_that_has_just_ended_is_not_stale(ran) -> None:
    assert read_lock() is None
    assert stale([ran], Checkout(load(), None)) == []
    assert stale([ran], Checkout(load(), locked(ran))) == []


def test_another_setting_in_params_is_named(ran) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("lambda_pure:", "lambda_pure: 0.5"))
    assert stale([ran], Checkout(load(), locked(ran))) == [
        "dlsa@places_lt: lambda_pure was null, params.yaml has 0.5."
    ]


def test_a_setting_that_the_run_did_not_read_does_not_count(ran) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("devices: 1", "devices: 2"))
    assert load().get("devices") == 2
    assert stale([ran], Checkout(load(), locked(ran))) == []


def test_a_setting_that_is_gone_is_named(ran) -> None:
    ran["params"]["lambda_old"] = 1
    assert stale([ran], Checkout(load(), None)) == [
        "dlsa@places_lt: lambda_old is no setting any more."
    ]


def test_another_version_of_a_module_is_named(ran) -> None:
    assert MODULE in ran["modules"]
    ran["modules"][MODULE] = "0" * 16
    assert stale([ran], Checkout(load(), locked(ran))) == [
        f"dlsa@places_lt: {MODULE} changed since it ran."
    ]


def edited_recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on 0.7 is published for lambda_pure on Places-LT."""
    shutil.copytree(settings.PUBLISHED, place / "published")
    monkeypatch.setattr(settings, "PUBLISHED", place / "published")
    file = settings.recipe_file("places_lt")
    text = file.read_text()
    changed = re.sub(r"(lambda_pure:\s+\{?\s*value: )[0-9.]+", r"\g<1>0.7", text)
    assert changed != text
    file.write_text(changed)


def test_another_value_in_a_recipe_is_named(ran, tmp_path, monkeypatch) -> None:
    edited_recipe(tmp_path, monkeypatch)
    assert stale([ran], Checkout(load(), locked(ran))) == [
        "dlsa@places_lt: places_lt.filter.lambda_pure was "
        f"{ran['settings']['places_lt.filter.lambda_pure']}, is 0.7 now."
    ]


def test_a_recipe_without_the_setting_is_named(ran) -> None:
    ran["settings"]["places_lt.filter.lambda_old"] = 1
    assert stale([ran], Checkout(load(), None)) == [
        "dlsa@places_lt: places_lt.filter: 'lambda_old' is no setting any more."
    ]


def test_what_a_row_of_the_ablation_fixes_is_not_the_recipe_s(
    checkout, tmp_path, monkeypatch
) -> None:
    given = load()
    given.filter("places_lt", read_published_tables()["table2"].rows["no_pure"])
    given.classifier("places_lt")
    name = "ablation@places_lt-no_pure"
    Stage(name, given).finish()
    run = read_record(record_of(name))
    assert run["settings"]["places_lt.filter.lambda_pure"] == 0
    assert stale([run], Checkout(load(), None)) == []
    edited_recipe(tmp_path, monkeypatch)
    assert stale([run], Checkout(load(), None)) == []


@pytest.fixture
def read(checkout) -> dict:
    """The record of a stage that read a user's file and one that a stage wrote."""
    write_text("weights.pt", "theirs")
    write_text("outputs/places_lt/data/index.csv", "ours")
    stage = Stage("backbone_paco@places_lt", load())
    stage.reads(Path("weights.pt"))
    stage.reads(Path("outputs/places_lt/data/index.csv"))
    stage.reads(settings.PUBLISHED / "tables.yaml")
    stage.finish()
    return read_record(record_of("backbone_paco@places_lt"))


def test_another_content_of_an_input_is_named(read) -> None:
    assert stale([read], Checkout(load(), None)) == []
    write_text("weights.pt", "others")
    assert stale([read], Checkout(load(), None)) == [
        "backbone_paco@places_lt: weights.pt changed since it ran."
    ]
    Path("weights.pt").unlink()
    assert stale([read], Checkout(load(), None)) == [
        "backbone_paco@places_lt: weights.pt gone since it ran."
    ]


def test_another_content_of_a_published_file_is_named(read) -> None:
    name = "replication/published/tables.yaml"
    assert name in read["inputs"]
    read["inputs"][name] = "0" * 16
    assert stale([read], Checkout(load(), None)) == [
        f"backbone_paco@places_lt: {name} changed since it ran."
    ]


def test_what_a_stage_wrote_is_left_to_dvc_and_not_read_again(read) -> None:
    """The report may open no more than dvc.yaml names; features can be gigabytes."""
    assert "outputs/places_lt/data/index.csv" in read["inputs"]
    write_text("outputs/places_lt/data/index.csv", "other")
    assert stale([read], Checkout(load(), None)) == []


def test_a_file_that_many_runs_read_is_hashed_once(read, monkeypatch) -> None:
    hashed = []
    monkeypatch.setattr(
        staleness, "input_hash", lambda name: hashed.append(name) or input_hash(name)
    )
    checkout = Checkout(load(), None)
    assert stale([read, read], checkout) + stale([read], checkout) == []
    assert hashed.count("weights.pt") == 1


def test_a_record_that_the_lock_does_not_name_is_stale(ran) -> None:
    """The stage was called by hand after DVC had run it; or never by DVC."""
    said = ["dlsa@places_lt: its run record is not the one that dvc.lock names."]
    path = record_of("dlsa@places_lt").as_posix()
    assert stale([ran], Checkout(load(), locked(ran, **{path: "0" * 32}))) == said
    assert stale([ran], Checkout(load(), {})) == said


def test_each_stage_that_disagrees_has_one_sentence(ran) -> None:
    ran["modules"][MODULE] = "0" * 16
    said = stale([ran, ran | {"modules": {}, "params": {}}], Checkout(load(), {}))
    assert said == [
        f"dlsa@places_lt: {MODULE} changed since it ran; its run record is not the one "
        "that dvc.lock names.",
        "dlsa@places_lt: its run record is not the one that dvc.lock names.",
    ]


def test_lock_is_read_as_dvc_writes_it(ran) -> None:
    """An out of each kind: a file, a folder, one that is not cached."""
    write_text(
        "dvc.lock",
        "schema: '2.0'\n"
        "stages:\n"
        "  prepare@inat18:\n"
        "    cmd: python -m replication.stages.prepare inat18\n"
        "    outs:\n"
        "    - path: outputs/inat18/data\n"
        "      hash: md5\n"
        "      md5: aa.dir\n"
        "    - path: outputs/records/prepare@inat18.json\n"
        "      hash: md5\n"
        "      md5: bb\n"
        "  none:\n"
        "    cmd: true\n",
    )
    assert read_lock() == {
        "prepare@inat18": {
            "outputs/inat18/data": "aa.dir",
            "outputs/records/prepare@inat18.json": "bb",
        },
        "none": {},
    }


def test_shipped_lock_names_every_record_of_its_report() -> None:
    """The format that DVC writes today is the one that is read here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        lock = read_lock()
    assert lock is not None
    name = record_of("report").as_posix()
    assert len(lock["report"][name]) == 32


def test_a_record_read_back_has_the_md5_of_its_file(ran) -> None:
    path = record_of("dlsa@places_lt")
    assert read_record(path) == read_json(path) | {"record_md5": ran["record_md5"]}
