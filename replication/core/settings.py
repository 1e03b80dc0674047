"""Settings: a benchmark's recipe, at its size, the stand-in's, params.yaml, a row.

These are layers, and the last one that has a value gives it. What a stage asks for, it
gets as one frozen section; which keys of params.yaml were read for it is noted, so that
a test can hold them against what dvc.yaml declares. What each setting means stands in
params.yaml.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from replication.core.files import BadInput, read_yaml
from replication.core.params import read_shaped
from replication.core.pixels import Pixels, agreed, is_file, pixels_of
from replication.core.scaling import Size, clusters_of_row, scaled

PARAMS = Path("params.yaml")
DOWNLOADS = Path("downloads")
SHIPPED = Path("shipped")
PUBLISHED = Path(__file__).parent.parent / "published"
STAND_IN = "stand_in"
Benchmark = Literal["imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own"]
Objective = Literal["ce", "paco"]
Recipe = Literal["scaled", "verbatim"]
BENCHMARKS: tuple[Benchmark, ...] = get_args(Benchmark)
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


class Frozen(BaseModel):
    """Settings that neither change nor take what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# ---- Types of settings, and what they refuse beside another type ---------------------


def _refuse_unless(right: bool, expected: str, value: Any) -> Any:
    if not right:
        raise PydanticCustomError("expected", expected)  # type: ignore[misc]
    return value


def _auto_or_count(value: Any) -> Any:
    right = value == "auto" or (type(value) is int and 0 <= value < 2**31)
    return _refuse_unless(right, "auto or a whole number of at least 0", value)


def _each_once(values: list[Any]) -> list[Any]:
    return _refuse_unless(len(set(values)) == len(values), "each once", values)


def _device(name: str) -> str:
    right = re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name) is not None
    return _refuse_unless(right, "auto, cpu, cuda, or a GPU such as cuda:0", name)


def _folder(path: str) -> str:
    there = bool(path) and os.path.isdir(os.path.expanduser(path))
    return _refuse_unless(there, "a folder that exists", path)


def _folder_or_download(path: str) -> str:
    return path if path == "torchvision" else _folder(path)


def _file(path: str) -> str:
    there = os.path.isfile(os.path.expanduser(path))
    return _refuse_unless(there, "a file that exists", path)


def _weights(name: str) -> str:
    right = not is_file(name) or os.path.isfile(os.path.expanduser(name))
    return _refuse_unless(right, "a timm weight name, or a file that exists", name)


# No more than a signed 32-bit number: beyond, PyTorch and NumPy overflow.
Count = Annotated[int, Field(ge=1, lt=2**31)]
CountOrZero = Annotated[int, Field(ge=0, lt=2**31)]
AtLeastTwo = Annotated[int, Field(ge=2, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Colour = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Spread = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.5, le=1)]
View = Literal["randcls", "sim", "cifar_strong", "cifar_sim", "glyph"]
Interpolation = Literal["bilinear", "bicubic"]
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Boundary = Literal["many", "many_medium", "half_classes", "half_images"]
Device = Annotated[str, AfterValidator(_device)]
Workers = Annotated[Any, PlainValidator(_auto_or_count)]
Folder = Annotated[str, AfterValidator(_folder)]
File = Annotated[str, AfterValidator(_file)]
Pretrained = Annotated[str, AfterValidator(_weights)]
_Item = TypeVar("_Item")
Some = Annotated[list[_Item], Field(min_length=1)]
Three = Annotated[list[_Item], Field(min_length=3, max_length=3)]
Listed = Annotated[list[Benchmark], AfterValidator(_each_once)]


# ---- Where the data lies -------------------------------------------------------------


class Each(Frozen, Generic[_Item]):
    """A path for each objective."""

    ce: _Item
    paco: _Item

    @model_validator(mode="before")
    @classmethod
    def _left_out_is_null(cls, value: Any) -> Any:
        given = isinstance(value, dict)
        return dict.fromkeys(OBJECTIVES) | value if given else value


