"""Keeping a run's pages beside the default run's."""

from pathlib import Path

import pytest

from replication.files import BadInput, write_text
from replication.stages.keep import keep, main


def test_pages_figures_and_record_of_the_run_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("reports/README.md", "reports/figures/a/b.svg", "results/t.json"):
        write_text(name, name)
    write_text("params.yaml", "seeds: [0]")
    write_text("dvc.lock", "schema: '2.0'")
    write_text("reports/mine/old.md", "of an earlier run")
    assert keep("mine") == Path("reports/mine")
    kept = {
        p.relative_to("reports/mine").as_posix()
        for p in Path("reports/mine").rglob("*.*")
    }
    assert kept == {
        "README.md",
        "figures/a/b.svg",
        "run/t.json",
        "run/params.yaml",
        "run/dvc.lock",
    }
    assert Path("reports/mine/figures/a/b.svg").read_text() == "reports/figures/a/b.svg"


@pytest.mark.parametrize("name", ["", "../up", "A", "figures", "a/b"])
def test_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as refusal:
        keep(name)
    assert str(refusal.value) == (
        f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
    )


def test_nothing_to_keep_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mine"]) == 2
    assert capsys.readouterr().err == (
        "reports: expected pages to keep, found none; run: dvc repro\n"
    )
