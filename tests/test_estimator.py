"""DLSA in scikit-learn's conventions, on the code of the stages."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from replication import DLSA, estimator
from replication.cascade import Classifiers, fit_levels
from replication.classifiers.fitting import fit_balanced_softmax_head
from replication.classifiers.heads import Term
from replication.core.parallel import threads
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
    HeadSettings,
)
from replication.protocols import VALIDATED
from replication.samples.features import Samples
from tests.conftest import ROOT

CLASSES, DIMENSIONS = 10, 8
COUNTS = np.geomspace(150, 4, CLASSES).astype(int)
QUICK = {"depth": 2, "filter_epochs": 3, "classifier_epochs": 4, "device": "cpu"}
QUICK |= {"classifier_evaluate_every": 2, "head_epochs": 20}


def samples(counts, seed) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(100).normal(size=(CLASSES, DIMENSIONS))
    y = np.repeat(np.arange(CLASSES), counts)
    X = centres[y] + 0.7 * generator.normal(size=(len(y), DIMENSIONS))
    return X.astype(np.float32), y


X, Y = samples(COUNTS, 1)
X_VAL, Y_VAL = samples(6, 2)
X_TEST, Y_TEST = samples(40, 3)


@pytest.fixture(scope="module")
def fitted() -> DLSA:
    return DLSA(**QUICK).fit(X, Y, validation=(X_VAL, Y_VAL))


def test_scikit_learns_own_checks_pass() -> None:
    quick = QUICK | {"depth": 1, "num_clusters": 2, "filter_epochs": 1}
    results = check_estimator(DLSA(**quick), on_skip=None, on_fail=None)
    assert [one for one in results if one["status"] == "failed"] == []
    assert len(results) > 40


def test_it_decides_as_the_stages_do(fitted) -> None:
    """The same arrays through the stages' functions, protocol `validated`."""
    splits = {
        name: Samples(torch.from_numpy(x), torch.from_numpy(y))
        for name, (x, y) in {
            "train": (X, Y),
            "val": (X_VAL, Y_VAL),
            "test": (X_TEST, Y_TEST),
        }.items()
    }
    used = fitted.settings_
    train = splits["train"]
    zeros = Term(torch.zeros(CLASSES, DIMENSIONS), torch.zeros(CLASSES))
    head = fit_balanced_softmax_head(
        train.features,
        train.labels,
        zeros,
        torch.from_numpy(COUNTS),
        HeadSettings(**used["head"]),
        0,
    )
    chain = fit_levels(
        splits,
        CLASSES,
        FilterSettings(**used["filter"]),
        CascadeSettings(**used["cascade"]),
        VALIDATED,
        0,
    )
    classifier = ClassifierSettings(**used["classifier"])
    classifiers = Classifiers(head, splits, classifier, VALIDATED)
    expected = classifiers.decide_as_dlsa(chain.levels, 0).predicted
    assert np.array_equal(fitted.predict(X_TEST), expected.numpy())
    assert np.array_equal(fitted.head_[0], head.weight.numpy())
    leaving = fitted.leaving(X_TEST)
    pairs = zip(chain.levels, chain.diagnoses, strict=True)
    for depth, (level, diagnosis) in enumerate(pairs, 1):
        assert np.array_equal(
            np.flatnonzero(leaving == depth), level.leaving("test").numpy()
        )
        assert fitted.filters_[depth - 1]["history"] == diagnosis["history"]


def test_epochs_are_chosen_on_validation_samples_alone(fitted) -> None:
    looks = [one["validation_accuracy"] for one in fitted.classifiers_]
    assert all(set(one) == {2, 4} for one in looks)
    without = DLSA(**QUICK).fit(X, Y)
    assert [one["epoch"] for one in without.classifiers_] == [4, 4, 4]
    assert [one["validation_accuracy"] for one in without.classifiers_] == [{}, {}, {}]


def test_tensors_strings_and_order_of_arguments_change_nothing(fitted) -> None:
    """Labels that sort alike are the same classes."""
    words = np.array([f"class {label}" for label in range(CLASSES)])
    model = clone(fitted).fit(
        torch.from_numpy(X).double(), words[Y], validation=(X_VAL, words[Y_VAL])
    )
    given = model.predict(torch.from_numpy(X_TEST))
    assert np.array_equal(given, words[fitted.predict(X_TEST)])
    assert np.array_equal(
        model.predict_head(X_TEST), words[fitted.predict_head(X_TEST)]
    )


