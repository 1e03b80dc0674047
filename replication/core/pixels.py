"""What released weights say of the pixels that they were trained on."""

import math
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from replication.core.files import BadInput, read_about

_WHOLE = 1e-6


@dataclass(frozen=True)
class Pixels:
    """How images looked to a network as its weights were trained.

    Fields: `image_size` pixels a side; `crop`: that, divided by the shorter side before
    the centre crop; `mean`, `std` of each colour channel, of values in 0..1;
    `interpolation`: bilinear or bicubic.
    """

    image_size: int
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def is_file(weights: str) -> bool:
    """Whether pretrained weights are a file's path; else they are a timm name."""
    return "/" in weights or Path(weights).is_file()


@lru_cache
def pixels_of(weights: str, network: str | None) -> frozenset[Pixels]:
    """What pixels some weights may want; several where nothing tells which.

    A file of ours says it. timm says it of a weight name (`resnet50.tv_in1k`); of any
    other file it says what each of its own weights of that network wants.

    `weights`: a timm weight name, or the path of a file. `network`: that a file is of,
    with timm's weight tag or without; None: not asked.
    """
    if not is_file(weights):
        return _of_timm(weights, default=True)
    path = Path(weights).expanduser()
    if path.suffix == ".safetensors":
        with suppress(BadInput):  # whoever loads the weights refuses them
            if (view := read_about(path).get("view")) is not None:
                return frozenset({_of_view(view)})
    return frozenset() if network is None else _of_timm(network, default=False)


def _of_view(view: Mapping[str, Any]) -> Pixels:
    size, crop = view["image_size"], view["image_size"] / view["resize"]
    colours = (tuple(view["mean"]), tuple(view["std"]))
    return Pixels(size, crop, *colours, view["interpolation"])


def _of_timm(name: str, default: bool) -> frozenset[Pixels]:
    """By a weight name, or of a network alone; `default`: of those that timm takes."""
    import timm  # takes seconds, and few runs need it

    if not timm.is_model(name.split(".")[0]):
        return frozenset()
    every = [] if default else timm.list_models(f"{name}.*", pretrained=True)
    configs = map(timm.get_pretrained_cfg, every or [name])
    return frozenset(
        Pixels(
            config.input_size[1],
            config.crop_pct,
            tuple(config.mean),
            tuple(config.std),
            config.interpolation,
        )
        for config in configs
        if config is not None and config.input_size[0] == 3
    )


def agreed(candidates: Set[Pixels], image_size: int | None) -> dict[str, Any]:
    """Settings of `view` that all candidates want; none where there is no candidate.

    `image_size`: that of params.yaml, which the shorter side then goes with.
    """
    fields = ("image_size", "mean", "std", "interpolation", "crop")
    every = {name: {getattr(some, name) for some in candidates} for name in fields}
    view = {name: values.pop() for name, values in every.items() if len(values) == 1}
    crop, side = view.pop("crop", None), image_size or view.get("image_size")
    if crop is not None and side is not None:
        view["resize"] = math.floor(side / crop + _WHOLE)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in view.items()}
