"""Fixtures that more than one test module needs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from replication.core.files import BadInput
from replication.core.settings import BackboneSettings
from tests.backbones.made import TRAINING

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)

Refused = Callable[[Callable[[], Any]], list[str]]
WriteImages = Callable[[Path, Mapping[str, int]], Path]
MakeBackbone = Callable[..., BackboneSettings]


# Files that take longest, which start processes of their own.
LONGEST = (
    "test_whole.py",
    "test_faults.py",
    "test_processes.py",
    "test_two_processes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: the processes that share the files then end together."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with the paper's text and public data."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    return folder


@pytest.fixture(scope="session")
def refused() -> Refused:
    """Call, expect BadInput, return its problems; each must be one line."""

    def call(action: Callable[[], Any]) -> list[str]:
        with pytest.raises(BadInput) as caught:
            action()
        problems = caught.value.problems
        assert problems
        for problem in problems:
            assert problem.strip() and len(problem.splitlines()) == 1
        return problems

    return call


@pytest.fixture(scope="session")
def write_images() -> WriteImages:
    """Write an image folder: {"train/a": 3} becomes train/a/0.png .. 2.png of noise."""

    def write(root: Path, images: Mapping[str, int]) -> Path:
        generator = np.random.default_rng(len(images))
        for folder, number in images.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(number):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{i}.png")
        return root

    return write


@pytest.fixture(scope="session")
def backbone_settings() -> MakeBackbone:
    """Small settings of a backbone, with changes by name."""

    def make(**changes: Any) -> BackboneSettings:
        plain = {"augmentation": "none", "lr": 0.1, "batch_size": 8}
        plain |= {"warmup_epochs": 0, "image_size": 32, "resize": 32}
        return BackboneSettings(**TRAINING | plain | changes)

    return make
