"""The protocols, what a classifier is given, and the rungs from the head to DLSA.

Choices alone: pages name them without waiting for PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from replication.core.settings import ClassifierSettings


@dataclass(frozen=True)
class Protocol:
    """What the text leaves open, decided one way.

    Fields: `filter_epoch`: which epoch of a filter is kept. `chosen_on`: the split
    whose samples choose a classifier's epoch; the last epoch stands where it is empty.
    `latents`: whether the second term sees z, or x once more; `rest_twice`, whether the
    last classifier too has a second term, of x once more. `removed_count`: whether
    cluster frequencies still count training samples that left before, and the prior of
    the last classifier all training samples.
    """

    key: str
    filter_epoch: Literal["last", "purest"]
    chosen_on: str
    latents: bool
    rest_twice: bool
    removed_count: bool


VALIDATED = Protocol(
    "validated",
    filter_epoch="last",
    chosen_on="val",
    latents=True,
    rest_twice=False,
    removed_count=False,
)
AS_RELEASED = Protocol(
    "as_released",
    filter_epoch="purest",
    chosen_on="test",
    latents=False,
    rest_twice=True,
    removed_count=True,
)
PROTOCOLS = {protocol.key: protocol for protocol in (VALIDATED, AS_RELEASED)}


@dataclass(frozen=True)
class Given:
    """What a classifier is given beside the head that it starts from.

    Fields: `second` input, z or x once more; `frequencies` of the classes in a sample's
    cluster; `own_prior`: whether the prior counts the samples that it is fitted to,
    otherwise all; `drawn`: whether terms beyond the first start as drawn, otherwise at
    zero; `trained`: False leaves all terms as they start.
    """

    second: bool = True
    frequencies: bool = True
    own_prior: bool = True
    drawn: bool = True
    trained: bool = True


def given_to_dlsa(settings: ClassifierSettings) -> Given:
    """What DLSA's classifiers are given."""
    return Given(drawn=settings.second_terms == "drawn")


@dataclass(frozen=True)
class Rung:
    """What decides the test samples: where the samples are split, and who decides.

    Fields: `split`: `none`; as the protocol's own filters do; as the `other` one's do;
    or at `random`, into parts and clusters of the same sizes. `given` to each
    classifier, None: as to DLSA's. `changes` to the protocol.
    """

    label: str
    split: Literal["none", "own", "other", "random"]
    given: Given | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


_BARE = Given(second=False, frequencies=False, own_prior=False, drawn=False)
_OWN_PRIOR = replace(_BARE, own_prior=True)
_SECOND = replace(_OWN_PRIOR, second=True)
HEAD, PLAIN = "head", "plain"
# Each one step from the one before.
LADDER = {
    HEAD: Rung("the head", "none", replace(_BARE, trained=False)),
    PLAIN: Rung("plain classifier of equal budget", "none", _BARE),
    "split": Rung("split: a classifier for each part", "own", _BARE),
    "prior": Rung("each part's own class prior", "own", _OWN_PRIOR),
    "second": Rung("a second input", "own", _SECOND),
    "frequencies": Rung(
        "cluster's class frequencies", "own", replace(_SECOND, frequencies=True)
    ),
    "drawn": Rung("added weights start at random", "own", Given()),
}
# DLSA with one thing changed; the last two under `as_released` alone.
BESIDE = {
    "untrained": Rung("before the first training step", "own", Given(trained=False)),
    "other_epoch": Rung("filters of the other protocol's epochs", "other"),
    "random": Rung(
        "random split and clusters, no filter",
        "random",
        changes={"latents": False},
    ),
    "on_validation": Rung(
        "epochs chosen on validation images", "own", changes={"chosen_on": "val"}
    ),
    "removed_gone": Rung(
        "samples that left are not counted", "own", changes={"removed_count": False}
    ),
}
_RELEASED_ALONE = ("on_validation", "removed_gone")


def rungs_of(protocol: Protocol) -> dict[str, Rung]:
    """The ladder of a protocol, then what lies beside it."""
    beside = {
        name: rung
        for name, rung in BESIDE.items()
        if protocol == AS_RELEASED or name not in _RELEASED_ALONE
    }
    return LADDER | beside


def labels_of(protocol: Protocol, second_terms: str) -> dict[str, str]:
    """What a reader calls each rung of a protocol."""
    labels = {name: rung.label for name, rung in rungs_of(protocol).items()}
    labels["second"] = f"{'z' if protocol.latents else 'x once more'} as second input"
    labels[dlsa_rung(second_terms)] += ": DLSA"
    return labels


def dlsa_rung(second_terms: str) -> str:
    """The rung that is DLSA itself, by where its second terms start."""
    return {"drawn": "drawn", "zero": "frequencies"}[second_terms]