def _kind_of_door(value: Any) -> str | None:
    if isinstance(value, dict | Each):
        return "[each]"
    return "[path]" if isinstance(value, str) else None


_BY_KIND = Discriminator(
    _kind_of_door,
    custom_error_type="expected",
    custom_error_message="text, or a text each for ce and paco",
)


class Doors(Frozen):
    """Where a benchmark's data lies; all None: the stand-in."""

    images: Folder | None
    checkpoint: (
        Annotated[
            Annotated[File, Tag("[path]")]
            | Annotated[Each[File | None], Tag("[each]")],
            _BY_KIND,
        ]
        | None
    )
    features: (
        Annotated[
            Annotated[Folder, Tag("[path]")] | Annotated[Each[Folder], Tag("[each]")],
            _BY_KIND,
        ]
        | None
    )


class DoorsOfCifar(Doors):
    """The one benchmark that torchvision downloads."""

    images: Annotated[str, AfterValidator(_folder_or_download)] | None


class Inputs(Frozen):
    imagenet_lt: Doors
    places_lt: Doors
    inat18: Doors
    cifar100_lt: DoorsOfCifar
    own: Doors


# ---- Sections of params.yaml and of the recipes, and what a stage gets ---------------


class Data(Frozen):
    """What the data is; the last three are the stand-in's."""

    imbalance_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None
    validation_per_class: CountOrZero
    seed: Seed
    num_classes: Annotated[int, Field(ge=3, lt=2**31)]
    num_images: Count
    test_per_class: Count


class DataSettings(Data):
    """Of one benchmark; `published_classes` is None for a folder of the user's own."""

    benchmark: Benchmark
    published_classes: Count | None
    images: str | None
    features: str | None
    image_size: Count
    resize: Count
    interpolation: Interpolation
    stand_in: bool


class ViewSettings(Frozen):
    """How a network gets to see an image."""

    image_size: Count
    resize: Count
    interpolation: Interpolation
    mean: Three[Colour]
    std: Three[Spread]


class Network(Frozen):
    network: str
    pretrained: Pretrained | None
    augmentation: Literal["cifar", "imagenet", "imagenet_jitter", "none"]
    seed: Seed


class Sgd(Frozen):
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count


class Training(Sgd):
    epochs: CountOrZero
    warmup_epochs: CountOrZero
    schedule: Literal["cosine", "steps"]


class Start(Frozen):
    """Where training starts: drawn, whatever is pretrained, or from what is."""

    from_scratch: bool


class CeTraining(Training, Start):
    """Training by cross-entropy, as params.yaml has it."""


class PacoTraining(Training):
    batch_size: AtLeastTwo
    query_view: View
    key_view: View
    freeze: bool
    queue_size: Count
    projection_dim: Count
    key_momentum: Momentum
    temperature: Positive
    alpha: NonNegative
    beta: Positive
    gamma: NonNegative
    supt: Positive


class ImageSettings(ViewSettings):
    """What a network is and how it gets to see an image."""

    network: str


class BackboneSettings(ImageSettings, Network, Training):
    """How a network is trained by cross-entropy."""


class PacoSettings(ImageSettings, PacoTraining):
    """How a network is trained by PaCo."""

    pretrained: Pretrained | None
    seed: Seed


class Place(Frozen):
    """Where it runs; changes the speed and at most the last bits of a result."""

    device: Device
    devices: Count
    workers: Workers


class Machine(Place):
    deterministic: bool
    tf32: bool


class MachineSettings(Place):
    precision: Precision


class DecouplingSettings(Sgd):
    """How cRT and LWS are fitted (Table 1)."""

    inputs: Literal["images", "features"]
    crt_epochs: Count
    lws_epochs: Count
    samples_per_class: Count


class ExtractionSettings(Frozen):
    """How the training samples' features are taken."""

    augmented_passes: CountOrZero


