"""From the head to DLSA: the ladder's laws on small Gaussian features."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import replication.cascade as cascade
from replication.cascade import Classifiers, Decided, Level, fit_chains, moved
from replication.classifiers.fitting import Problem, Watched, fit_classifiers
from replication.classifiers.heads import Rows, Term, predict
from replication.core.settings import CascadeSettings, ClassifierSettings
from replication.flow_filter.flow import FlowFilter
from replication.ladder import Setup, random_levels
from replication.protocols import (
    AS_RELEASED,
    BESIDE,
    LADDER,
    PROTOCOLS,
    VALIDATED,
    Given,
    Protocol,
    Rung,
    dlsa_rung,
    rungs_of,
)
from tests.sections import checkout
from tests.sections.checkout import CLASSIFIER, COUNTS, FILTER, drawn_splits

CLASSES = len(COUNTS)
SPLITS = drawn_splits()
# So weak that what is drawn beside it changes decisions.
HEAD = Term(0.02 * checkout.HEAD.weight, checkout.HEAD.bias)
FAST = CLASSIFIER.model_copy(update={"lr": 0.5})
BOTH = pytest.mark.parametrize("protocol", [VALIDATED, AS_RELEASED])


@pytest.fixture(scope="module")
def chains() -> dict[str, Sequence[Level]]:
    """Of two depths; both protocols' filters differ."""
    settings = CascadeSettings(depth=2, leaving_share=0.3)
    given = (SPLITS, CLASSES, FILTER, settings, list(PROTOCOLS.values()), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replication.flow_filter.fitting.SIZE_ABOVE", 0)
        fitted = fit_chains(*given)
    assert fitted["validated"].epochs != fitted["as_released"].epochs
    return {key: chain.levels for key, chain in fitted.items()}


def climbed(
    chains: Mapping[str, Sequence[Level]], protocol: Protocol, *names: str
) -> dict[str, Decided]:
    setup = Setup(chains, SPLITS, HEAD, FAST, 0)
    return setup.climb(names or rungs_of(protocol), protocol)


def dlsa(
    levels: Sequence[Level],
    protocol: Protocol,
    settings: ClassifierSettings = FAST,
) -> Decided:
    return Classifiers(HEAD, SPLITS, settings, protocol).decide_as_dlsa(levels, 0)


def of_head() -> list[int]:
    samples = SPLITS["test"]
    everyone = torch.arange(len(samples.labels))
    return predict([HEAD], [Rows(samples.features)], everyone).tolist()


@BOTH
def test_the_first_rung_is_the_head_and_the_last_is_dlsa(chains, protocol) -> None:
    rungs = climbed(chains, protocol)
    assert list(rungs) == list(rungs_of(protocol))
    assert rungs["head"].predicted.tolist() == of_head()
    expected = dlsa(chains[protocol.key], protocol)
    assert rungs["drawn"].predicted.tolist() == expected.predicted.tolist() != of_head()
    for note, alone in zip(rungs["drawn"].notes, expected.notes, strict=True):
        assert note == alone | {"moved": pytest.approx(alone["moved"], rel=1e-5)}
    for rung in rungs.values():
        assert (rung.predicted >= 0).all()


@BOTH
def test_with_second_terms_at_zero_dlsa_is_the_rung_before(chains, protocol) -> None:
    at_zero = FAST.model_copy(update={"second_terms": "zero"})
    expected = dlsa(chains[protocol.key], protocol, at_zero).predicted
    rungs = climbed(chains, protocol, "frequencies", "drawn")
    assert dlsa_rung("zero") == "frequencies"
    assert rungs["frequencies"].predicted.tolist() == expected.tolist()
    assert rungs["drawn"].predicted.tolist() != expected.tolist()


@BOTH
def test_a_split_with_the_head_unchanged_changes_nothing(
    monkeypatch, chains, protocol
) -> None:
    unchanged = Rung("unchanged", "own", LADDER["head"].given)
    monkeypatch.setitem(BESIDE, "unchanged", unchanged)
    rung = climbed(chains, protocol, "unchanged")["unchanged"]
    assert rung.predicted.tolist() == of_head()
    assert [note["where"] for note in rung.notes] == ["depth 1", "depth 2", "rest"]
    assert {moved for note in rung.notes for moved in note["moved"]} == {0.0}


@BOTH
def test_plain_is_one_classifier_of_all_samples(chains, protocol) -> None:
    watched = SPLITS[protocol.chosen_on]
    problem = Problem(
        [[HEAD]],
        [Rows(SPLITS["train"].features)],
        SPLITS["train"].labels,
        torch.tensor([COUNTS]),
        Watched([Rows(watched.features)], watched.labels),
        0,
    )
    [by_hand] = fit_classifiers(problem, FAST)
    everyone = torch.arange(len(SPLITS["test"].labels))
    expected = predict(by_hand.terms, [Rows(SPLITS["test"].features)], everyone)
    rung = climbed(chains, protocol, "plain")["plain"]
    assert rung.predicted.tolist() == expected.tolist()
    gone = (by_hand.terms[0].weight - HEAD.weight).norm() / HEAD.weight.norm()
    assert rung.notes[0]["moved"] == [pytest.approx(gone.item())]


@BOTH
def test_each_rung_changes_what_a_classifier_is_given_by_one_thing(
    monkeypatch, chains, protocol
) -> None:
    """Terms, prior and start of the classifier of depth 1, rung by rung."""
    asked: list[Problem] = []

    def spy(problem, settings):
        asked.append(problem)
        return fit_classifiers(problem, settings)

    monkeypatch.setattr(cascade, "fit_classifiers", spy)
    seen = []
    for name in ("split", "prior", "second", "frequencies", "drawn"):
        asked.clear()
        climbed(chains, protocol, name)
        first = asked[0]
        own = bool((first.counts == first.labels.bincount(minlength=CLASSES)).all())
        [[_, *others]] = first.heads
        zero = not any(term.weight.any() for term in others)
        seen.append((len(first.inputs), own, zero))
    assert seen == [
        (1, False, True), (1, True, True), (2, True, True), (3, True, True),
        (3, True, False),
    ]  # fmt: skip


def test_what_is_alike_is_fitted_once(monkeypatch, chains) -> None:
    """Under `validated` what is left is decided alike from its own prior on.

    Classifiers of the same inputs are fitted together.
    """
    asked = []

    def spy(problem, settings):
        asked.append(len(problem.heads))
        return fit_classifiers(problem, settings)

    monkeypatch.setattr(cascade, "fit_classifiers", spy)
    climbed(chains, VALIDATED, *LADDER)
    # Plain; on both depths five rungs of [x], [x; z] and [x; z; p]; on the rest the
    # prior of all and its own.
    assert sorted(asked) == sorted([1, *2 * [2, 1, 2], 2])
    same = dict.fromkeys(chains, chains["validated"])
    asked.clear()
    rungs = climbed(same, VALIDATED, "drawn", "other_epoch")
    assert len(asked) == 3
    assert rungs["drawn"].notes == rungs["other_epoch"].notes


def test_the_other_protocols_epochs_are_all_that_other_epoch_changes(chains) -> None:
    expected = dlsa(chains["as_released"], VALIDATED).predicted
    rung = climbed(chains, VALIDATED, "other_epoch")["other_epoch"]
    assert rung.predicted.tolist() == expected.tolist()


def test_changes_to_the_released_protocol_are_its_own_rungs(chains) -> None:
    for name, changes in (
        ("on_validation", {"chosen_on": "val"}),
        ("removed_gone", {"removed_count": False}),
    ):
        protocol = replace(AS_RELEASED, **changes)
        expected = dlsa(chains["as_released"], protocol).predicted
        rung = climbed(chains, AS_RELEASED, name)[name]
        assert rung.predicted.tolist() == expected.tolist()
        assert name not in rungs_of(VALIDATED)


@BOTH
def test_the_random_split_has_the_same_sizes_and_no_filter(
    monkeypatch, chains, protocol
) -> None:
    def never(*_: object) -> None:
        pytest.fail("a filter was asked")

    monkeypatch.setattr(FlowFilter, "forward", never)
    monkeypatch.setattr(cascade, "latents", never)
    levels = chains[protocol.key]
    drawn = random_levels(levels, 0)
    for level, other in zip(levels, drawn, strict=True):
        for split in SPLITS:
            assert len(level.leaving(split)) == len(other.leaving(split))
            sizes, others = level.cluster[split].bincount(), other.cluster[split]
            assert sizes.tolist() == others.bincount().tolist()
        assert other.leaving("train").tolist() != level.leaving("train").tolist()
    everyone = torch.cat(
        [level.leaving("test") for level in drawn] + [drawn[-1].staying("test")]
    )
    assert sorted(everyone.tolist()) == list(range(len(SPLITS["test"].labels)))
    again = climbed(chains, protocol, "random")["random"].notes
    assert again == climbed(chains, protocol, "random")["random"].notes
    terms = [len(note["moved"]) for note in again]
    assert terms == [3, 3, 1 if protocol == VALIDATED else 2]


def test_before_its_first_step_dlsa_is_the_head_and_what_was_drawn(chains) -> None:
    rung = climbed(chains, VALIDATED, "untrained")["untrained"]
    assert {moved for note in rung.notes for moved in note["moved"]} == {0.0}
    assert rung.predicted.tolist() != of_head()
    rest = chains["validated"][-1].staying("test")  # nothing is drawn there
    assert rung.predicted[rest].tolist() == np.array(of_head())[rest].tolist()


def test_movement_by_hand(chains) -> None:
    """Over where it started; of a term from zero over what it would be drawn at."""
    classifiers = Classifiers(HEAD, SPLITS, FAST, VALIDATED)
    part = next(classifiers.parts(chains["validated"], 0))
    drawn, zero = Given(), Given(drawn=False)
    [[*terms], at_zero] = classifiers.problem(part, [drawn, zero]).heads
    assert moved(terms, part, HEAD, drawn) == [0, 0, 0]
    assert moved(terms, part, HEAD, zero) == [0, 1, 1]
    terms[0] = Term(3 * terms[0].weight, None)
    terms[1] = Term(1.5 * terms[1].weight, None)
    assert moved(terms, part, HEAD, drawn) == pytest.approx([2, 0.5, 0])
    assert moved(at_zero, part, HEAD, zero) == [0, 0, 0]
