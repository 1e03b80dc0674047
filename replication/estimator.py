"""DLSA on arrays of one's own: an estimator in scikit-learn's conventions.

The code is that of the stages: a Balanced Softmax head to start from, Flow Filters and
classifiers from `replication.cascade`. Nothing is chosen on test data.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import BaseModel, ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from replication.cascade import Classifiers, Level, aided_inputs, fit_levels
from replication.classifiers.fitting import fit_balanced_softmax_head
from replication.classifiers.heads import Rows, Term, logits_of
from replication.core.device import pick_device
from replication.core.files import BadInput
from replication.core.parallel import threads, threads_for
from replication.core.scaling import Size, scaled
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
    HeadSettings,
    read_recipe,
)
from replication.flow_filter.fitting import read_clusters
from replication.protocols import VALIDATED, given_to_dlsa
from replication.samples.features import Features, Samples, place

_AT_ONCE = 4096
_SETTINGS: Mapping[str, type[BaseModel]] = {
    "filter": FilterSettings,
    "cascade": CascadeSettings,
    "classifier": ClassifierSettings,
    "head": HeadSettings,
}
# Settings that more than one section has; of the Flow Filters' own these alone are
# the estimator's parameters under the section's name.
_SHARED = ("lr", "batch_size", "epochs")


def _parameter(section: str, setting: str) -> str:
    """The estimator's parameter that a setting of the recipe is."""
    prefixed = section in ("classifier", "head") or setting in _SHARED
    return f"{section}_{setting}" if prefixed else setting


class _Decider(NamedTuple):
    """A fitted classifier, and the depth that it decides with its clusters' (K, C).

    What no depth decides, the last one does.
    """

    terms: list[Term]
    level: Level | None
    frequencies: Tensor | None


