"""The dry check: its good answer and its bad one, on Places-LT whole."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.stages.check_data import main
from tests.data.official import link_places, places_archives

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def places(shared, tmp_path_factory) -> Iterator[Path]:
    """Every list and every image of Places-LT, in the archives' folders."""
    root = link_places(tmp_path_factory.mktemp("places") / "root", shared)
    yield root
    shutil.rmtree(root)


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder with the shipped params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def said(text: str) -> list[str]:
    """Lines without the seconds that they took."""
    return [line.rsplit(" (", 1)[0] for line in text.splitlines()]


def test_whole_benchmark_is_ready_then_spoilt(places, checkout, capsys) -> None:
    assert main(["places_lt", str(places)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [
        "places_lt: list: ok: Places_LT_train.txt, 62,500 images, the published list "
        "(6392252f8ae867bc8a5e841cc1b29e5b8ef4b636)",
        "places_lt: list: ok: Places_LT_val.txt, 7,300 images, the published list "
        "(b93a2ca58ccb7f3b671c176f395a70bf52c95533)",
        "places_lt: list: ok: Places_LT_test.txt, 36,500 images, the published list "
        "(e732e58b8aa718a2c1c11933375f5710652c2b93)",
        "places_lt: counts: ok: 365 classes, as published",
        "places_lt: images: ok: 106,300 of 106,300 there; train/ in "
        "data_256/<letter>/<class>/, val/ in val_256/",
        "places_lt: sizes: ok: 106,300 files, 0 of them empty or no file",
        "places_lt: sample: ok: 200 of 200 images drawn at random decode",
    ]
    assert said(out) == [*lines, f"places_lt: {places}: ready"]
    assert [file.name for file in checkout.iterdir()] == ["params.yaml"]

    train = [
        places / places_archives(line.split()[0])
        for line in (places / "lists" / "Places_LT_train.txt").read_text().splitlines()
    ]
    train[0].unlink()
    for file, content in zip(train[1:3], (b"", b"no image"), strict=True):
        file.unlink()
        file.write_bytes(content)
    assert main(["places_lt", str(places)]) == 2
    out, err = capsys.readouterr()
    images, sizes = said(out)[4:6]
    assert images == (
        "places_lt: images: WRONG: 106,299 of 106,300 there; train/ in "
        "data_256/<letter>/<class>/, val/ in val_256/"
    )
    assert sizes == (
        "places_lt: sizes: WRONG: 106,299 files, 1 of them empty or no file"
    )
    assert err.splitlines() == [
        f"{places}: expected the 106,300 images of the lists, found 106,299; missing: "
        "1 of train",
        f"{train[0]}: expected an image, found nothing",
        f"{train[1]}: expected an image, got an empty file",
    ]


def test_lists_that_cannot_be_used_end_the_check(tmp_path, capsys) -> None:
    (tmp_path / "iNaturalist18_train.txt").write_text("x\n")
    assert main(["inat18", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert said(out)[0] == "inat18: lists and layout: WRONG: cannot be used"
    assert err.splitlines() == [
        f"{tmp_path}: expected iNaturalist18_val.txt there or in lists/, found none",
        f"{tmp_path}/iNaturalist18_train.txt:1: expected a path, a space and a label, "
        "got 'x'",
    ]


def test_images_of_params_are_checked(checkout, write_images, capsys) -> None:
    root = write_images(checkout / "own", {"train/a": 3, "test/a": 2})
    params = checkout / "params.yaml"
    given = (
        params.read_text()
        .replace("own: {images: null", f"own: {{images: {root}")
        .replace("cifar100_lt: {images: null", "cifar100_lt: {images: torchvision")
    )
    params.write_text(given)
    assert main([]) == main(["own"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == (
        "cifar100_lt: downloaded by torchvision, which checks it"
    )
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
