"""params.yaml and the published recipes become frozen, validated settings.

The only reader of both. A stage asks for the one section that it needs; which keys of
params.yaml that section came from is recorded, so that a test can hold them against
what dvc.yaml declares.

Precedence, highest first: a row of the ablation (its change *is* the row), a value in
params.yaml, the stand-in's scale where a benchmark has no input, the published recipe.
"""

import difflib
import os
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from replication.core.files import BadInput, read_yaml

PARAMS = Path("params.yaml")
PUBLISHED = Path(__file__).parent.parent / "published"
BENCHMARKS = ("imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own")

Benchmark = Literal["imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
# No more than a signed 32-bit number: beyond, PyTorch and NumPy overflow.
Count = Annotated[int, Field(ge=1, lt=2**31)]
CountOrZero = Annotated[int, Field(ge=0, lt=2**31)]
AtLeastTwo = Annotated[int, Field(ge=2, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Colour = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Means = Annotated[list[Colour], Field(min_length=3, max_length=3)]
Spread = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Spreads = Annotated[list[Spread], Field(min_length=3, max_length=3)]
Imbalance = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Schedule = Literal["cosine", "steps"]
Augmentation = Literal["cifar", "imagenet", "none"]
Objective = Literal["ce", "paco"]
OBJECTIVES: tuple[Objective, ...] = ("ce", "paco")
View = Literal["randcls", "sim", "cifar_strong", "cifar_sim", "glyph"]
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
Probability = Annotated[float, Field(ge=0.5, le=1)]
Boundary = Literal["many", "many_medium", "half_classes", "half_images"]
Source = Literal["images", "features"]
Lambda = Literal["lambda_mle", "lambda_bal", "lambda_pure"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# ---- The shape of params.yaml -----------------------------------------------------


class _Pair(_Frozen):
    ce: str | None
    paco: str | None


class _Inputs(_Frozen):
    images: str | None
    checkpoint: str | _Pair | None
    features: str | _Pair | None


class _Data(_Frozen):
    image_size: Count | None
    resize: Count | None
    imbalance_factor: Imbalance | None
    validation_per_class: CountOrZero | None
    mean: Means | None
    std: Spreads | None
    seed: Seed


class _Backbone(_Frozen):
    network: str | None
    pretrained: str | None
    augmentation: Augmentation | None
    epochs: Count | None
    lr: Positive | None
    momentum: Momentum | None
    weight_decay: NonNegative | None
    batch_size: Count | None
    warmup_epochs: CountOrZero | None
    schedule: Schedule | None
    seed: Seed
    precision: Precision | None
    workers: Literal["auto"] | CountOrZero


class _Paco(_Frozen):
    query_view: View | None
    key_view: View | None
    freeze: bool | None
    queue_size: Count | None
    projection_dim: Count | None
    key_momentum: Momentum | None
    temperature: Positive | None
    alpha: NonNegative | None
    beta: Positive | None
    gamma: NonNegative | None
    supt: Positive | None


class _Decoupling(_Frozen):
    inputs: Source | None
    crt_epochs: Count | None
    lws_epochs: Count | None
    lr: Positive | None
    momentum: Momentum | None
    weight_decay: NonNegative | None
    batch_size: Count | None
    samples_per_class: Count | None


class _Fig2(_Frozen):
    inputs: Source | None
    network: str | None
    probabilities: Annotated[list[Probability], Field(min_length=1)] | None
    boundaries: Annotated[list[Boundary], Field(min_length=1)] | None
    candidates: Literal["all", "seen"] | None
    epochs: Count | None
    linear_epochs: Count | None
    lr: Positive | None
    batch_size: AtLeastTwo | None


class _Sweep(_Frozen):
    sigmas: Annotated[list[Positive], Field(min_length=1)]
    draws: Count


class _Estimator(_Frozen):
    etas: Annotated[list[Momentum], Field(min_length=1)]
    steps: Annotated[list[Count], Field(min_length=1)]
    clusters: AtLeastTwo
    batch_size: Count
    draws: AtLeastTwo
    probes: Count
    seed: Seed


class _Diagnose(_Frozen):
    search_seeds: Count
    lr_factors: list[Positive]
    depths: list[Count]
    leaving_shares: list[Share]
    sigmas: list[Positive]
    num_clusters: list[Count]
    weight_exponents: list[NonNegative]
    without: list[Lambda]


class _Head(_Frozen):
    epochs: Count | None
    lr: Positive | None
    momentum: Momentum | None
    weight_decay: NonNegative | None
    batch_size: Count | None


class _Filter(_Frozen):
    eta: Momentum | None
    weight_exponent: NonNegative | None
    lr: Positive | None
    batch_size: AtLeastTwo | None
    epochs: Count | None


class _Cascade(_Frozen):
    depth: Count | None
    leaving_share: Share | None


class _Classifier(_Frozen):
    lr: Positive | None
    batch_size: Count | None
    epochs: Count | None
    evaluate_every: Count | None


class _StandIn(_Frozen):
    image_size: Annotated[int, Field(ge=16, lt=2**31)]
    num_classes: Annotated[int, Field(ge=3, lt=2**31)]
    num_images: Count
    validation_per_class: CountOrZero
    test_per_class: Count
    network: str
    epochs: Count
    lr: Positive
    batch_size: AtLeastTwo
    paco_epochs: Count
    fig2_epochs: Count
    fig2_lr: Positive
    fig2_probabilities: Annotated[list[Probability], Field(min_length=1)]


class Params(_Frozen):
    """params.yaml as it must be: every key, its type and its range."""

    lambda_mle: NonNegative | None
    lambda_bal: NonNegative | None
    lambda_pure: NonNegative | None
    num_clusters: Count | None
    sigma: Positive | None
    seeds: Annotated[list[Seed], Field(min_length=1)]
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    comparison: list[Benchmark]
    ablation: list[Benchmark]
    confusion: list[Benchmark]
    selection: list[Benchmark]
    separation: list[Benchmark]
    diagnosis: list[Benchmark]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    devices: Count
    deterministic: bool
    tf32: bool
    inputs: dict[Benchmark, _Inputs]
    data: _Data
    backbone: _Backbone
    paco: _Paco
    decoupling: _Decoupling
    head: _Head
    filter: _Filter
    cascade: _Cascade
    classifier: _Classifier
    sweep: _Sweep
    estimator: _Estimator
    diagnose: _Diagnose
    fig2: _Fig2
    stand_in: _StandIn


# ---- What a stage gets ------------------------------------------------------------


class DataSettings(_Frozen):
    """What `prepare` needs of one benchmark.

    `published_classes` is C of the real benchmark; None for a folder of the user's own.
    """

    benchmark: Benchmark
    published_classes: Count | None
    images: str | None
    features: str | None
    image_size: Count
    resize: Count
    imbalance_factor: Imbalance | None
    validation_per_class: CountOrZero
    seed: Seed
    stand_in: bool
    num_classes: Count
    num_images: Count
    test_per_class: Count


class ImageSettings(_Frozen):
    """What a network is and how it gets to see an image."""

    network: str
    image_size: Count
    resize: Count
    mean: Means
    std: Spreads


class BackboneSettings(ImageSettings):
    """How a network is trained by cross-entropy."""

    pretrained: str | None
    augmentation: Augmentation
    epochs: Count
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count
    warmup_epochs: CountOrZero
    schedule: Schedule
    seed: Seed


class PacoSettings(ImageSettings):
    """How a network is trained by PaCo."""

    pretrained: str | None
    query_view: View
    key_view: View
    freeze: bool
    epochs: Count
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: AtLeastTwo
    warmup_epochs: CountOrZero
    schedule: Schedule
    queue_size: Count
    projection_dim: Count
    key_momentum: Momentum
    temperature: Positive
    alpha: NonNegative
    beta: Positive
    gamma: NonNegative
    supt: Positive
    seed: Seed


class MachineSettings(_Frozen):
    """Where it runs; changes the speed and at most the last bits of a result."""

    device: str
    devices: Count
    precision: Precision
    workers: Literal["auto"] | CountOrZero


class DecouplingSettings(_Frozen):
    """How cRT and LWS are fitted (Table 1).

    `inputs` images: augmented images through the frozen network, as published;
    features: the cached features.
    """

    inputs: Source
    crt_epochs: Count
    lws_epochs: Count
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count
    samples_per_class: Count


class Fig2Settings(_Frozen):
    """The separation experiment of Sect. 1.

    `boundaries`: where head classes end; the first is the one that is reported first.
    `candidates`: the classes that a group's classifier may answer with: all, or those
    that it saw in training.
    """

    inputs: Source
    network: str
    probabilities: list[Probability]
    boundaries: list[Boundary]
    candidates: Literal["all", "seen"]
    epochs: Count
    linear_epochs: Count
    lr: Positive
    batch_size: AtLeastTwo


class SweepSettings(_Frozen):
    """The sigmas that are tried beside those of Sect. 3, and draws of centres."""

    sigmas: list[Positive]
    draws: Count


class EstimatorSettings(_Frozen):
    """The simulation of Sect. 2's momentum estimator, and its probes in a real fit."""

    etas: list[Momentum]
    steps: list[Count]
    clusters: AtLeastTwo
    batch_size: Count
    draws: AtLeastTwo
    probes: Count
    seed: Seed


class DiagnoseSettings(_Frozen):
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


class HeadSettings(_Frozen):
    """How a Balanced Softmax head is fitted to frozen features."""

    epochs: Count
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count


class FilterSettings(_Frozen):
    """How a Flow Filter is fitted (Sect. 2, 3, 5)."""

    lambda_mle: NonNegative
    lambda_bal: NonNegative
    lambda_pure: NonNegative
    num_clusters: Count
    sigma: Positive
    eta: Momentum
    weight_exponent: NonNegative
    lr: Positive
    batch_size: AtLeastTwo
    epochs: Count


class CascadeSettings(_Frozen):
    """How Flow Filters are chained."""

    depth: Count
    leaving_share: Share


class ClassifierSettings(_Frozen):
    """How the linear classifiers of the cascade are fitted."""

    lr: Positive
    batch_size: Count
    epochs: Count
    evaluate_every: Count


@dataclass(frozen=True)
class Choice:
    """One setting in use, and why it is what it is."""

    value: Any
    published: Any
    source: str
    origin: Literal["published", "guess", "overridden", "stand-in", "row"]


@dataclass(frozen=True)
class Row:
    """One printed row of a table: label, what it changes, the numbers in percent."""

    label: str
    changes: Mapping[str, float]
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedTable:
    """One table of the supplement as printed.

    `defaults`: what its sentences say that the full model has where a row changes it.
    """

    title: str
    section: str
    benchmark: str
    metrics: tuple[str, ...]
    rows: Mapping[str, Row]
    defaults: Mapping[str, float] = field(default_factory=dict)


class Claim(_Frozen):
    """A sentence of the supplement that could be wrong, and where it is tested.

    `measured_by`: name of the page; `tests`: how the sentences tested there begin;
    `why_not`: where nothing tests it, the reason.
    """

    section: str
    quote: str
    measured_by: str | None = None
    tests: tuple[str, ...] = ()
    why_not: str | None = None


_Section = TypeVar("_Section", bound=_Frozen)
_TOP_LEVEL = ("lambda_mle", "lambda_bal", "lambda_pure", "num_clusters", "sigma")
_IMAGE_RECIPE = ("image_size", "resize", "mean", "std")
_NETWORK_RECIPE = ("network", "pretrained", "augmentation")
# Settings that both objectives have; params.yaml names them once, under `backbone`.
_TRAINING = (
    "epochs",
    "lr",
    "momentum",
    "weight_decay",
    "batch_size",
    "warmup_epochs",
    "schedule",
    "precision",
)
LISTS = (
    "benchmarks",
    "comparison",
    "ablation",
    "confusion",
    "selection",
    "separation",
    "diagnosis",
)


# Settings that move a number at most by chance; any other one that is overridden makes
# it another experiment than the printed one.
FREE = frozenset(
    {
        *LISTS,
        "seeds",
        "device",
        "devices",
        "deterministic",
        "tf32",
        "backbone.workers",
        "backbone.seed",
        "data.seed",
    }
)
_FREE_SECTIONS = (
    "inputs.",
    "stand_in.",
    "fig2.",
    "sweep.",
    "estimator.",
    "diagnose.",
)


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
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        return value

    def departures(self) -> list[str]:
        """Keys read so far whose value in params.yaml makes it another experiment."""
        return sorted(
            key
            for key in self.keys_read
            if self.get(key) is not None
            and not self.as_recipe.get(key, False)
            and key not in FREE
            and not key.startswith(_FREE_SECTIONS)
        )

    def seeds(self) -> tuple[int, ...]:
        """Seeds of everything after the features."""
        return tuple(self.get("seeds"))

    def listed(self, what: str) -> tuple[str, ...]:
        """Benchmarks that a list of params.yaml names: comparison, ablation, ..."""
        return tuple(self.get(what))

    def device(self) -> str:
        """`auto`, `cpu`, `cuda` or `cuda:N`."""
        return self.get("device")

    def deterministic(self) -> bool:
        """Whether a GPU must compute the same bytes each time."""
        return self.get("deterministic")

    def tf32(self) -> bool:
        """Whether a GPU may round the factors of matrix products to 10 bits."""
        return self.get("tf32")

    def is_stand_in(self, benchmark: str) -> bool:
        """Whether the benchmark has no input of its own."""
        doors = ("images", "checkpoint", "features")
        return all(self.get(f"inputs.{benchmark}.{door}") is None for door in doors)

    def data(self, benchmark: str) -> DataSettings:
        """Section for `prepare`."""
        stand_in = self.is_stand_in(benchmark)
        names = ("image_size", "resize", "imbalance_factor", "validation_per_class")
        scale = ("num_classes", "num_images", "test_per_class")
        chosen = self.choices(benchmark, "data", names)
        return DataSettings(
            benchmark=benchmark,
            published_classes=read_recipe(benchmark)["classes"],
            images=self.get(f"inputs.{benchmark}.images"),
            features=_text(self.features(benchmark, "paco")),
            seed=self.get("data.seed"),
            stand_in=stand_in,
            **{name: choice.value for name, choice in chosen.items()},
            **{name: self.get(f"stand_in.{name}") for name in scale},
        )

    def backbone(self, benchmark: str) -> BackboneSettings:
        """Section for a network trained by cross-entropy."""
        return self._network(BackboneSettings, benchmark, "ce", _NETWORK_RECIPE)

    def paco(self, benchmark: str) -> PacoSettings:
        """Section for a network trained by PaCo."""
        return self._network(PacoSettings, benchmark, "paco", _NETWORK_RECIPE[:2])

    def images(self, benchmark: str) -> ImageSettings:
        """Section for a network that is only applied."""
        chosen = self.choices(benchmark, "backbone", ("network",))
        chosen |= self.choices(benchmark, "data", _IMAGE_RECIPE)
        return ImageSettings(**{name: one.value for name, one in chosen.items()})

    def _network(
        self,
        kind: type[_Section],
        benchmark: str,
        objective: Objective,
        network: tuple[str, ...],
    ) -> _Section:
        elsewhere = (*network, *_IMAGE_RECIPE, "seed")
        training = tuple(name for name in kind.model_fields if name not in elsewhere)
        chosen = self.choices(benchmark, "backbone", network)
        chosen |= self.choices(benchmark, "data", _IMAGE_RECIPE)
        chosen |= self.choices(benchmark, objective, training)
        values = {name: choice.value for name, choice in chosen.items()}
        return kind(**values, seed=self.get("backbone.seed"))

    def features(self, benchmark: str, objective: str) -> Path | None:
        """Folder of cached features, where that is the benchmark's input."""
        return self._door(benchmark, "features", objective)

    def checkpoint(self, benchmark: str, objective: str) -> Path | None:
        """Weights to use instead of training, where they are given."""
        return self._door(benchmark, "checkpoint", objective)

    def _door(self, benchmark: str, door: str, objective: str) -> Path | None:
        """One path serves every objective; by name, each has its own."""
        value = self.get(f"inputs.{benchmark}.{door}")
        return _place(getattr(value, objective) if isinstance(value, _Pair) else value)

    def images_root(self, benchmark: str) -> Path | None:
        """Folder that the index's paths of large images start from."""
        return _place(self.get(f"inputs.{benchmark}.images"))

    def machine(self, benchmark: str, objective: Objective) -> MachineSettings:
        """Section that says where a network is trained."""
        precision = self.choices(benchmark, objective, ("precision",))["precision"]
        return MachineSettings(
            device=self.device(),
            devices=self.get("devices"),
            precision=precision.value,
            workers=self.get("backbone.workers"),
        )

    def workers(self) -> str | int:
        """Processes that decode images, or `auto`."""
        return self.get("backbone.workers")

    def decoupling(self, benchmark: str) -> DecouplingSettings:
        """Section for cRT and LWS; cached features leave no images to augment."""
        settings = self._section(DecouplingSettings, benchmark, "decoupling")
        if self.features(benchmark, "ce") is None:
            return settings
        return settings.model_copy(update={"inputs": "features"})

    def fig2(self, benchmark: str) -> Fig2Settings:
        """Section for the separation experiment."""
        settings = self._section(Fig2Settings, benchmark, "fig2")
        if self.features(benchmark, "paco") is None:
            return settings
        return settings.model_copy(update={"inputs": "features"})

    def sweep(self) -> SweepSettings:
        """Section for the selection of sigma."""
        names = SweepSettings.model_fields
        return SweepSettings(**{name: self.get(f"sweep.{name}") for name in names})

    def estimator(self) -> EstimatorSettings:
        """Section for the momentum estimator's simulation."""
        names = EstimatorSettings.model_fields
        values = {name: self.get(f"estimator.{name}") for name in names}
        return EstimatorSettings(**values)

    def diagnose(self) -> DiagnoseSettings:
        """Section for the search of what DLSA would need."""
        names = DiagnoseSettings.model_fields
        values = {name: self.get(f"diagnose.{name}") for name in names}
        return DiagnoseSettings(**values)

    def head(self, benchmark: str) -> HeadSettings:
        """Section for the Balanced Softmax head."""
        return self._section(HeadSettings, benchmark, "head")

    def filter(self, benchmark: str, row: Row | None = None) -> FilterSettings:
        """Section for a Flow Filter, with the change that a row of Table 2 makes."""
        return self._section(FilterSettings, benchmark, "filter", row)

    def cascade(self, benchmark: str) -> CascadeSettings:
        """Section for the chain of filters."""
        return self._section(CascadeSettings, benchmark, "cascade")

    def classifier(self, benchmark: str) -> ClassifierSettings:
        """Section for the cascade's classifiers."""
        return self._section(ClassifierSettings, benchmark, "classifier")

    def choices(
        self,
        benchmark: str,
        section: str,
        names: tuple[str, ...],
        row: Row | None = None,
    ) -> dict[str, Choice]:
        """Each setting of a section with its origin.

        Implements: Sect. 5: what is used beside what is published.

        Args:
            benchmark: whose recipe.
            section: of the recipe: data, backbone, ce, head, filter, ...
            names: the settings wanted.
            row: of the ablation, whose changes win over everything.
        """
        recipe = read_recipe(benchmark)[section]
        scaled = section in _STAND_IN and self.is_stand_in(benchmark)
        chosen = {
            name: self._choose(section, name, recipe[name], scaled, row)
            for name in names
        }
        if section == "paco":
            chosen = _lr_by_batch(chosen)
        self.resolved |= {
            f"{benchmark}.{section}.{name}": one.value for name, one in chosen.items()
        }
        return chosen

    def _choose(
        self,
        section: str,
        name: str,
        recipe: Mapping[str, Any],
        stand_in: bool,
        row: Row | None,
    ) -> Choice:
        published, source = recipe["value"], recipe["source"]
        key = _params_key(section, name)
        override = self.get(key)
        if override is not None:
            same = override == published
            self.as_recipe[key] = same and self.as_recipe.get(key, True)
        scaled_by = _STAND_IN_SCALED.get(section, {}).get(name)
        scale = self.get(f"stand_in.{scaled_by}") if scaled_by else None
        if row is not None and name in row.changes:
            return Choice(row.changes[name], published, f"row {row.label}", "row")
        origin = "guess" if source.startswith("guess") else "published"
        if override is not None:
            other = "overridden" if override != published else origin
            return Choice(override, published, source, other)
        if stand_in and name in _STAND_IN_FIXED.get(section, {}):
            fixed = _STAND_IN_FIXED[section][name]
            return Choice(fixed, published, source, "stand-in")
        if stand_in and scaled_by:
            return Choice(scale, published, source, "stand-in")
        return Choice(published, published, source, origin)

    def _section(
        self,
        kind: type[_Section],
        benchmark: str,
        section: str,
        row: Row | None = None,
    ) -> _Section:
        chosen = self.choices(benchmark, section, tuple(kind.model_fields), row)
        return kind(**{name: choice.value for name, choice in chosen.items()})


# The stand-in's network is small and starts from nothing: its images are 32 pixels wide
# and resemble no photograph, so that published weights would say nothing. A mirrored
# glyph is another glyph, so that nothing is flipped. Its training images are not
# augmented, so that cRT and LWS on features are those on images.
_STAND_IN_FIXED: dict[str, dict[str, Any]] = {
    "data": {"imbalance_factor": None},
    "backbone": {"pretrained": None, "augmentation": "none"},
    "ce": {"precision": "32-true"},
    "paco": {
        "precision": "32-true",
        "query_view": "glyph",
        "key_view": "glyph",
        "freeze": False,
        "warmup_epochs": 0,
        "queue_size": 256,
        "projection_dim": 32,
    },
    "decoupling": {"inputs": "features"},
}
_STAND_IN_SCALED = {
    "data": {
        "image_size": "image_size",
        "resize": "image_size",
        "validation_per_class": "validation_per_class",
    },
    "backbone": {"network": "network"},
    "ce": {"epochs": "epochs", "lr": "lr", "batch_size": "batch_size"},
    "paco": {"epochs": "paco_epochs", "lr": "lr", "batch_size": "batch_size"},
    "fig2": {
        "network": "network",
        "epochs": "fig2_epochs",
        "lr": "fig2_lr",
        "probabilities": "fig2_probabilities",
        "batch_size": "batch_size",
    },
}
_STAND_IN = _STAND_IN_FIXED.keys() | _STAND_IN_SCALED.keys()


def _params_key(section: str, name: str) -> str:
    if section == "filter" and name in _TOP_LEVEL:
        return name
    if section in OBJECTIVES and name in _TRAINING:
        return f"backbone.{name}"
    return f"{section}.{name}"


def _place(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None


def _text(place: Path | None) -> str | None:
    return None if place is None else str(place)


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


def recipe_file(benchmark: str) -> Path:
    """Where the published recipe of a benchmark lies."""
    return PUBLISHED / "recipes" / f"{benchmark}.yaml"


def read_recipe(benchmark: str) -> dict[str, Any]:
    """The published recipe of a benchmark: section -> setting -> {value, source}."""
    return read_yaml(recipe_file(benchmark))


def read_published_tables() -> dict[str, PublishedTable]:
    """Every table of the supplement as printed (percent)."""
    tables = read_yaml(PUBLISHED / "tables.yaml")
    return {
        name: PublishedTable(
            title=table["title"],
            section=table["section"],
            benchmark=table["benchmark"],
            metrics=tuple(table["metrics"]),
            rows={
                key: Row(row["label"], row.get("changes", {}), row["values"])
                for key, row in table["rows"].items()
            },
            defaults=table.get("defaults", {}),
        )
        for name, table in tables.items()
    }


class Anchor(_Frozen):
    """A number that the field reports: top-1 in percent, and what it was trained with.

    `method`: the row of Table 1 that does the same; None where none does.
    """

    method: str | None
    label: str
    value: float
    epochs: Count
    augmentation: str


class Anchors(_Frozen):
    """The field's numbers on one benchmark."""

    imbalance_factor: Positive
    network: str
    rows: list[Anchor]


def read_anchors(benchmark: str) -> Anchors | None:
    """The field's numbers on a benchmark that the supplement has no table for."""
    found = read_yaml(PUBLISHED / "anchors.yaml").get(benchmark)
    return None if found is None else Anchors.model_validate(found)


def read_published_claims() -> tuple[Claim, ...]:
    """Every sentence of the supplement that could be wrong, in its order."""
    return tuple(
        Claim(**one | {"tests": tuple(one.get("tests", ()))})
        for one in read_yaml(PUBLISHED / "claims.yaml")
    )


def load(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml, whatever part of it is needed.

    Raises:
        BadInput: one line for each unknown or missing key, wrong type, impossible
            value or path that does not exist, naming the dotted key.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: expected settings by name, got {_shown(raw)}")
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise BadInput(_lines(path, error.errors())) from None
    problems = _missing_paths(path, params) or _contradictions(path, params)
    if problems:
        raise BadInput(problems)
    return Settings(params)


def _missing_paths(path: Path, params: Params) -> list[str]:
    problems = []
    for key, door, value in _doors(params):
        download = key == "inputs.cifar100_lt.images" and value == "torchvision"
        if value is None or download:
            continue
        wanted = "a file" if door == "checkpoint" else "a folder"
        there = os.path.isfile if door == "checkpoint" else os.path.isdir
        if not value or not there(os.path.expanduser(value)):
            problems.append(
                f"{path}: {key}: expected {wanted} that exists, got {value!r}"
            )
    return problems


def _doors(params: Params) -> Iterator[tuple[str, str, str | None]]:
    """Dotted key, door and path of every input."""
    for benchmark, doors in params.inputs.items():
        for door in ("images", "checkpoint", "features"):
            value, key = getattr(doors, door), f"inputs.{benchmark}.{door}"
            if isinstance(value, _Pair):
                for objective in OBJECTIVES:
                    yield f"{key}.{objective}", door, getattr(value, objective)
            else:
                yield key, door, value


def _contradictions(path: Path, params: Params) -> list[str]:
    problems = []
    for name in ("seeds", *LISTS):
        values = getattr(params, name)
        if len(set(values)) != len(values):
            problems.append(f"{path}: {name}: expected each once, got {values}")
    for name in LISTS[1:]:
        beyond = [one for one in getattr(params, name) if one not in params.benchmarks]
        if beyond:
            problems.append(
                f"{path}: {name}: expected benchmarks out of benchmarks: "
                f"{params.benchmarks}, got {', '.join(beyond)}"
            )
    missing = [name for name in BENCHMARKS if name not in params.inputs]
    problems += [
        f"{path}: inputs.{name}: expected images, checkpoint and features, got nothing"
        for name in missing
    ]
    for name, doors in params.inputs.items():
        problems += _contradictory_doors(f"{path}: inputs.{name}", doors)
    own = params.inputs.get("own")
    if "own" in params.benchmarks and own and not any(own.model_dump().values()):
        problems.append(
            f"{path}: inputs.own: expected images or features, since benchmarks lists "
            "own, got null"
        )
    return problems


def _contradictory_doors(where: str, doors: _Inputs) -> list[str]:
    if doors.checkpoint and not doors.images and not doors.features:
        return [
            f"{where}.images: expected a folder, since {where.split(': ')[1]}."
            "checkpoint needs images to turn into features, got null"
        ]
    if not isinstance(doors.features, _Pair):
        return []
    return [
        f"{where}.features.{objective}: expected a folder, since the other objective's "
        "features are given, got null"
        for objective in OBJECTIVES
        if getattr(doors.features, objective) is None
    ]


def _lines(path: Path, errors: list[Any]) -> list[str]:
    """A line for each wrong value; a value of two allowed kinds has one line."""
    lines = []
    for error in errors:
        where, shown = error["loc"], _shown(error["input"])
        if where[:2] == ("backbone", "workers"):
            if len(where) > 2 and where[2] != "literal['auto']":
                continue
            if error["type"] != "missing":
                lines.append(
                    f"{path}: backbone.workers: expected auto or a whole number of at "
                    f"least 0, got {shown}"
                )
                continue
        if where[:1] == ("inputs",) and len(where) > 3 and where[3] in _KINDS:
            by_name = where[3] == _Pair.__name__
            if error["type"] in ("string_type", "model_type") and len(where) == 4:
                if not by_name and not isinstance(error["input"], dict):
                    lines.append(
                        f"{path}: {'.'.join(where[:3])}: expected text, or a text each "
                        f"for ce and paco, got {shown}"
                    )
                continue
            error = {**error, "loc": (*where[:3], *where[4:])}
        lines.append(_one_line(path, error))
    return lines


_KINDS = ("str", _Pair.__name__)


def _one_line(path: Path, error: Mapping[str, Any]) -> str:
    """A pydantic error as one line: file, dotted key, expected, got."""
    location = [part for part in error["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in location)
    kind, context = error["type"], error.get("ctx", {})
    unknown_key = kind == "literal_error" and "[key]" in error["loc"]
    if kind in ("extra_forbidden", "invalid_key") or unknown_key:
        meant = _meant(location)
        return f"{path}: {key}: expected a known setting, got this one{meant}"
    if kind == "missing":
        return f"{path}: {key}: expected a value or null, got nothing"
    expected = {
        "greater_than": f"a number above {context.get('gt')}",
        "greater_than_equal": f"a number of at least {context.get('ge')}",
        "less_than": f"a number below {context.get('lt')}",
        "less_than_equal": f"a number of at most {context.get('le')}",
        "finite_number": "a finite number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "model_type": "settings by name",
        "dict_type": "settings by name",
        "too_short": "3 values" if location[0] == "data" else "at least 1 value",
        "too_long": "3 values",
        "literal_error": str(context.get("expected")),
        "string_pattern_mismatch": "auto, cpu, cuda or cuda:N",
    }.get(kind, str(error["msg"]))
    return f"{path}: {key}: expected {expected}, got {_shown(error['input'])}"


def _meant(location: list[Any]) -> str:
    """A guess at the setting that was meant, for a mistyped key."""
    known: Any = Params
    for part in location[:-1]:
        field = known.model_fields.get(part) if hasattr(known, "model_fields") else None
        known = field.annotation if field else None
    names = list(known.model_fields) if hasattr(known, "model_fields") else []
    if location[:1] == ["inputs"]:
        names = list(BENCHMARKS) if len(location) == 2 else list(_Inputs.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


# YAML's aliases make a few lines a list of 10^12 values: only its first are spelt out.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 4
_BRIEF.maxlist = _BRIEF.maxdict = 20
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 100


def _shown(value: Any) -> str:
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