class HeadSettings(Sgd):
    """How a Balanced Softmax head is fitted to frozen features."""

    epochs: Count


class WhatIfs(Frozen):
    """The Flow Filter's objective and clusters (Sect. 2, 3, 5, 7)."""

    lambda_mle: NonNegative
    lambda_bal: NonNegative
    lambda_pure: NonNegative
    num_clusters: Count
    sigma: Positive


class FilterTraining(Frozen):
    eta: Momentum
    weight_exponent: NonNegative
    lr: Positive
    batch_size: AtLeastTwo
    epochs: Count


class FilterSettings(FilterTraining, WhatIfs):
    """A Flow Filter, whole (Sect. 2, 3, 5)."""


class CascadeSettings(Frozen):
    depth: Count
    leaving_share: Share


class ClassifierSettings(Frozen):
    """How the linear classifiers of the cascade are fitted."""

    lr: Positive
    batch_size: Count
    epochs: Count
    evaluate_every: Count
    second_terms: Literal["drawn", "zero"]


class Fig2Settings(Frozen):
    """The separation experiment of Sect. 1; its first boundary is the main one."""

    inputs: Literal["images", "features"]
    network: str
    probabilities: Some[Probability]
    boundaries: Some[Boundary]
    candidates: Literal["all", "seen"]
    epochs: Count
    linear_epochs: Count
    lr: Positive
    batch_size: AtLeastTwo


class SweepSettings(Frozen):
    """The sigmas that are tried beside those of Sect. 3, and draws of centres."""

    sigmas: Some[Positive]
    draws: Count


class EstimatorSettings(Frozen):
    """The simulation of Sect. 2's momentum estimator, and its probes in a real fit."""

    etas: Some[Momentum]
    steps: Some[Count]
    clusters: AtLeastTwo
    batch_size: Count
    draws: AtLeastTwo
    probes: Count
    seed: Seed


class DiagnoseSettings(Frozen):
    """Values that are tried beside those in use, to see what DLSA would need."""

    search_seeds: Count
    lr_factors: list[Positive]
    depths: list[Count]
    leaving_shares: list[Share]
    sigmas: list[Positive]
    num_clusters: list[Count]
    weight_exponents: list[NonNegative]
    without: list[Literal["lambda_mle", "lambda_bal", "lambda_pure"]]


# ---- The shape of params.yaml --------------------------------------------------------


def _or_null(kind: type[Frozen], **more: Any) -> Any:
    """A section whose settings may each be null, but for its seed."""
    for name, info in kind.model_fields.items():
        annotation = info.rebuild_annotation()
        more[name] = annotation if name == "seed" else annotation | None
    fields = {name: (annotation, ...) for name, annotation in more.items()}
    return create_model(kind.__name__, __base__=Frozen, **fields)


class Coverage(Frozen):
    """What a run covers; each list of benchmarks after the first draws on that."""

    seeds: Annotated[Some[Seed], AfterValidator(_each_once)]
    benchmarks: Annotated[Listed, Field(min_length=1)]
    comparison: Listed
    ablation: Listed
    confusion: Listed
    selection: Listed
    separation: Listed
    diagnosis: Listed


LISTS = tuple(Coverage.model_fields)[1:]


class Params(_or_null(WhatIfs), Coverage):
    """params.yaml as it must be: every key, its type and its range."""

    recipe: Recipe
    inputs: Inputs
    data: _or_null(Data)
    view: _or_null(ViewSettings)
    backbone: _or_null(Network)
    ce: _or_null(CeTraining, precision=Precision | None)
    paco: _or_null(PacoTraining, precision=Precision | None)
    extraction: _or_null(ExtractionSettings)
    decoupling: _or_null(DecouplingSettings)
    head: _or_null(HeadSettings)
    filter: _or_null(FilterTraining)
    cascade: _or_null(CascadeSettings)
    classifier: _or_null(ClassifierSettings)
    fig2: _or_null(Fig2Settings)
    sweep: SweepSettings
    estimator: EstimatorSettings
    diagnose: DiagnoseSettings
    machine: Machine


