"""The cascade on small Gaussian features: partitions, thresholds, protocols."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import replication.cascade as cascade
import replication.flow_filter.fitting as fitting
from replication.cascade import (
    SPLITS,
    Classifiers,
    Level,
    cluster_frequencies,
    diagnose,
    fit_chains,
    fit_levels,
    leaving_threshold,
)
from replication.classifiers.fitting import FittedHead, Problem, fit_classifiers
from replication.classifiers.heads import Rows, Term
from replication.core.files import BadInput
from replication.core.settings import (
    CascadeSettings,
)
from replication.flow_filter.fitting import (
    Fitted,
    Trained,
    latents,
    read_clusters,
)
from replication.flow_filter.flow import FlowFilter
from replication.protocols import AS_RELEASED, VALIDATED, Protocol
from replication.samples.features import Samples, Streamed
from tests.made import generator
from tests.sections import checkout

CLASSES, DIMENSIONS = 6, 8
COUNTS = {
    "train": (150, 120, 60, 30, 12, 6),
    "val": (5, 5, 5, 5, 5, 5),
    "test": (20, 20, 20, 20, 20, 20),
}
FILTER = checkout.FILTER.model_copy(update={"num_clusters": 6, "epochs": 3})
CLASSIFIER = checkout.CLASSIFIER.model_copy(update={"epochs": 3})
SEED = 2


def gaussians(counts: tuple[int, ...], seed: int) -> Samples:
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator(seed))]
    centres = torch.randn(CLASSES, DIMENSIONS, generator=generator(100))
    noise = torch.randn(len(labels), DIMENSIONS, generator=generator(seed + 1))
    return Samples(centres[labels] + noise, labels)


def made_splits() -> dict[str, Samples]:
    return {
        split: gaussians(counts, 10 * number)
        for number, (split, counts) in enumerate(COUNTS.items())
    }


def with_labels(
    splits: Mapping[str, Samples], split: str, labels: Tensor
) -> dict[str, Samples]:
    return dict(splits) | {split: Samples(splits[split].features, labels)}


def permuted(splits: Mapping[str, Samples], split: str) -> dict[str, Samples]:
    labels = splits[split].labels
    order = torch.randperm(len(labels), generator=generator(77))
    assert not torch.equal(labels, labels[order])
    return with_labels(splits, split, labels[order])


def head() -> Term:
    return Term(
        0.3 * torch.randn(CLASSES, DIMENSIONS, generator=generator(5)),
        torch.zeros(CLASSES),
    )


def levels_of(splits: Mapping[str, Samples], depth: int) -> list[Level]:
    settings = CascadeSettings(depth=depth, leaving_share=0.3)
    return fit_levels(splits, CLASSES, FILTER, settings, VALIDATED, SEED).levels


def decided(
    levels: list[Level], splits: Mapping[str, Samples], protocol: Protocol
) -> tuple[Tensor, list[dict]]:
    classifiers = Classifiers(head(), splits, CLASSIFIER, protocol)
    chain = classifiers.decide_as_dlsa(levels, SEED)
    return chain.predicted, chain.notes


@pytest.fixture(scope="module")
def splits() -> dict[str, Samples]:
    return made_splits()


@pytest.fixture(scope="module")
def levels(splits) -> list[Level]:
    return levels_of(splits, 3)


# --- Partition


def test_one_threshold_from_training_samples_for_every_split(levels, splits) -> None:
    """log P(x) at or above the training threshold leaves, whatever the split."""
    for level in levels:
        for split in SPLITS:
            reading = read_clusters(level.fitted.flow, splits[split].features)
            assert torch.equal(level.log_likelihood[split], reading.log_likelihood)
            mine = reading.log_likelihood[level.remain[split]]
            assert torch.equal(level.leave[split], mine >= level.threshold)
            assert torch.equal(level.cluster[split], reading.cluster)
        train = read_clusters(level.fitted.flow, splits["train"].features)
        ordered = train.log_likelihood[level.remain["train"]].sort().values
        assert level.threshold == ordered[int(0.7 * len(ordered))].item()


@pytest.mark.parametrize("protocol", [VALIDATED, AS_RELEASED])
def test_every_test_sample_is_decided_exactly_once(levels, splits, protocol) -> None:
    """The notes add up to the split; every prediction is a class."""
    predicted, notes = decided(levels, splits, protocol)
    assert predicted.shape == splits["test"].labels.shape
    assert ((predicted >= 0) & (predicted < CLASSES)).all()
    for split in SPLITS:
        parts = sum(note["samples"][split] for note in notes)
        assert parts == len(splits[split].labels)
    names = [f"depth {depth}" for depth in range(1, len(levels) + 1)]
    assert [note["where"] for note in notes] == [*names, "rest"]
    # The notes' accuracies, weighted by their samples, make up the whole.
    right = sum(note["accuracy"] * note["samples"]["test"] for note in notes)
    assert right == pytest.approx((predicted == splits["test"].labels).sum().item())


def test_the_deciding_classifier_is_that_of_the_samples_depth(
    monkeypatch, levels, splits
) -> None:
    """Classifier m decides exactly those that leave at depth m.

    Each fitted classifier is replaced by one that always answers its own number.
    """
    calls = []

    def fit(problem, settings):
        bias = torch.zeros(CLASSES)
        bias[len(calls)] = 1.0
        calls.append(problem.seed)
        [terms] = problem.heads
        blank = [Term(torch.zeros_like(term.weight), None) for term in terms]
        blank[0].bias = bias
        return [FittedHead(blank, 1, {})]

    monkeypatch.setattr(cascade, "fit_classifiers", fit)
    predicted, _ = decided(levels, splits, VALIDATED)
    for number, level in enumerate(levels):
        assert (predicted[level.leaving("test")] == number).all()
    assert (predicted[levels[-1].staying("test")] == 3).all()
    assert len(set(calls)) == 4


def test_streamed_features_give_the_same_filters_and_decisions(splits) -> None:
    streamed = {
        split: Samples(Streamed(part.features, torch.device("cpu")), part.labels)
        for split, part in splits.items()
    }
    levels, again = levels_of(splits, 2), levels_of(streamed, 2)
    for level, other in zip(levels, again, strict=True):
        assert level.threshold == other.threshold
        state = other.fitted.flow.state_dict()
        for name, value in level.fitted.flow.state_dict().items():
            assert torch.equal(value, state[name])
    for protocol in (VALIDATED, AS_RELEASED):
        mine, notes = decided(levels, splits, protocol)
        its, others = decided(again, streamed, protocol)
        assert torch.equal(mine, its)
        assert notes == others


def test_too_few_classes_are_refused_with_depth_and_seed(splits) -> None:
    one_class = with_labels(splits, "train", torch.zeros_like(splits["train"].labels))
    with pytest.raises(BadInput) as refusal:
        levels_of(one_class, 1)
    assert str(refusal.value) == (
        f"depth 1, seed {SEED}: filter: expected samples of at least 2 classes to draw "
        "pairs from, got 1; have fewer filters (cascade.depth), or let fewer samples "
        "leave at each (cascade.leaving_share)"
    )


@pytest.mark.parametrize(("purest", "trainings"), [(2, 5), (3, 3)])
def test_both_protocols_share_the_trainings_of_the_same_samples(
    monkeypatch, splits, purest: int, trainings: int
) -> None:
    """One at depth 1; deeper as many as there are different epochs kept before.

    Of three epochs the last is kept, and under the other protocol the purest.
    """
    real, calls = cascade.fit_flow_filter, []

    def spy(features, labels, settings, seed, report=None, *, rows, resume) -> Trained:
        calls.append((seed, len(rows)))
        last = real(features, labels, settings, seed, rows=rows).last
        shorter = settings.model_copy(update={"epochs": purest})
        if purest == settings.epochs:
            return Trained(last, last)
        return Trained(last, real(features, labels, shorter, seed, rows=rows).last)

    monkeypatch.setattr(cascade, "fit_flow_filter", spy)
    settings = CascadeSettings(depth=3, leaving_share=0.3)
    both = [VALIDATED, AS_RELEASED]
    chains = fit_chains(splits, CLASSES, FILTER, settings, both, SEED)
    assert len(calls) == trainings
    assert calls[0] == (1000 * SEED + 1, len(splits["train"].labels))
    assert chains["validated"].epochs == (3, 3, 3)
    assert chains["as_released"].epochs == (purest,) * 3
    alone = fit_levels(splits, CLASSES, FILTER, settings, VALIDATED, SEED)
    for level, other in zip(chains["validated"].levels, alone.levels, strict=True):
        assert level.threshold == other.threshold


def test_killed_filters_go_on_where_they_were(monkeypatch, tmp_path, splits) -> None:
    """Killed in the second epoch at depth 2: the filter at depth 1 is not fitted again.

    What comes out is what an undisturbed call gives.
    """
    monkeypatch.setattr(fitting, "_SAVE_EVERY", -1)
    settings = CascadeSettings(depth=2, leaving_share=0.3)
    given = (splits, CLASSES, FILTER, settings, [VALIDATED], SEED)
    undisturbed = fit_chains(*given)["validated"]
    seen: list[int] = []

    def kill(epoch: int, *_: object) -> None:
        seen.append(epoch)
        if len(seen) == FILTER.epochs + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_chains(*given, kill, tmp_path)
    seen.clear()
    again = fit_chains(*given, lambda epoch, *_: seen.append(epoch), tmp_path)
    assert seen == list(range(1, FILTER.epochs))
    for level, other in zip(undisturbed.levels, again["validated"].levels, strict=True):
        assert level.threshold == other.threshold
        assert level.fitted.history == other.fitted.history


# --- Thresholds


@pytest.mark.parametrize(
    ("share", "threshold", "leaving"),
    [
        (0.3, 7.0, 3),  # int(10 * 0.7) = 7: three of ten leave
        (0.35, 6.0, 4),  # int(6.5) = 6: the larger part leaves
        (0.95, 0.0, 10),  # int(0.5) = 0: everyone
    ],
)
def test_threshold_of_ten_likelihoods(
    share: float, threshold: float, leaving: int
) -> None:
    """The int(n (1 - share))-th smallest of 0..9, from 0, in any order."""
    values = torch.arange(10.0)[torch.randperm(10, generator=generator())]
    assert leaving_threshold(values, share) == threshold
    assert (values >= leaving_threshold(values, share)).sum() == leaving


# --- Cluster frequencies


def flow_with(clusters: int) -> FlowFilter:
    return FlowFilter(2, clusters, 0.05, generator()).eval()


def made_level(
    remain: dict[str, list[int]],
    leave: dict[str, list[bool]],
    cluster: dict[str, list[int]],
    clusters: int = 3,
    log_likelihood: Mapping[str, Tensor] | None = None,
) -> Level:
    return Level(
        fitted=Fitted(flow_with(clusters), 2, [{"loss_mle": 1.0}]),
        threshold=-1.5,
        remain={name: torch.tensor(rows).long() for name, rows in remain.items()},
        leave={name: torch.tensor(rows).bool() for name, rows in leave.items()},
        cluster={name: torch.tensor(rows).long() for name, rows in cluster.items()},
        log_likelihood=log_likelihood or {},
    )


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        # Samples 0, 2, 3, 5 remain: cluster 0 has labels 0, 1, 1; cluster 2 label 1.
        (VALIDATED, [[1 / 3, 2 / 3], [0, 0], [0, 1]]),
        # All six: cluster 0 labels 0, 0, 1, 1; cluster 2 labels 0, 1.
        (AS_RELEASED, [[0.5, 0.5], [0, 0], [0.5, 0.5]]),
    ],
)
def test_cluster_frequencies_by_hand(protocol, expected) -> None:
    """`validated` counts those that remain, `as_released` all; an empty row is 0."""
    level = made_level(
        remain={"train": [0, 2, 3, 5]},
        leave={"train": [True, False, False, False]},
        cluster={"train": [0, 0, 0, 2, 2, 0]},
    )
    train = Samples(torch.zeros(6, 2), torch.tensor([0, 0, 1, 1, 0, 1]))
    table = cluster_frequencies(level, train, 2, protocol)
    torch.testing.assert_close(table, torch.tensor(expected))


# --- Protocols: what each classifier is given


def recorded(
    monkeypatch: pytest.MonkeyPatch,
    levels: list[Level],
    splits: Mapping[str, Samples],
    protocol: Protocol,
) -> list[Problem]:
    """What `fit_classifiers` was asked to do."""
    calls = []

    def spy(problem, settings):
        calls.append(problem)
        return fit_classifiers(problem, settings)

    monkeypatch.setattr(cascade, "fit_classifiers", spy)
    decided(levels, splits, protocol)
    return calls


def seen(inputs: list[Rows]) -> list[Tensor]:
    """What each term sees of every sample, (n, D) each."""
    count = max(len(rows.table if rows.pick is None else rows.pick) for rows in inputs)
    return [rows.of(torch.arange(count)) for rows in inputs]


def assert_all_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("protocol", [VALIDATED, AS_RELEASED])
def test_inputs_of_the_cluster_aided_classifiers(
    monkeypatch, levels, splits, protocol
) -> None:
    """`validated`: [x; z; p]. `as_released`: [x; x; p]. p is looked up by cluster."""
    calls = recorded(monkeypatch, levels, splits, protocol)
    watched_split = "val" if protocol == VALIDATED else "test"
    for level, call in zip(levels, calls, strict=False):
        table = cluster_frequencies(level, splits["train"], CLASSES, protocol)
        for split, inputs in (
            ("train", call.inputs),
            (watched_split, call.watched.inputs),
        ):
            rows = level.leaving(split)
            x = splits[split].features[rows]
            z = latents(level.fitted.flow, x) if protocol == VALIDATED else x
            p = table[level.cluster[split][rows]]
            assert_all_equal(seen(inputs), [x, z, p])
        assert torch.equal(call.labels, splits["train"].labels[level.leaving("train")])
        assert not torch.equal(latents(level.fitted.flow, x), x)


@pytest.mark.parametrize("protocol", [VALIDATED, AS_RELEASED])
def test_inputs_and_prior_of_the_last_classifier(
    monkeypatch, levels, splits, protocol
) -> None:
    """`validated`: [x], prior of the rest; `as_released`: [x; x], of all labels."""
    last = recorded(monkeypatch, levels, splits, protocol)[-1]
    train, rows = splits["train"], levels[-1].staying("train")
    x, labels = train.features[rows], train.labels[rows]
    everyone = train.labels.bincount(minlength=CLASSES)
    mine = labels.bincount(minlength=CLASSES)
    assert not torch.equal(mine, everyone)
    paper = protocol == VALIDATED
    assert_all_equal(seen(last.inputs), [x] if paper else [x, x])
    assert torch.equal(last.counts, (mine if paper else everyone)[None])
    assert torch.equal(last.labels, labels)


@pytest.mark.parametrize("protocol", [VALIDATED, AS_RELEASED])
def test_first_terms_start_from_the_head_and_the_others_share_one_layers_bound(
    monkeypatch, levels, splits, protocol
) -> None:
    """The others are one layer on [z; p], cut up: one bound and one bias for all."""
    calls = recorded(monkeypatch, levels, splits, protocol)
    drawn = [DIMENSIONS + CLASSES] * 3 + ([] if protocol == VALIDATED else [DIMENSIONS])
    for call in calls:
        [[first, *_]] = call.heads
        assert torch.equal(first.weight, head().weight)
        assert torch.equal(first.bias, head().bias)
    for call, width in zip(calls, drawn, strict=False):
        [[_, *others]] = call.heads
        assert sum(term.weight.shape[1] for term in others) == width
        largest = max(term.weight.abs().max().item() for term in others)
        assert 0.8 * width**-0.5 < largest <= width**-0.5 * (1 + 1e-5)
        assert sum(term.bias is not None for term in others) == 1
    if protocol == VALIDATED:
        assert len(calls[-1].heads[0]) == 1


# --- Protocols: who may look at which labels


def outcome(splits: Mapping[str, Samples], protocol: Protocol) -> tuple:
    """Thresholds, predictions, kept epochs and looks of the whole chain."""
    settings = CascadeSettings(depth=3, leaving_share=0.3)
    levels = fit_levels(splits, CLASSES, FILTER, settings, protocol, SEED).levels
    predicted, notes = decided(levels, splits, protocol)
    return (
        [level.threshold for level in levels],
        predicted.tolist(),
        [note["epoch"] for note in notes],
        [note["looks"] for note in notes],
    )


def test_paper_never_looks_at_test_labels(splits) -> None:
    """Permuting the test labels changes no threshold, prediction, epoch or look."""
    plain = outcome(splits, VALIDATED)
    assert outcome(permuted(splits, "test"), VALIDATED) == plain
    assert outcome(permuted(splits, "val"), VALIDATED)[3] != plain[3]


def test_released_code_looks_at_test_labels_and_never_at_validation_labels(
    splits,
) -> None:
    """Its looks follow the test labels; validation labels leave no trace at all."""
    plain = outcome(splits, AS_RELEASED)
    assert outcome(permuted(splits, "val"), AS_RELEASED) == plain
    other = outcome(permuted(splits, "test"), AS_RELEASED)
    assert other[0] == plain[0]
    assert other[3] != plain[3]


def test_without_validation_samples_paper_keeps_the_last_epoch(splits) -> None:
    """An empty split is no obstacle; filters are as with one."""
    empty = Samples(torch.empty(0, DIMENSIONS), torch.empty(0, dtype=torch.int64))
    without = dict(splits) | {"val": empty}
    thresholds, predicted, epochs, looks = outcome(without, VALIDATED)
    assert thresholds == outcome(splits, VALIDATED)[0]
    assert min(predicted) >= 0
    assert epochs == [CLASSIFIER.epochs] * 4
    assert looks == [{}] * 4


# --- Diagnosis


def test_diagnosis_by_hand() -> None:
    """Shares by shot group, AUROC of tail against head, cluster sizes; NaN if empty.

    Classes 0 (Many), 1 (Medium), 2 (Few) by the counts of the whole training set.
    """
    counts = torch.tensor([101, 20, 19])
    likelihoods = {
        # Of those that remain 1.0 to 5.0.
        "train": torch.tensor([1.0, 2.0, -9.0, 3.0, 4.0, -9.0, 5.0]),
        # Few 2.0, 2.5, 4.0 against Many 1.0, 3.0; Medium's 9.0 is in neither.
        "test": torch.tensor([1.0, 3.0, 9.0, 4.0, 2.0, 2.5]),
        "val": torch.zeros(0),
    }
    level = made_level(
        remain={"train": [0, 1, 3, 4, 6], "test": [0, 1, 2, 3, 4, 5], "val": []},
        leave={
            "train": [True, False, False, True, True],
            "test": [True, False, True, True, False, True],
            "val": [],
        },
        cluster={"train": [0, 0, 1, 0, 2, 1, 2], "test": [0] * 6, "val": []},
        clusters=4,
        log_likelihood=likelihoods,
    )
    splits = {
        # Of those that remain: labels 0, 0, 1, 1, 1.
        "train": Samples(torch.zeros(7, 2), torch.tensor([0, 0, 2, 1, 1, 2, 1])),
        "test": Samples(torch.zeros(6, 2), torch.tensor([0, 0, 1, 2, 2, 2])),
        "val": Samples(torch.zeros(0, 2), torch.zeros(0).long()),
    }
    found = diagnose(level, splits, counts, depth=2)
    test, val = found["splits"]["test"], found["splits"]["val"]
    # Pairs where Few is likelier: 4.0 beats both, 2.5 and 2.0 beat 1.0: 4 of 6.
    assert test == {
        "samples": 6,
        "log_likelihood": pytest.approx(21.5 / 6),
        "leaving": pytest.approx(4 / 6),
        "leaving_by_group": pytest.approx({"many": 1 / 2, "medium": 1, "few": 2 / 3}),
        "auroc_tail": pytest.approx(4 / 6),
    }
    assert math.isnan(found["splits"]["train"]["auroc_tail"])
    for value in (
        val["leaving"],
        val["log_likelihood"],
        *val["leaving_by_group"].values(),
    ):
        assert math.isnan(value)
    # Remaining training samples by cluster: 3, 0, 2, 0; 0, 0, 1 and 1, 1 by label.
    assert (found["epoch"], found["epochs"]) == (2, 1)  # of a history of one
    assert (found["clusters"], found["empty_clusters"], found["largest"]) == (4, 2, 3)
    assert found["purity"] == pytest.approx(4 / 5)