class DLSA(ClassifierMixin, BaseEstimator):
    """Flow Filters and classifiers chained, on features (N, D) of a long tail.

    A parameter that is None is as the recipe says; the names are the paper's. `filter_`
    is of the Flow Filters, `classifier_` of the cascade's classifiers, `head_` of the
    Balanced Softmax head that each of them starts from.

    Args:
        recipe: `scaled`: ImageNet-LT's settings at the size of the data, see
            `replication.core.scaling`; `verbatim`: as they stand.
        device: auto, cpu, cuda or cuda:N.
        random_state: seed of all weights, centres and draws.

    Attributes:
        classes_: (C,) labels, in the order of `predict_proba`'s columns.
        settings_: every setting in use, by section.
        filters_: for each Flow Filter its kept epoch, threshold of log P(x), clusters
            and their purity, which shot groups leave, and its history.
        leaving_: (N,) depth whose filter each training sample leaves at, from 1; 0
            where it leaves at none and the last, plain classifier decides it.
        classifiers_: for each classifier the samples it was fitted to, and the epoch
            that was kept.
        head_: weight (C, D) and bias (C,) of the head.
    """

    def __init__(
        self,
        recipe: Literal["scaled", "verbatim"] = "scaled",
        *,
        depth: int | None = None,
        leaving_share: float | None = None,
        lambda_mle: float | None = None,
        lambda_bal: float | None = None,
        lambda_pure: float | None = None,
        num_clusters: int | None = None,
        sigma: float | None = None,
        eta: float | None = None,
        weight_exponent: float | None = None,
        filter_lr: float | None = None,
        filter_batch_size: int | None = None,
        filter_epochs: int | None = None,
        classifier_lr: float | None = None,
        classifier_batch_size: int | None = None,
        classifier_epochs: int | None = None,
        classifier_evaluate_every: int | None = None,
        classifier_second_terms: Literal["drawn", "zero"] | None = None,
        head_epochs: int | None = None,
        head_lr: float | None = None,
        head_momentum: float | None = None,
        head_weight_decay: float | None = None,
        head_batch_size: int | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        # scikit-learn's convention: parameters are stored as given, under their names.
        for name, value in locals().copy().items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def fit(
        self,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        validation: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = None,
        head: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = None,
    ) -> Self:
        """Fit the head, the filters and the classifiers.

        Args:
            X: (N, D) features; y: (N,) labels, whole numbers or strings.
            validation: features and labels that the classifiers' epochs are chosen on;
                without them the last epoch stands.
            head: weight (C, D) and bias (C,) to start from, in the order of the sorted
                labels, instead of a fitted one: the network's own, where it was trained
                with balanced logits as PaCo's is.

        Raises:
            ValueError: something given cannot be used; one line says what.
        """
        vars(self).pop("_deciders", None)  # fitted only once all of it is
        with _value_errors():
            X, y = validate_data(self, _as_numpy(X), _as_numpy(y), dtype=np.float32)
            check_classification_targets(y)
            self.classes_, labels = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise BadInput("y: expected at least 2 classes, got 1 class")
            settings = self._settings(*X.shape)
            device = pick_device(self.device)
            splits = _on_device(
                {"train": (X, labels), "val": self._validation(validation)}, device
            )
            seed = self._seed()
            with threads(threads_for(X.shape[1])):
                start = self._start(splits["train"], settings["head"], head, seed)
                chain = fit_levels(
                    splits,
                    len(self.classes_),
                    settings["filter"],
                    settings["cascade"],
                    VALIDATED,
                    seed,
                )
                levels, self.filters_ = chain.levels, chain.diagnoses
                self._fit_classifiers(
                    levels, start, splits, settings["classifier"], seed
                )
        self.settings_ = {name: used.model_dump() for name, used in settings.items()}
        self.head_ = (start.weight.cpu().numpy(), start.bias.cpu().numpy())
        leaving = torch.zeros(len(X), dtype=torch.long)
        for depth, level in enumerate(levels, start=1):
            leaving[level.leaving("train").cpu()] = depth
        self.leaving_ = leaving.numpy()
        return self

    def predict(self, X: ArrayLike | Tensor) -> np.ndarray:
        """Labels of samples, (n, D) -> (n,)."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(1).numpy()]

    def predict_proba(self, X: ArrayLike | Tensor) -> np.ndarray:
        """Probability of each class, of a balanced test set, (n, D) -> (n, C)."""
        return self._logits(X).double().softmax(1).numpy()

    def predict_head(self, X: ArrayLike | Tensor) -> np.ndarray:
        """Labels by the head that DLSA starts from: what it is to be compared with."""
        features = self._features(X)
        everyone = torch.arange(len(features), device=features.device)
        head = Term(
            *(torch.from_numpy(part).to(features.device) for part in self.head_)
        )
        logits = _logits([head], [Rows(features)], everyone)
        return self.classes_[logits.argmax(1).numpy()]

    def leaving(self, X: ArrayLike | Tensor) -> np.ndarray:
        """Depth whose filter each sample leaves at, from 1; 0 where at none."""
        features = self._features(X)
        depths = torch.zeros(len(features), dtype=torch.long)
        with threads(threads_for(features.shape[1])):
            for number, (_, rows, _) in enumerate(self._decided(features), start=1):
                depths[rows.cpu()] = number if number < len(self._deciders) else 0
        return depths.numpy()

    # ---- Fitting ---------------------------------------------------------------------

    def _settings(self, samples: int, dimensions: int) -> dict[str, Any]:
        """Each section: the recipe, at this size, and the parameters over it."""
        if self.recipe not in ("scaled", "verbatim"):
            raise BadInput(f"recipe: expected scaled or verbatim, got {self.recipe!r}")
        at_size = {
            _parameter(*which): at.value
            for which, at in scaled(Size(samples, dimensions)).items()
            if self.recipe == "scaled"
        }
        given = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params().items()
            if value is not None
        }
        published, over = read_recipe("imagenet_lt"), at_size | given
        made, problems = {}, []
        for section, model in _SETTINGS.items():
            values = {
                name: over.get(
                    _parameter(section, name), published[section][name]["value"]
                )
                for name in model.model_fields
            }
            try:
                made[section] = model(**values)
            except ValidationError as error:
                problems += [
                    f"{_parameter(section, str(wrong['loc'][0]))}: {wrong['msg']}, got "
                    f"{wrong['input']!r}"
                    for wrong in error.errors()
                ]
        if problems:
            raise BadInput(problems)
        return made

    def _validation(
        self, given: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Validation features (n, D) and labels (n,) by number; none: n = 0."""
        if given is None:
            nothing = np.empty((0, self.n_features_in_), np.float32)
            return nothing, np.empty(0, np.int64)
        X, y = map(_as_numpy, given)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        y = column_or_1d(y)
        if len(X) != len(y):
            raise BadInput(f"validation: expected {len(X)} labels, got {len(y)}")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise BadInput(
                f"validation: expected labels of the training samples, got {unknown[0]}"
            )
        return X, np.searchsorted(self.classes_, y)

    def _seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _start(
        self,
        train: Samples,
        settings: HeadSettings,
        head: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None,
        seed: int,
    ) -> Term:
        """The head that every classifier starts from."""
        device, classes = train.labels.device, len(self.classes_)
        shape = (classes, self.n_features_in_)
        if head is not None:
            weight, bias = (
                check_array(_as_numpy(part), dtype=np.float32, ensure_2d=False)
                for part in head
            )
            if weight.shape != shape or bias.shape != shape[:1]:
                raise BadInput(
                    f"head: expected weight {shape} and bias {shape[:1]}, got "
                    f"{weight.shape} and {bias.shape}"
                )
            return Term(*(torch.tensor(part, device=device) for part in (weight, bias)))
        zeros = torch.zeros(shape, device=device)
        counts = train.labels.bincount(minlength=classes)
        return fit_balanced_softmax_head(
            train.features, train.labels, Term(zeros, zeros[:, 0].clone()), counts,
            settings, seed,
        )  # fmt: skip

    def _fit_classifiers(
        self,
        levels: Sequence[Level],
        start: Term,
        splits: Mapping[str, Samples],
        settings: ClassifierSettings,
        seed: int,
    ) -> None:
        """One classifier after each filter, and one for what stays to the end."""
        deciders, self.classifiers_ = [], []
        classifiers = Classifiers(start, splits, settings, VALIDATED)
        given = given_to_dlsa(settings)
        for part, level in zip_longest(classifiers.parts(levels, seed), levels):
            fitted = classifiers.fit(part, given)
            if level is not None:  # what it knows of the training samples can go
                level = replace(
                    level, remain={}, leave={}, cluster={}, log_likelihood={}
                )
            frequencies = part.inputs["train"][-1].table if level else None
            deciders.append(_Decider(fitted.terms, level, frequencies))
            self.classifiers_.append(
                {
                    "where": part.where,
                    "samples": {name: len(rows) for name, rows in part.rows.items()},
                    "epoch": fitted.epoch,
                    "validation_accuracy": fitted.looks,
                }
            )
        self._deciders = deciders

    # ---- Deciding --------------------------------------------------------------------

    def _logits(self, X: ArrayLike | Tensor) -> Tensor:
        """Balanced logits of samples, (n, D) -> (n, C) on the CPU."""
        features = self._features(X)
        logits = torch.empty(len(features), len(self.classes_))
        with threads(threads_for(features.shape[1])):
            for terms, rows, inputs in self._decided(features):
                everyone = torch.arange(len(rows), device=rows.device)
                logits[rows.cpu()] = _logits(terms, inputs, everyone)
        return logits

    def _decided(
        self, features: Features
    ) -> Iterator[tuple[list[Term], Tensor, list[Rows]]]:
        """Each classifier's terms, the samples that it decides, and their inputs."""
        nobody = torch.empty(0, dtype=torch.long, device=features.device)
        samples = Samples(features, nobody)
        remain = torch.arange(len(features), device=features.device)
        for terms, level, table in self._deciders:
            if level is None:
                yield terms, remain, [Rows(features, remain)]
                return
            reading = read_clusters(level.fitted.flow, features)
            leave = reading.log_likelihood[remain] >= level.threshold
            rows, remain = remain[leave], remain[~leave]
            level = replace(level, cluster={"new": reading.cluster})
            yield (
                terms,
                rows,
                aided_inputs(level, samples, rows, "new", table, VALIDATED),
            )

    def _features(self, X: ArrayLike | Tensor) -> Features:
        check_is_fitted(self, "_deciders")
        X = validate_data(self, _as_numpy(X), dtype=np.float32, reset=False)
        device = self._deciders[0].terms[0].weight.device
        return place({"new": torch.from_numpy(X)}, device)["new"]


def _logits(terms: list[Term], inputs: list[Rows], samples: Tensor) -> Tensor:
    """Logits of some samples, on the CPU, so that (n, C) need not be on the device."""
    parts = [logits_of(terms, inputs, some).cpu() for some in samples.split(_AT_ONCE)]
    return torch.cat(parts)


def _on_device(
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]], device: torch.device
) -> dict[str, Samples]:
    """Splits on the device; features that do not fit there are streamed to it."""
    tables = {name: torch.from_numpy(X) for name, (X, _) in arrays.items()}
    features = place(tables, device)
    return {
        name: Samples(features[name], torch.from_numpy(y).to(device))
        for name, (_, y) in arrays.items()
    }


def _as_numpy(array: Any) -> Any:
    """A tensor of any device and type as a NumPy array; all else as it is."""
    if not isinstance(array, Tensor):
        return array
    array = array.detach().cpu()
    return (array.float() if array.is_floating_point() else array).numpy()


@contextmanager
def _value_errors() -> Iterator[None]:
    """A refusal is a ValueError here, as in scikit-learn."""
    try:
        yield
    except BadInput as error:
        message = str(error).removeprefix("params.yaml: ").removeprefix("machine.")
        raise ValueError(message) from None
