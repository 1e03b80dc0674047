"""Settings: a benchmark's recipe, the stand-in's, params.yaml, a row of Table 2.

These are layers, and the last one that has a value gives it. What a stage asks for, it
gets as one frozen section; which keys of params.yaml were read for it is noted, so that
a test can hold them against what dvc.yaml declares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PlainValidator, create_model
from pydantic_core import PydanticCustomError

from replication.core.files import read_yaml
from replication.core.params import BENCHMARKS as BENCHMARKS
from replication.core.params import (
    DOORS,
    LISTS,
    Benchmark,
    Coverage,
    Each,
    Frozen,
    Objective,
    Seed,
    read_params,
)
from replication.core.params import OBJECTIVES as OBJECTIVES

PARAMS = Path("params.yaml")
PUBLISHED = Path(__file__).parent.parent / "published"
STAND_IN = "stand_in"


def _auto_or_count(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or not 0 <= value < 2**31):
        raise PydanticCustomError("expected", "auto or a whole number of at least 0")
    return value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
# No more than a signed 32-bit number: beyond, PyTorch and NumPy overflow.
Count = Annotated[int, Field(ge=1, lt=2**31)]
CountOrZero = Annotated[int, Field(ge=0, lt=2**31)]
AtLeastTwo = Annotated[int, Field(ge=2, lt=2**31)]
Imbalance = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Colour = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Spread = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.5, le=1)]
Schedule = Literal["cosine", "steps"]
Augmentation = Literal["cifar", "imagenet", "none"]
View = Literal["randcls", "sim", "cifar_strong", "cifar_sim", "glyph"]
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Boundary = Literal["many", "many_medium", "half_classes", "half_images"]
Source = Literal["images", "features"]
Lambda = Literal["lambda_mle", "lambda_bal", "lambda_pure"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
Workers = Annotated[Any, PlainValidator(_auto_or_count)]


# ---- Sections of params.yaml and of the recipes, and what a stage gets ---------------


class Data(Frozen):
    """What the data is; the last three are the stand-in's."""

    imbalance_factor: Imbalance | None
    validation_per_class: CountOrZero
    seed: Seed
    num_classes: Annotated[int, Field(ge=3, lt=2**31)]
    num_images: Count
    test_per_class: Count


class DataSettings(Data):
    """What `prepare` needs of one benchmark.

    `published_classes` is C of the real benchmark; None for a folder of the user's own.
    """

    benchmark: Benchmark
    published_classes: Count | None
    images: str | None
    features: str | None
    image_size: Count
    resize: Count
    stand_in: bool


class ViewSettings(Frozen):
    """How a network gets to see an image."""

    image_size: Count
    resize: Count
    mean: Annotated[list[Colour], Field(min_length=3, max_length=3)]
    std: Annotated[list[Spread], Field(min_length=3, max_length=3)]


class Network(Frozen):
    """Which network is trained, and from what."""

    network: str
    pretrained: str | None
    augmentation: Augmentation
    seed: Seed


class Sgd(Frozen):
    """Stochastic gradient descent."""

    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count


class Training(Sgd):
    """Of a network on images."""

    epochs: Count
    warmup_epochs: CountOrZero
    schedule: Schedule


class PacoTraining(Training):
    """What PaCo has beside it."""

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

    pretrained: str | None
    seed: Seed


class Machine(Frozen):
    """Where it runs; changes the speed and at most the last bits of a result."""

    device: Device
    devices: Count
    deterministic: bool
    tf32: bool
    workers: Workers


class MachineSettings(Frozen):
    """Where a network is trained."""

    device: Device
    devices: Count
    precision: Precision
    workers: Workers


class DecouplingSettings(Sgd):
    """How cRT and LWS are fitted (Table 1).

    `inputs` images: augmented images through the frozen network, as published;
    features: the cached features.
    """

    inputs: Source
    crt_epochs: Count
    lws_epochs: Count
    samples_per_class: Count


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
    """How a Flow Filter is fitted to it."""

    eta: Momentum
    weight_exponent: NonNegative
    lr: Positive
    batch_size: AtLeastTwo
    epochs: Count


