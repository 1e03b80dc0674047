"""Where record, dvc.lock and checkout disagree, and where they agree."""

import shutil
from pathlib import Path

import pytest

from replication.files import read_json, write_text
from replication.settings import load
from replication.stages.running import Stage, read_record, record_of
from replication.stages.staleness import read_lock, stale

ROOT = Path(__file__).resolve().parents[2]
MODULE = "replication/stages/running.py"


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The record of a stage that has just run in a checkout."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    settings = load()
    settings.seeds()
    settings.filter("places_lt")
    Stage("dlsa@places_lt", settings).finish()
    return read_record(record_of("dlsa@places_lt"))


def locked(record: dict, **changes: str) -> dict:
    path = record_of(record["stage"]).as_posix()
    return {record["stage"]: {path: record["record_md5"], **changes}}


def test_a_run_that_has_just_ended_is_not_stale(ran) -> None:
    assert read_lock() is None
    assert stale([ran], load(), None) == []
    assert stale([ran], load(), locked(ran)) == []


def test_another_setting_in_params_is_named(ran) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("lambda_pure:", "lambda_pure: 0.5"))
    assert stale([ran], load(), locked(ran)) == [
        "dlsa@places_lt: lambda_pure was null, params.yaml has 0.5."
    ]


def test_a_setting_that_the_run_did_not_read_does_not_count(ran) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("devices: 1", "devices: 2"))
    assert load().get("devices") == 2
    assert stale([ran], load(), locked(ran)) == []


def test_a_setting_that_is_gone_is_named(ran) -> None:
    ran["params"]["lambda_old"] = 1
    assert stale([ran], load(), None) == [
        "dlsa@places_lt: lambda_old is no setting any more."
    ]


def test_another_version_of_a_module_is_named(ran) -> None:
    assert MODULE in ran["modules"]
    ran["modules"][MODULE] = "0" * 16
    assert stale([ran], load(), locked(ran)) == [
        f"dlsa@places_lt: {MODULE} changed since it ran."
    ]


def test_a_record_that_the_lock_does_not_name_is_stale(ran) -> None:
    """The stage was called by hand after DVC had run it; or never by DVC."""
    said = ["dlsa@places_lt: its run record is not the one that dvc.lock names."]
    path = record_of("dlsa@places_lt").as_posix()
    assert stale([ran], load(), locked(ran, **{path: "0" * 32})) == said
    assert stale([ran], load(), {}) == said


def test_each_stage_that_disagrees_has_one_sentence(ran) -> None:
    ran["modules"][MODULE] = "0" * 16
    said = stale([ran, ran | {"modules": {}, "params": {}}], load(), {})
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
    lock_file = ROOT / "dvc.lock"
    if not lock_file.is_file():
        pytest.skip("dvc.lock is not there")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        lock = read_lock()
    assert lock is not None
    name = record_of("report").as_posix()
    assert len(lock["report"][name]) == 32


def test_a_record_read_back_has_the_md5_of_its_file(ran) -> None:
    path = record_of("dlsa@places_lt")
    assert read_record(path) == read_json(path) | {"record_md5": ran["record_md5"]}
