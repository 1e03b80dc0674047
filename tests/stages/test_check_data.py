"""The dry check: its good answer and its bad one."""

import shutil
from pathlib import Path

import pytest

from replication.data import sources
from replication.stages.check_data import main
from tests.data.official import cut, places_archives, published, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder with the shipped params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def test_listed_images_are_ready_then_spoilt(
    shared, checkout, monkeypatch, capsys
) -> None:
    lines = cut(shared, "places_lt")
    known = published("places_lt", lines)
    monkeypatch.setattr(sources, "read_published", lambda _: known)
    places = write(checkout / "places", known, lines, places_archives, "lists")
    assert main(["places_lt", str(places)]) == 0
    lists = [
        f"{one.file}: the published list ({one.blob})" for one in known.lists.values()
    ]
    good = [
        "9 classes; images: 18 test, 27 train, 9 val",
        *lists,
        "images lie: train/ in data_256/<letter>/<class>/, val/ in val_256/",
        "54 files, 0 of them empty or no file",
        "54 of 54 images drawn at random decode",
        f"{places}: ready",
    ]
    out, err = capsys.readouterr()
    assert (out.splitlines(), err) == ([f"places_lt: {line}" for line in good], "")
    assert {file.name for file in checkout.iterdir()} == {"params.yaml", "places"}

    train = [places / places_archives(line.split()[0]) for line in lines["train"]]
    train[1].write_bytes(b"")
    train[2].write_bytes(b"no image")
    assert main(["places_lt", str(places)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-3:] == [
        "places_lt: 54 files, 1 of them empty or no file",
        "places_lt: 52 of 54 images drawn at random decode",
        f"places_lt: {places}: not ready",
    ]
    bad = (f"{place}: expected a whole image, got no image" for place in train[1:3])
    problems = err.splitlines()
    assert problems[0] == f"{train[1]}: expected an image, got an empty file"
    assert sorted(problems[1:]) == sorted(bad)
    train[0].unlink()
    assert main(["places_lt", str(places)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{places}: expected the 54 images of the lists, found 53; missing: 1 of train",
        f"{train[0]}: expected an image, found nothing",
    ]


def test_images_of_params_are_checked(checkout, write_images, capsys) -> None:
    root = write_images(checkout / "own", {"train/a": 3, "test/a": 2})
    (root / "no\ntes.txt").touch()
    params = checkout / "params.yaml"
    given = (
        params.read_text()
        .replace("own: {images: null", f"own: {{images: {root}")
        .replace("cifar100_lt: {images: null", "cifar100_lt: {images: torchvision")
    )
    params.write_text(given)
    assert main([]) == main(["own"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [
        "cifar100_lt: downloaded by torchvision, which checks it",
        "own: 1 classes; images: 2 test, 3 train",
        "own: Not read: 1 .txt (first no\\ntes.txt).",
    ]
    assert out.count(f"own: {root}: ready") == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "params.yaml: inputs.*.images: expected a folder to check, got null"),
        (
            ["inat18"],
            "params.yaml: inputs.inat18.images: expected a folder to check, got null",
        ),
        (
            ["inat18", "gone"],
            "check_data: expected a folder that exists, got 'gone'",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused(arguments, problem, capsys) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [problem]


@pytest.mark.parametrize("arguments", [["inat", "."], ["inat18", ".", "x"]])
def test_what_is_no_benchmark_and_folder_is_refused(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "check_data: error: " in capsys.readouterr().err