def _contradictions(params: Params) -> Iterator[str]:
    """What no single value shows."""
    for name in LISTS[1:]:
        beyond = [b for b in getattr(params, name) if b not in params.benchmarks]
        if beyond:
            yield (
                f"{name}: expected benchmarks out of benchmarks: {params.benchmarks}, "
                f"got {', '.join(beyond)}"
            )
    for name, doors in params.inputs:
        if doors.checkpoint and not doors.images and not doors.features:
            yield (
                f"inputs.{name}.images: expected a folder, since "
                f"inputs.{name}.checkpoint needs images to turn into features, got null"
            )
    if "own" in params.benchmarks and not any(dict(params.inputs.own).values()):
        yield (
            "inputs.own: expected images or features, since benchmarks lists own, "
            "got null"
        )


def load(path: Path = PARAMS) -> "Settings":
    """Read and check params.yaml, whatever part of it is needed.

    Raises BadInput: one line for each thing that is wrong with it.
    """
    params = read_shaped(path, Params)
    if lines := [f"{path}: {line}" for line in _contradictions(params)]:
        raise BadInput(lines)
    return Settings(params)


# ---- Layers --------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One setting in use; `source` is the published value's, `origin` the layer.

    Where the value is a scaled one, `source` is the arithmetic.
    """

    value: Any
    published: Any
    source: str
    origin: Literal[
        "published", "guess", "scaled", "stand-in", "input", "overridden", "row"
    ]


@dataclass(frozen=True)
class Row:
    """One printed row of a table: label, what it changes, the numbers in percent.

    `defaults`: what print says that the full model has there.
    """

    label: str
    changes: Mapping[str, float]
    values: Mapping[str, float | None]
    defaults: Mapping[str, float] = field(default_factory=dict)


_Section = TypeVar("_Section", bound=Frozen)
SECTIONS_OF_IMAGES = ("data", "view", "backbone", "ce", "paco", "extraction")
_SCALED_SECTIONS = ("filter", "classifier")
_SCALE = ("num_classes", "num_images", "test_per_class")  # the stand-in's
# Settings that move a number at most by chance, or only the stand-in's; any other one
# that is overridden makes it another experiment than the printed one.
_FREE = {"backbone.seed", "data.seed", *(f"data.{name}" for name in _SCALE)}
_FREE_SECTIONS = {
    *(*LISTS, "seeds", "inputs", "machine", "recipe"),
    *("fig2", "sweep", "estimator", "diagnose"),
}


def recipe_file(benchmark: str) -> Path:
    """Where the recipe of a benchmark, or of the stand-in, lies."""
    return PUBLISHED / "recipes" / f"{benchmark}.yaml"


def read_recipe(benchmark: str) -> dict[str, Any]:
    """The recipe of a benchmark: section -> setting -> {value, source}.

    In the file a setting without a source of its own has its section's.
    """
    recipe = read_yaml(recipe_file(benchmark))
    for settings in recipe.values():
        if isinstance(settings, dict):
            source = settings.pop("source", None)
            for name, value in settings.items():
                if not isinstance(value, dict):
                    settings[name] = {"value": value, "source": source}
    return recipe


class Settings:
    """Validated params.yaml; hands out sections and notes the keys they came from.

    Fields: `keys_read` so far; `resolved` settings of the recipes by their whole name;
    `origins`: section and name of each setting handed out -> its layer; `as_recipe`:
    keys that params.yaml sets -> whether every recipe it was used in has that value
    too.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self.keys_read: set[str] = set()
        self.resolved: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.as_recipe: dict[str, bool] = {}

    def get(self, key: str) -> Any:
        """Value of a dotted key; the read is noted."""
        self.keys_read.add(key)
        return attrgetter(key)(self._params)

    def departures(self) -> list[str]:
        """Keys read so far whose value in params.yaml makes it another experiment."""
        return sorted(
            key
            for key in self.keys_read
            if self.get(key) is not None
            and not self.as_recipe.get(key, False)
            and key not in _FREE
            and key.split(".")[0] not in _FREE_SECTIONS
        )

    # ---- Layers: the recipe, at its size, the stand-in's, params.yaml, a row ----

    def recipe(self, benchmark: str) -> Literal["published", "scaled", "verbatim"]:
        """What a benchmark's settings are: printed, or ours in one of two ways."""
        ours = self.get("recipe")
        return "published" if read_recipe(benchmark)["printed"] else ours

    def choices(
        self,
        benchmark: str,
        section: str,
        names: tuple[str, ...],
        row: Row | None = None,
        size: Size | None = None,
    ) -> dict[str, Choice]:
        """Each named setting of a recipe's section with its origin; a row wins.

        `size` is of the features at hand; sections `filter` and `classifier` need it
        where the recipe is scaled.
        """
        recipe = read_recipe(benchmark)[section]
        at_size = self._at_size(benchmark, section, size)
        drawn = read_recipe(STAND_IN).get(section, {})
        if drawn and not self.is_stand_in(benchmark):
            drawn = {}
        own = self.own_pixels(benchmark) if section == "view" else {}
        chosen = {}
        for name in names:
            published, source = recipe[name]["value"], recipe[name]["source"]
            stated = "guess" if source.startswith("guess") else "published"
            choice = at_size.get(name) or Choice(published, published, source, stated)
            key = name if name in WhatIfs.model_fields else f"{section}.{name}"
            if (override := self.get(key)) is not None:
                same = override == choice.value
                self.as_recipe[key] = same and self.as_recipe.get(key, True)
                if not same:
                    choice = Choice(override, published, source, "overridden")
            else:
                if name in drawn:
                    value = drawn[name]["value"]
                    choice = replace(choice, value=value, origin="stand-in")
                if own.get(name, choice.value) != choice.value:
                    choice = replace(choice, value=own[name], origin="input")
            chosen[name] = choice
        if section == "paco":
            chosen = _lr_by_batch(chosen)
        if row is not None:
            chosen |= _of_row(chosen, row, in_proportion=bool(at_size))
        self.resolved |= {
            f"{benchmark}.{section}.{name}": choice.value
            for name, choice in chosen.items()
        }
        return chosen

    def _at_size(
        self, benchmark: str, section: str, size: Size | None
    ) -> dict[str, Choice]:
        """Settings of a section that the size decides, where the recipe is scaled."""
        if section not in _SCALED_SECTIONS or self.recipe(benchmark) != "scaled":
            return {}
        assert size is not None, f"{benchmark}.{section} needs the size of its features"
        recipe = read_recipe(benchmark)[section]
        return {
            name: Choice(
                at.value, recipe[name]["value"], f"scaled: {at.arithmetic}", "scaled"
            )
            for (where, name), at in scaled(size).items()
            if where == section
        }

    def _section(
        self,
        kind: type[_Section],
        benchmark: str,
        /,
        *sections: str,
        row: Row | None = None,
        size: Size | None = None,
        **given: Any,
    ) -> _Section:
        """A section for a stage, out of one or several of the recipe."""
        for section in sections:
            known = read_recipe(benchmark)[section]
            names = tuple(name for name in known if name in kind.model_fields)
            chosen = self.choices(benchmark, section, names, row, size)
            given |= {name: choice.value for name, choice in chosen.items()}
            if not self._left_to_features(benchmark, section):
                self.origins |= {
                    f"{section}.{name}": some.origin for name, some in chosen.items()
                }
        return kind(**given)

    def _left_to_features(self, benchmark: str, section: str) -> bool:
        """Whether a section is about images where cached features are given."""
        about_images = section in SECTIONS_OF_IMAGES
        return about_images and self.features(benchmark, "paco") is not None

    # ---- What a run covers, and where it runs ----

    def seeds(self) -> tuple[int, ...]:
        return tuple(self.get("seeds"))

    def listed(self, what: str) -> tuple[str, ...]:
        """Benchmarks that a list of params.yaml names: comparison, ablation, ..."""
        return tuple(self.get(what))

    def device(self) -> str:
        return self.get("machine.device")

    def deterministic(self) -> bool:
        return self.get("machine.deterministic")

    def tf32(self) -> bool:
        return self.get("machine.tf32")

    def workers(self) -> str | int:
        return self.get("machine.workers")

    def machine(self, benchmark: str, objective: Objective) -> MachineSettings:
        given = {name: self.get(f"machine.{name}") for name in Place.model_fields}
        return self._section(MachineSettings, benchmark, objective, **given)

    # ---- Where the data is ----

    def title(self, benchmark: str) -> str:
        """What a reader calls the data: data of the user's own by its folder's name."""
        doors = (self._door("own", door, "paco") for door in ("images", "features"))
        named = [folder.name for folder in doors if folder is not None]
        own = benchmark == "own" and named
        return named[0] if own else read_recipe(benchmark)["title"]

    def is_stand_in(self, benchmark: str) -> bool:
        """Whether the benchmark has neither an input of its own nor what is shipped."""
        return self._no_input(benchmark) and not self.is_shipped(benchmark)

    def is_shipped(self, benchmark: str) -> bool:
        """Whether the benchmark rests on the features that the checkout carries."""
        return self._no_input(benchmark) and (SHIPPED / benchmark).is_dir()

    def _no_input(self, benchmark: str) -> bool:
        doors = (self.get(f"inputs.{benchmark}.{door}") for door in Doors.model_fields)
        return all(door is None for door in doors)

    def images_root(self, benchmark: str) -> Path | None:
        """Folder that the index's paths of large images start from."""
        root = self._door(benchmark, "images", "paco")
        return DOWNLOADS / "cifar100" if root == Path("torchvision") else root

    def features(self, benchmark: str, objective: str) -> Path | None:
        """Folder of cached features, where that is the benchmark's input."""
        if self.is_shipped(benchmark):
            return SHIPPED / benchmark / objective
        return self._door(benchmark, "features", objective)

    def checkpoint(self, benchmark: str, objective: str) -> Path | None:
        """Weights to use instead of training, where they are given."""
        return self._door(benchmark, "checkpoint", objective)

    def own_pixels(self, benchmark: str) -> dict[str, Any]:
        """Settings of `view` that a benchmark's weights want, where they say so.

        The recipe's own weights, and a file of its own network, come with its pixels.
        """
        given = self.choices(benchmark, "backbone", ("network", "pretrained"))
        network, pretrained = given["network"], given["pretrained"]
        other = network.value if network.value != network.published else None
        candidates: set[Pixels] = set()
        for objective in OBJECTIVES:
            if self.features(benchmark, objective) is not None:
                continue
            checkpoint = self.checkpoint(benchmark, objective)
            weights = pretrained.value if checkpoint is None else str(checkpoint)
            if weights is not None and weights != pretrained.published:
                candidates |= pixels_of(weights, other)
        return agreed(candidates, self.get("view.image_size"))

    def _door(self, benchmark: str, door: str, objective: str) -> Path | None:
        """One path serves every objective; by name, each has its own."""
        value = self.get(f"inputs.{benchmark}.{door}")
        if isinstance(value, Each):
            value = getattr(value, objective)
        return Path(value).expanduser() if value else None

    # ---- Sections ----

    def data(self, benchmark: str) -> DataSettings:
        features = self.features(benchmark, "paco")
        drawn = read_recipe(STAND_IN)["data"]
        scale = {
            name: self.get(f"data.{name}") or drawn[name]["value"] for name in _SCALE
        }
        return self._section(
            DataSettings,
            benchmark,
            "data",
            "view",
            benchmark=benchmark,
            published_classes=read_recipe(benchmark)["classes"],
            images=self.get(f"inputs.{benchmark}.images"),
            features=None if features is None else str(features),
            seed=self.get("data.seed"),
            stand_in=self.is_stand_in(benchmark),
            **scale,
        )

    def images(self, benchmark: str) -> ImageSettings:
        return self._section(ImageSettings, benchmark, "backbone", "view")

    def backbone(self, benchmark: str) -> BackboneSettings:
        settings = self._network(BackboneSettings, benchmark, "ce")
        if self._section(Start, benchmark, "ce").from_scratch:
            return settings.model_copy(update={"pretrained": None})
        return settings

    def paco(self, benchmark: str) -> PacoSettings:
        return self._network(PacoSettings, benchmark, "paco")

    def _network(self, kind: type[_Section], benchmark: str, how: str) -> _Section:
        seed = self.get("backbone.seed")
        return self._section(kind, benchmark, "backbone", "view", how, seed=seed)

    def extraction(self, benchmark: str) -> ExtractionSettings:
        return self._section(ExtractionSettings, benchmark, "extraction")

    def decoupling(self, benchmark: str) -> DecouplingSettings:
        """Section for cRT and LWS; cached features leave no images to augment."""
        return self._without_images(DecouplingSettings, benchmark, "decoupling", "ce")

    def fig2(self, benchmark: str) -> Fig2Settings:
        """Section for the separation experiment; on cached features likewise."""
        return self._without_images(Fig2Settings, benchmark, "fig2", "paco")

    def _without_images(
        self, kind: type[_Section], benchmark: str, section: str, objective: Objective
    ) -> _Section:
        settings = self._section(kind, benchmark, section)
        imported = self.features(benchmark, objective) is not None
        return settings.model_copy(update={"inputs": "features"} if imported else {})

    def head(self, benchmark: str) -> HeadSettings:
        return self._section(HeadSettings, benchmark, "head")

    def filter(
        self, benchmark: str, size: Size, row: Row | None = None
    ) -> FilterSettings:
        """Section for a Flow Filter, with the change that a row of Table 2 makes.

        `size` is of the distinct training samples and their features, here and below.
        """
        return self._section(FilterSettings, benchmark, "filter", row=row, size=size)

    def cascade(self, benchmark: str) -> CascadeSettings:
        return self._section(CascadeSettings, benchmark, "cascade")

    def classifier(self, benchmark: str, size: Size) -> ClassifierSettings:
        return self._section(ClassifierSettings, benchmark, "classifier", size=size)

    def sweep(self) -> SweepSettings:
        return self.get("sweep")

    def estimator(self) -> EstimatorSettings:
        return self.get("estimator")

    def diagnose(self) -> DiagnoseSettings:
        return self.get("diagnose")


def _of_row(
    chosen: Mapping[str, Choice], row: Row, in_proportion: bool
) -> dict[str, Choice]:
    """What a row changes; of K in use the printed share, where K is not the printed."""
    changed = {}
    for name, value in row.changes.items():
        if name not in chosen:
            continue
        choice, source = chosen[name], f"row {row.label}"
        if name == "num_clusters" and in_proportion:
            at = clusters_of_row(choice.value, row.defaults[name], value)
            value, source = at.value, f"{source}, scaled: {at.arithmetic}"
        changed[name] = replace(choice, value=value, source=source, origin="row")
    return changed


def _lr_by_batch(chosen: dict[str, Choice]) -> dict[str, Choice]:
    """PaCo's rule: its published rate goes with the global batch, in proportion."""
    lr, batch = chosen.get("lr"), chosen.get("batch_size")
    origins = (lr and lr.origin, batch and batch.origin)
    if origins != ("published", "overridden"):
        return chosen
    value = lr.value * batch.value / batch.published
    source = f"{lr.source}; in proportion to the batch"
    return chosen | {"lr": Choice(value, lr.published, source, "overridden")}
