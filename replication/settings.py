"""params.yaml and the published recipes become frozen, validated settings.

The only reader of both. A stage asks for the one section that it needs; which keys of
params.yaml that section came from is recorded, so that a test can hold them against
what dvc.yaml declares.

Precedence, highest first: a row of the ablation (its change *is* the row), a value in
params.yaml, the stand-in's scale where a benchmark has no input, the published recipe.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from replication.files import BadInput, read_yaml

PARAMS = Path("params.yaml")
PUBLISHED = Path(__file__).parent / "published"
BENCHMARKS = ("imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own")

Benchmark = Literal["imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Colour = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Means = Annotated[list[Colour], Field(min_length=3, max_length=3)]
Spread = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Spreads = Annotated[list[Spread], Field(min_length=3, max_length=3)]
Imbalance = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Schedule = Literal["cosine", "steps"]
Augmentation = Literal["cifar", "imagenet", "none"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# ---- The shape of params.yaml -----------------------------------------------------


class _Inputs(_Frozen):
    images: str | None
    checkpoint: str | None
    features: str | None


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
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    workers: Literal["auto"] | CountOrZero


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
    batch_size: Annotated[int, Field(ge=2)] | None
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
    image_size: Annotated[int, Field(ge=16)]
    num_classes: Annotated[int, Field(ge=3)]
    num_images: Count
    validation_per_class: CountOrZero
    test_per_class: Count
    network: str
    epochs: Count
    lr: Positive
    batch_size: Annotated[int, Field(ge=2)]


class Params(_Frozen):
    """params.yaml as it must be: every key, its type and its range."""

    lambda_mle: NonNegative | None
    lambda_bal: NonNegative | None
    lambda_pure: NonNegative | None
    num_clusters: Count | None
    sigma: Positive | None
    seeds: Annotated[list[Seed], Field(min_length=1)]
    ablation: list[Benchmark]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    devices: Count
    inputs: dict[Benchmark, _Inputs]
    data: _Data
    backbone: _Backbone
    head: _Head
    filter: _Filter
    cascade: _Cascade
    classifier: _Classifier
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


class BackboneSettings(_Frozen):
    """How a network is trained."""

    network: str
    pretrained: str | None
    augmentation: Augmentation
    epochs: Count
    lr: Positive
    momentum: Momentum
    weight_decay: NonNegative
    batch_size: Count
    warmup_epochs: CountOrZero
    schedule: Schedule
    image_size: Count
    resize: Count
    mean: Means
    std: Spreads
    seed: Seed


class MachineSettings(_Frozen):
    """Where it runs; changes the speed and at most the last bits of a result."""

    device: str
    devices: Count
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    workers: Literal["auto"] | CountOrZero


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
    batch_size: Annotated[int, Field(ge=2)]
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
    """One table of the supplement as printed."""

    title: str
    section: str
    benchmark: str
    metrics: tuple[str, ...]
    rows: Mapping[str, Row]


_Section = TypeVar("_Section", bound=_Frozen)
_TOP_LEVEL = ("lambda_mle", "lambda_bal", "lambda_pure", "num_clusters", "sigma")
_IMAGE_RECIPE = ("image_size", "resize", "mean", "std")
_BACKBONE_RECIPE = ("network", "pretrained", "augmentation")


class Settings:
    """Validated params.yaml; hands out sections and notes the keys they came from."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self.keys_read: set[str] = set()

    def get(self, key: str) -> Any:
        """Value of a dotted key; the read is noted in `keys_read`."""
        self.keys_read.add(key)
        value: Any = self._params
        for name in key.split("."):
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        return value

    def seeds(self) -> tuple[int, ...]:
        """Seeds of everything after the features."""
        return tuple(self.get("seeds"))

    def ablation(self) -> tuple[str, ...]:
        """Benchmarks on which Table 2 is measured."""
        return tuple(self.get("ablation"))

    def device(self) -> str:
        """`auto`, `cpu`, `cuda` or `cuda:N`."""
        return self.get("device")

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
            features=self.get(f"inputs.{benchmark}.features"),
            seed=self.get("data.seed"),
            stand_in=stand_in,
            **{name: choice.value for name, choice in chosen.items()},
            **{name: self.get(f"stand_in.{name}") for name in scale},
        )

    def backbone(self, benchmark: str, objective: str) -> BackboneSettings:
        """Section for `backbone`; `objective` names the recipe (ce)."""
        training = tuple(
            name
            for name in BackboneSettings.model_fields
            if name not in (*_BACKBONE_RECIPE, *_IMAGE_RECIPE, "seed")
        )
        chosen = self.choices(benchmark, "backbone", _BACKBONE_RECIPE)
        chosen |= self.choices(benchmark, "data", _IMAGE_RECIPE)
        chosen |= self.choices(benchmark, objective, training)
        values = {name: choice.value for name, choice in chosen.items()}
        return BackboneSettings(**values, seed=self.get("backbone.seed"))

    def features(self, benchmark: str) -> Path | None:
        """Folder of cached features, where that is the benchmark's input."""
        return _place(self.get(f"inputs.{benchmark}.features"))

    def checkpoint(self, benchmark: str) -> Path | None:
        """Weights to use instead of training, where they are given."""
        return _place(self.get(f"inputs.{benchmark}.checkpoint"))

    def images_root(self, benchmark: str) -> Path | None:
        """Folder that the index's paths of large images start from."""
        return _place(self.get(f"inputs.{benchmark}.images"))

    def machine(self) -> MachineSettings:
        """Section that says where networks run."""
        return MachineSettings(
            device=self.device(),
            devices=self.get("devices"),
            precision=self.get("backbone.precision"),
            workers=self.get("backbone.workers"),
        )

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
        scaled = section in _STAND_IN_SCALED and self.is_stand_in(benchmark)
        return {
            name: self._choose(section, name, recipe[name], scaled, row)
            for name in names
        }

    def _choose(
        self,
        section: str,
        name: str,
        recipe: Mapping[str, Any],
        stand_in: bool,
        row: Row | None,
    ) -> Choice:
        published, source = recipe["value"], recipe["source"]
        override = self.get(_params_key(section, name))
        scaled_by = _STAND_IN_SCALED.get(section, {}).get(name)
        scale = self.get(f"stand_in.{scaled_by}") if scaled_by else None
        if row is not None and name in row.changes:
            return Choice(row.changes[name], published, f"row {row.label}", "row")
        if override is not None:
            return Choice(override, published, source, "overridden")
        if stand_in and name in _STAND_IN_FIXED:
            return Choice(_STAND_IN_FIXED[name], published, source, "stand-in")
        if stand_in and scaled_by:
            return Choice(scale, published, source, "stand-in")
        origin = "guess" if source.startswith("guess") else "published"
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
# glyph is another glyph, so that nothing is flipped.
_STAND_IN_FIXED = {"pretrained": None, "augmentation": "none", "imbalance_factor": None}
_STAND_IN_SCALED = {
    "data": {
        "image_size": "image_size",
        "resize": "image_size",
        "validation_per_class": "validation_per_class",
    },
    "backbone": {"network": "network"},
    "ce": {"epochs": "epochs", "lr": "lr", "batch_size": "batch_size"},
}