def test_a_seed_repeats_itself_and_another_differs(fitted) -> None:
    same, other = DLSA(**QUICK), DLSA(**QUICK, random_state=1)
    for model in (same, other):
        model.fit(torch.from_numpy(X), torch.from_numpy(Y), (X_VAL, Y_VAL))
    expected = fitted.predict_proba(X_TEST)
    assert np.array_equal(same.predict_proba(X_TEST), expected)
    assert not np.array_equal(other.predict_proba(X_TEST), expected)


def test_it_fits_and_answers_on_one_thread_where_dimensions_are_few(
    monkeypatch,
) -> None:
    had = set()

    def watched(call: Callable) -> Callable:
        return lambda *given: had.add(torch.get_num_threads()) or call(*given)

    for name in ("fit_levels", "read_clusters"):
        monkeypatch.setattr(estimator, name, watched(getattr(estimator, name)))
    with threads(2):
        DLSA(**QUICK).fit(X, Y).predict(X_TEST)
        assert torch.get_num_threads() == 2
    assert had == {1}


def test_a_head_of_ones_own_is_where_it_starts() -> None:
    weight, bias = np.random.default_rng(0).normal(size=(2, CLASSES, DIMENSIONS))
    model = DLSA(**QUICK, classifier_lr=1e-12)
    model.fit(X, Y, head=(weight, torch.from_numpy(bias[:, 0])))
    expected = (X_TEST @ weight.T + bias[:, 0]).argmax(1)
    assert np.array_equal(model.predict_head(X_TEST), expected)
    stays = model.leaving(X_TEST) == 0
    assert np.array_equal(model.predict(X_TEST[stays]), expected[stays])


def test_imagenet_lts_settings_at_the_size_of_the_data(fitted) -> None:
    """But for what a parameter says; `verbatim` leaves them as they are."""
    used = fitted.settings_
    assert used["filter"]["num_clusters"] == 2  # 500 x 440 / 115,846 = 1.9
    assert used["filter"]["sigma"] == pytest.approx(0.8)  # 0.05 sqrt(2048 / 8)
    assert used["classifier"]["lr"] == pytest.approx(0.026329, abs=1e-6)
    verbatim = DLSA(recipe="verbatim", sigma=0.2)._settings(440, 8)
    assert verbatim["filter"].num_clusters == 500
    assert verbatim["filter"].sigma == 0.2
    assert verbatim["classifier"].lr == 1e-4


REFUSALS = {
    "recipe": (
        {"recipe": "small"},
        {},
        "recipe: expected scaled or verbatim, got 'small'",
    ),
    "setting": (
        {"num_clusters": 0, "filter_lr": -1.0},
        {},
        "num_clusters: Input should be greater than or equal to 1, got 0\n"
        "filter_lr: Input should be greater than 0, got -1.0",
    ),
    "device": (
        {"device": "cuda:99"},
        {},
        f"device: expected one of this machine's {torch.cuda.device_count()} GPUs or "
        "cpu, got 'cuda:99'",
    ),
    "label": (
        {},
        {"validation": (X_VAL[:2], [0, 77])},
        "validation: expected labels of the training samples, got 77",
    ),
    "labels": (
        {},
        {"validation": (X_VAL[:2], [0])},
        "validation: expected 2 labels, got 1",
    ),
    "head": (
        {},
        {"head": (np.zeros((3, DIMENSIONS)), np.zeros(3))},
        f"head: expected weight ({CLASSES}, {DIMENSIONS}) and bias ({CLASSES},), got "
        f"(3, {DIMENSIONS}) and (3,)",
    ),
    "classes": (
        {},
        {"y": np.zeros_like(Y)},
        "y: expected at least 2 classes, got 1 class",
    ),
    "learning rate": ({"filter_lr": 1e30}, {}, None),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_used_is_a_value_error(name) -> None:
    changes, given, message = REFUSALS[name]
    with pytest.raises(ValueError) as caught:
        DLSA(**QUICK | changes).fit(X, **({"y": Y} | given))
    if message is None:
        message = str(caught.value)
        assert message.startswith("depth 1, seed 0: filter: the loss is not finite in ")
        assert len(message.splitlines()) == 1
    assert str(caught.value) == message


def test_before_fit_there_is_nothing_to_predict() -> None:
    for method in ("predict", "predict_proba", "predict_head", "leaving"):
        with pytest.raises(NotFittedError):
            getattr(DLSA(), method)(X)


def test_readmes_example_runs(capsys) -> None:
    """The fenced block as it stands; it prints what README says that it prints."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    names: dict = {}
    exec(blocks[0], names)
    assert len(capsys.readouterr().out.splitlines()) == 2
