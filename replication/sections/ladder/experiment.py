"""From the head to DLSA, one step a rung: which step their difference comes from."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from replication.protocols import HEAD, LADDER, PROTOCOLS, dlsa_rung, labels_of
from replication.samples.metrics import ACCURACIES, accuracy_weights
from replication.samples.predictions import paired
from replication.sections.basis import Basis
from replication.statistics.intervals import estimate
from replication.statistics.results import Cell, estimated, pick
from replication.statistics.verdicts import DECIDED, judged

# Of each classifier, in the order of its terms.
TERMS = ("moved_first", "moved_second", "moved_frequencies")
# Protocol -> seed -> rung -> what each of its classifiers did.
Notes = Mapping[str, Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]]


def ladder_cells(
    rungs: Mapping[str, pd.DataFrame], notes: Notes, second_terms: str, basis: Basis
) -> list[Cell]:
    """Every rung's accuracies, minus the rung before and minus the head.

    What lies beside the ladder is subtracted from nothing on it: DLSA is subtracted
    from it. `changed`: share of the test samples that it decides otherwise than the
    head; TERMS: how far a kind of terms went, mean over classifiers and seeds.

    Args:
        rungs: name -> predictions.
        notes: seed -> protocol -> rung -> a note a classifier.
    """
    cells = []
    for key, protocol in PROTOCOLS.items():
        labels = labels_of(protocol, second_terms)
        pairs = paired({name: rungs[name] for name in labels}, key)
        weights = accuracy_weights(pairs.labels, basis.train_counts)
        right = {
            name: (answers == pairs.labels).astype(np.int8)
            for name, answers in pairs.of.items()
        }
        for name, label in labels.items():
            new = partial(basis.cell, method=name, label=label, protocol=key)
            for metric in ACCURACIES:
                scored = partial(estimate, weights=weights[metric], strata=pairs.labels)
                ours = scored(right[name]).within(0.0, 1.0)
                cells.append(new(metric=metric, **estimated(ours)))
                for minus in _subtracted(name, second_terms):
                    gap = scored(right[name] - right[minus])
                    fields = estimated(gap) | judged([gap])
                    cells.append(new(metric=metric, minus=minus, **fields))
            changed = float((pairs.of[name] != pairs.of[HEAD]).mean())
            cells.append(new(metric="changed", mean=changed))
            for metric, far in _moved(notes, key, name).items():
                cells.append(new(metric=metric, mean=far, unit="of the start"))
    return cells


def _subtracted(name: str, second_terms: str) -> list[str]:
    """What is subtracted from a rung: the one before, or DLSA; and the head."""
    before = {rung: below for below, rung in pairwise(LADDER)} | {HEAD: None}
    below = before.get(name, dlsa_rung(second_terms))
    return list(dict.fromkeys((below, HEAD))) if below else []


def _moved(notes: Notes, protocol: str, name: str) -> dict[str, float]:
    """Mean movement of each kind of terms; those that no classifier has are left out.

    A classifier without samples, which goes nowhere, counts too.
    """
    of = [note["moved"] for seed in notes.values() for note in seed[protocol][name]]
    far = {
        metric: [moved[place] for moved in of if len(moved) > place]
        for place, metric in enumerate(TERMS)
    }
    return {
        metric: float(np.mean(np.array(values, dtype=float)))  # of None, NaN
        for metric, values in far.items()
        if values
    }


def steps(cells: Sequence[Cell], protocol: str, second_terms: str) -> list[Cell]:
    """Each rung minus the one before in Overall, up to DLSA."""
    names = list(LADDER)[: list(LADDER).index(dlsa_rung(second_terms)) + 1]
    of = {"protocol": protocol, "metric": "overall"}
    pairs = pairwise(names)
    return [pick(cells, method=name, minus=before, **of) for before, name in pairs]


def whole(cells: Sequence[Cell], protocol: str, second_terms: str) -> Cell:
    """DLSA minus its head in Overall."""
    of = {"protocol": protocol, "metric": "overall", "minus": HEAD}
    return pick(cells, method=dlsa_rung(second_terms), **of)


def deciding_step(
    cells: Sequence[Cell], protocol: str, second_terms: str
) -> tuple[Cell, bool]:
    """The step that the difference between DLSA and its head comes from.

    Of the steps that go the way of the difference, and of those the ones whose own
    interval does too, the longest; where the difference is undecided, the longest of
    all.

    Returns:
        The step; and whether both its interval and that of the whole leave zero out.
    """
    gap = whole(cells, protocol, second_terms)
    of = steps(cells, protocol, second_terms)
    shown = [step for step in of if step.verdict == gap.verdict in DECIDED]
    along = [step for step in of if (step.mean > 0) == (gap.mean > 0)]
    best = shown or (along if gap.verdict in DECIDED else of)
    return max(best, key=lambda step: abs(step.mean)), bool(shown)