class FilterSettings(FilterTraining, WhatIfs):
    """A Flow Filter, whole (Sect. 2, 3, 5)."""


class CascadeSettings(Frozen):
    """How Flow Filters are chained."""

    depth: Count
    leaving_share: Share


class ClassifierSettings(Frozen):
    """How the linear classifiers of the cascade are fitted."""

    lr: Positive
    batch_size: Count
    epochs: Count
    evaluate_every: Count


class Fig2Settings(Frozen):
    """The separation experiment of Sect. 1.

    `boundaries`: where head classes end; the first is the one that is reported first.
    `candidates`: the classes that a group's classifier may answer with: all, or those
    that it saw in training.
    """

    inputs: Source
    network: str
    probabilities: Annotated[list[Probability], Field(min_length=1)]
    boundaries: Annotated[list[Boundary], Field(min_length=1)]
    candidates: Literal["all", "seen"]
    epochs: Count
    linear_epochs: Count
    lr: Positive
    batch_size: AtLeastTwo


class SweepSettings(Frozen):
    """The sigmas that are tried beside those of Sect. 3, and draws of centres."""

    sigmas: Annotated[list[Positive], Field(min_length=1)]
    draws: Count


class EstimatorSettings(Frozen):
    """The simulation of Sect. 2's momentum estimator, and its probes in a real fit."""

    etas: Annotated[list[Momentum], Field(min_length=1)]
    steps: Annotated[list[Count], Field(min_length=1)]
    clusters: AtLeastTwo
    batch_size: Count
    draws: AtLeastTwo
    probes: Count
    seed: Seed


class DiagnoseSettings(Frozen):
    """Values that are tried beside those in use, to see what DLSA would need.

    `search_seeds`: how many of the seeds the search looks at. `lr_factors` times the
    classifiers' learning rate; `without`: losses left out, one at a time. The rest as
    in `FilterSettings` and `CascadeSettings`.
    """

    search_seeds: Count
    lr_factors: list[Positive]
    depths: list[Count]
    leaving_shares: list[Share]
    sigmas: list[Positive]
    num_clusters: list[Count]
    weight_exponents: list[NonNegative]
    without: list[Lambda]


# ---- The shape of params.yaml --------------------------------------------------------


def _or_null(kind: type[Frozen], **more: Any) -> Any:
    """A section whose settings may each be null, but for its seed."""
    for name, field in kind.model_fields.items():
        annotation = field.rebuild_annotation()
        more[name] = annotation if name == "seed" else annotation | None
    fields = {name: (annotation, ...) for name, annotation in more.items()}
    return create_model(kind.__name__, __base__=Frozen, **fields)


class Params(_or_null(WhatIfs), Coverage):
    """params.yaml as it must be: every key, its type and its range."""

    data: _or_null(Data)
    view: _or_null(ViewSettings)
    backbone: _or_null(Network)
    ce: _or_null(Training, precision=Precision | None)
    paco: _or_null(PacoTraining, precision=Precision | None)
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