def _params_key(section: str, name: str) -> str:
    if section == "filter" and name in _TOP_LEVEL:
        return name
    return f"backbone.{name}" if section == "ce" else f"{section}.{name}"


def _place(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None


def read_recipe(benchmark: str) -> dict[str, Any]:
    """The published recipe of a benchmark: section -> setting -> {value, source}."""
    return read_yaml(PUBLISHED / "recipes" / f"{benchmark}.yaml")


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
        )
        for name, table in tables.items()
    }


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
    for benchmark, doors in params.inputs.items():
        for door, value in doors.model_dump().items():
            key = f"inputs.{benchmark}.{door}"
            download = benchmark == "cifar100_lt" and value == "torchvision"
            if value is None or (door == "images" and download):
                continue
            wanted = "a file" if door == "checkpoint" else "a folder"
            there: Callable[[Path], bool] = (
                Path.is_file if door == "checkpoint" else Path.is_dir
            )
            if not value or not there(Path(os.path.expanduser(value))):
                problems.append(
                    f"{path}: {key}: expected {wanted} that exists, got {value!r}"
                )
    return problems


def _contradictions(path: Path, params: Params) -> list[str]:
    problems = []
    for name in ("seeds", "ablation"):
        values = getattr(params, name)
        if len(set(values)) != len(values):
            problems.append(f"{path}: {name}: expected each once, got {values}")
    missing = [name for name in BENCHMARKS if name not in params.inputs]
    problems += [
        f"{path}: inputs.{name}: expected images, checkpoint and features, got nothing"
        for name in missing
    ]
    problems += [
        f"{path}: inputs.{name}.images: expected a folder, since "
        f"inputs.{name}.checkpoint needs images to turn into features, got null"
        for name, doors in params.inputs.items()
        if doors.checkpoint and not doors.images and not doors.features
    ]
    own = params.inputs.get("own")
    if "own" in params.ablation and own and not any(own.model_dump().values()):
        problems.append(
            f"{path}: inputs.own: expected images or features, since ablation lists "
            "own, got null"
        )
    return problems


def _lines(path: Path, errors: list[Any]) -> list[str]:
    """A line for each wrong value; a value of two allowed kinds has one line."""
    lines = []
    for error in errors:
        if error["loc"][:2] == ("backbone", "workers"):
            if len(error["loc"]) > 2 and error["loc"][2] != "literal['auto']":
                continue
            if error["type"] != "missing":
                lines.append(
                    f"{path}: backbone.workers: expected auto or a whole number of at "
                    f"least 0, got {_shown(error['input'])}"
                )
                continue
        lines.append(_one_line(path, error))
    return lines


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


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