# ---- Layers --------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One setting in use, and why it is what it is.

    Fields: `source` of the published value; `origin`: the layer that gave `value`, of
    which the recipe is two: what a source says, and what none does.
    """

    value: Any
    published: Any
    source: str
    origin: Literal["published", "guess", "stand-in", "overridden", "row"]


@dataclass(frozen=True)
class Row:
    """One printed row of a table: label, what it changes, the numbers in percent."""

    label: str
    changes: Mapping[str, float]
    values: Mapping[str, float | None]


_Section = TypeVar("_Section", bound=Frozen)
_SCALE = ("num_classes", "num_images", "test_per_class")  # the stand-in's
# Settings that move a number at most by chance, or only the stand-in's; any other one
# that is overridden makes it another experiment than the printed one.
_FREE = {"backbone.seed", "data.seed", *(f"data.{name}" for name in _SCALE)}
_FREE_SECTIONS = {
    *(*LISTS, "seeds", "inputs", "machine"),
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
        source = settings.pop("source", None) if isinstance(settings, dict) else None
        for name, value in settings.items() if isinstance(settings, dict) else ():
            if not isinstance(value, dict):
                settings[name] = {"value": value, "source": source}
    return recipe


class Settings:
    """Validated params.yaml; hands out sections and notes the keys they came from.

    Fields: `keys_read` so far; `resolved` settings of the recipes by their whole name;
    `as_recipe`: keys that params.yaml sets -> whether the recipe has that value too,
    printed or guessed, wherever it was used.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self.keys_read: set[str] = set()
        self.resolved: dict[str, Any] = {}
        self.as_recipe: dict[str, bool] = {}

    def get(self, key: str) -> Any:
        """Value of a dotted key; the read is noted in `keys_read`."""
        self.keys_read.add(key)
        value: Any = self._params
        for name in key.split("."):
            value = getattr(value, name)
        return value

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

    # ---- Layers: the recipe, the stand-in's, params.yaml, a row ----

    def choices(
        self,
        benchmark: str,
        section: str,
        names: tuple[str, ...],
        row: Row | None = None,
    ) -> dict[str, Choice]:
        """Each setting of a section with its origin.

        Args:
            benchmark: whose recipe.
            section: of the recipe: data, view, backbone, ce, head, filter, ...
            names: the settings wanted.
            row: of the ablation, whose changes win over everything.
        """
        recipe = read_recipe(benchmark)[section]
        stand_in = read_recipe(STAND_IN).get(section)
        if stand_in is None or not self.is_stand_in(benchmark):
            stand_in = {}
        chosen = {
            name: self._choice(section, name, recipe[name], stand_in.get(name), row)
            for name in names
        }
        if section == "paco":
            chosen = _lr_by_batch(chosen)
        self.resolved |= {
            f"{benchmark}.{section}.{name}": choice.value
            for name, choice in chosen.items()
        }
        return chosen

    def _choice(
        self,
        section: str,
        name: str,
        recipe: Mapping[str, Any],
        stand_in: Mapping[str, Any] | None,
        row: Row | None,
    ) -> Choice:
        published, source = recipe["value"], recipe["source"]
        stated = "guess" if source.startswith("guess") else "published"
        layers: list[tuple[Any, Any]] = [(published, stated)]
        if stand_in is not None:
            layers.append((stand_in["value"], "stand-in"))
        key = name if name in WhatIfs.model_fields else f"{section}.{name}"
        override = self.get(key)
        if override is not None:
            same = override == published
            self.as_recipe[key] = same and self.as_recipe.get(key, True)
            layers.append((override, stated if same else "overridden"))
        if row is not None and name in row.changes:
            layers.append((row.changes[name], "row"))
            source = f"row {row.label}"
        value, origin = layers[-1]
        return Choice(value, published, source, origin)

    def _section(
        self,
        kind: type[_Section],
        benchmark: str,
        /,
        *sections: str,
        row: Row | None = None,
        **given: Any,
    ) -> _Section:
        """A section for a stage, out of one or several of the recipe."""
        for section in sections:
            known = read_recipe(benchmark)[section]
            names = tuple(name for name in known if name in kind.model_fields)
            chosen = self.choices(benchmark, section, names, row)
            given |= {name: choice.value for name, choice in chosen.items()}
        return kind(**given)

    # ---- What a run covers, and where it runs ----

    def seeds(self) -> tuple[int, ...]:
        """Seeds of everything after the features."""
        return tuple(self.get("seeds"))

    def listed(self, what: str) -> tuple[str, ...]:
        """Benchmarks that a list of params.yaml names: comparison, ablation, ..."""
        return tuple(self.get(what))

    def device(self) -> str:
        """`auto`, `cpu`, `cuda` or `cuda:N`."""
        return self.get("machine.device")

    def deterministic(self) -> bool:
        """Whether a GPU must compute the same bytes each time."""
        return self.get("machine.deterministic")

    def tf32(self) -> bool:
        """Whether a GPU may round the factors of matrix products to 10 bits."""
        return self.get("machine.tf32")

    def workers(self) -> str | int:
        """Processes that decode images, or `auto`."""
        return self.get("machine.workers")

    def machine(self, benchmark: str, objective: Objective) -> MachineSettings:
        """Section that says where a network is trained."""
        names = ("device", "devices", "workers")
        given = {name: self.get(f"machine.{name}") for name in names}
        return self._section(MachineSettings, benchmark, objective, **given)

    # ---- Where the data is ----

    def is_stand_in(self, benchmark: str) -> bool:
        """Whether the benchmark has no input of its own."""
        return all(self.get(f"inputs.{benchmark}.{door}") is None for door in DOORS)

    def images_root(self, benchmark: str) -> Path | None:
        """Folder that the index's paths of large images start from."""
        return self._door(benchmark, "images", "paco")

    def features(self, benchmark: str, objective: str) -> Path | None:
        """Folder of cached features, where that is the benchmark's input."""
        return self._door(benchmark, "features", objective)

    def checkpoint(self, benchmark: str, objective: str) -> Path | None:
        """Weights to use instead of training, where they are given."""
        return self._door(benchmark, "checkpoint", objective)

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
        return self._network(BackboneSettings, benchmark, "ce")

    def paco(self, benchmark: str) -> PacoSettings:
        return self._network(PacoSettings, benchmark, "paco")

    def _network(self, kind: type[_Section], benchmark: str, how: str) -> _Section:
        seed = self.get("backbone.seed")
        return self._section(kind, benchmark, "backbone", "view", how, seed=seed)

    def decoupling(self, benchmark: str) -> DecouplingSettings:
        """Section for cRT and LWS; cached features leave no images to augment."""
        settings = self._section(DecouplingSettings, benchmark, "decoupling")
        imported = self.features(benchmark, "ce") is not None
        return settings.model_copy(update={"inputs": "features"} if imported else {})

    def fig2(self, benchmark: str) -> Fig2Settings:
        """Section for the separation experiment; on cached features likewise."""
        settings = self._section(Fig2Settings, benchmark, "fig2")
        imported = self.features(benchmark, "paco") is not None
        return settings.model_copy(update={"inputs": "features"} if imported else {})

    def head(self, benchmark: str) -> HeadSettings:
        return self._section(HeadSettings, benchmark, "head")

    def filter(self, benchmark: str, row: Row | None = None) -> FilterSettings:
        """Section for a Flow Filter, with the change that a row of Table 2 makes."""
        return self._section(FilterSettings, benchmark, "filter", row=row)

    def cascade(self, benchmark: str) -> CascadeSettings:
        return self._section(CascadeSettings, benchmark, "cascade")

    def classifier(self, benchmark: str) -> ClassifierSettings:
        return self._section(ClassifierSettings, benchmark, "classifier")

    def sweep(self) -> SweepSettings:
        return self.get("sweep")

    def estimator(self) -> EstimatorSettings:
        return self.get("estimator")

    def diagnose(self) -> DiagnoseSettings:
        return self.get("diagnose")


def _lr_by_batch(chosen: dict[str, Choice]) -> dict[str, Choice]:
    """PaCo's rule: its published rate goes with the global batch, in proportion."""
    lr, batch = chosen.get("lr"), chosen.get("batch_size")
    if lr is None or batch is None:
        return chosen
    if (lr.origin, batch.origin) != ("published", "overridden"):
        return chosen
    value = lr.value * batch.value / batch.published
    source = f"{lr.source}; in proportion to the batch"
    return chosen | {"lr": Choice(value, lr.published, source, "overridden")}


def load(path: Path = PARAMS) -> Settings:
    """Read and check params.yaml, all of it.

    Raises:
        BadInput: one line for each thing that is wrong with it.
    """
    return Settings(read_params(path, Params))
