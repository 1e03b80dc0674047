"""Confusion matrices without and with DLSA (Sect. 4), and what is said of them.

A matrix of this size is read by its areas, so classes are ordered by training images
and merged into bins. Its rows are true bins, its columns predicted ones, both from the
most frequent classes (top, left) to the rarest (bottom, right). That orientation is an
assumption: under it the "right top" of Sect. 4 is where head classes are taken for tail
classes, as the sentence says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import BadInput
from replication.samples.predictions import by_seed
from replication.samples.shots import SHOT_GROUPS, shot_groups
from replication.statistics.comparison import PROTOCOLS, interval_record, judged
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.verdicts import corrected

BINS = 20
READINGS = {
    "blocks": "right top, and the middle block",
    "right_columns": "right columns, of the top and middle rows",
}
PARTS = {
    "blocks": ("right_top", "middle"),
    "right_columns": ("right_top", "right_middle"),
}
_HEAD_TO_TAIL = "DLSA reduces the error of misclassifying head classes to tail classes."
_AREAS = "The dark areas (reductions) are mainly at the right top and middle."


@dataclass(frozen=True)
class Pair:
    """Predictions of the same test samples under the same seeds.

    Fields: `without` DLSA and `with_dlsa`, (S, N) classes; `labels` (N,); S `seeds`.
    """

    without: np.ndarray
    with_dlsa: np.ndarray
    labels: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Mass:
    """Errors of one kind: from some groups of classes to some groups.

    Fields: `name`; `label` for a reader; `groups` (C,) group of each class; `cells`
    (G, G) bool, true group x predicted group.
    """

    name: str
    label: str
    groups: np.ndarray
    cells: np.ndarray


def pair_predictions(
    without: pd.DataFrame, with_dlsa: pd.DataFrame, protocol: str
) -> Pair:
    """One protocol's predictions without and with DLSA, sample by sample.

    Raises:
        BadInput: seeds or labels differ between the two.
    """
    before, labels, seeds = by_seed(without, protocol)
    after, other_labels, other_seeds = by_seed(with_dlsa, protocol)
    if seeds != other_seeds:
        raise BadInput(
            f"predictions: expected the same seeds without and with DLSA, got {seeds} "
            f"and {other_seeds}"
        )
    if not np.array_equal(labels, other_labels):
        raise BadInput(
            "predictions: expected the same labels without and with DLSA, got "
            f"{len(labels)} and {len(other_labels)} that differ"
        )
    return Pair(before, after, labels, tuple(seeds))


def frequency_bins(train_counts: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Merge the classes, most frequent first, into bins of nearly the same size.

    Implements: not in the paper, which draws a thousand classes one by one.

    Args:
        train_counts: (C,) training images of each class; ties go by class index.
        bins: wanted; where there are fewer classes, each class is a bin.

    Returns:
        (C,) int, 0 for the most frequent; the sizes of the bins differ by at most one.
    """
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order)) * min(bins, len(order)) // len(order)
    return number


def binned_predictions(
    predictions: np.ndarray, labels: np.ndarray, bin_of_class: np.ndarray, bins: int
) -> np.ndarray:
    """Count all predictions, right and wrong, by true and predicted bin.

    Implements: Sect. 4, Fig. 1 and 2, with the classes merged.

    Args:
        predictions: (S, N) classes; labels: (N,); bin_of_class: (C,).

    Returns:
        (S, bins, bins) int: true bin x predicted bin.
    """
    return _binned(predictions, labels, bin_of_class, bins, np.ones_like(predictions))


def binned_confusion(
    predictions: np.ndarray, labels: np.ndarray, bin_of_class: np.ndarray, bins: int
) -> np.ndarray:
    """Count the errors by true and predicted bin.

    Implements: Sect. 4, Fig. 1 and 2, without right answers: a wrong class of the same
    bin counts, on the diagonal.

    Args:
        predictions: (S, N) classes; labels: (N,); bin_of_class: (C,).

    Returns:
        (S, bins, bins) int: true bin x predicted bin.
    """
    wrong = predictions != labels
    return _binned(predictions, labels, bin_of_class, bins, wrong)


def _binned(
    predictions: np.ndarray,
    labels: np.ndarray,
    bin_of_class: np.ndarray,
    bins: int,
    counted: np.ndarray,
) -> np.ndarray:
    seeds = len(predictions)
    cell = bin_of_class[labels] * bins + bin_of_class[predictions]
    cell = cell + bins * bins * np.arange(seeds)[:, None]
    counts = np.bincount(cell[counted.astype(bool)], minlength=seeds * bins * bins)
    return counts.reshape(seeds, bins, bins)


def areas(bins: int) -> dict[str, np.ndarray]:
    """The areas of the matrix that Sect. 4 speaks of, under both readings.

    Implements: Sect. 4: "right top and middle". The thirds are of whole bins, the
    first the most frequent.

    Returns:
        Name -> (bins, bins) bool: `right_top` (first third taken for the last),
        `middle` (errors inside the middle third), `right_middle` (middle third taken
        for the last), and the readings: `blocks` = right_top + middle,
        `right_columns` = right_top + right_middle.
    """
    third = np.arange(bins) * 3 // bins
    top, middle, last = (third == number for number in range(3))
    named = {
        "right_top": np.outer(top, last),
        "middle": np.outer(middle, middle),
        "right_middle": np.outer(middle, last),
    }
    return named | {
        reading: named[first] | named[second]
        for reading, (first, second) in PARTS.items()
    }


def error_scores(
    predictions: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    cell_scores: np.ndarray,
) -> np.ndarray:
    """Score of each error by its cell; a right answer scores 0.

    Args:
        predictions: (S, N) classes; labels: (N,).
        groups: (C,) group of each class.
        cell_scores: (G, G) true group x predicted group.

    Returns:
        (S, N): linear in the cells, so that a mean of it has a plain interval.
    """
    scores = cell_scores[groups[labels], groups[predictions]]
    return np.where(predictions != labels, scores, 0.0)


def confusion_matrices(
    pair: Pair, bin_of_class: np.ndarray, bins: int
) -> dict[str, Any]:
    """The three matrices of Sect. 4, means over seeds.

    Implements: Sect. 4, Fig. 1 (without), Fig. 2 (with), Fig. 3 (with minus without).

    Returns:
        `counts` and `rates`, each with `without`, `with`, `difference` (bins, bins); a
        rate is a share of the true bin's test images, NaN where it has none.
        `accuracy` with `without`, `with` (bins,).
    """
    images = np.bincount(bin_of_class[pair.labels], minlength=bins)
    images = np.where(images > 0, images, np.nan)
    counts, accuracy = {}, {}
    sides = {"without": pair.without, "with": pair.with_dlsa}
    for side, predicted in sides.items():
        arguments = (predicted, pair.labels, bin_of_class, bins)
        wrong = binned_confusion(*arguments).mean(0)
        counts[side] = wrong
        accuracy[side] = (
            np.diag(binned_predictions(*arguments).mean(0) - wrong) / images
        )
    counts["difference"] = counts["with"] - counts["without"]
    rates = {side: count / images[:, None] for side, count in counts.items()}
    return {"counts": counts, "rates": rates, "accuracy": accuracy}


def masses(
    train_counts: np.ndarray, bin_of_class: np.ndarray, bins: int
) -> dict[str, Mass]:
    """The kinds of errors that Sect. 4 speaks of, each by every definition.

    Implements: Sect. 4: head and tail as Many and Few, and as the two halves of the
    classes by frequency; the named areas of the matrix.
    """
    shots = shot_groups(train_counts)
    shot = np.argmax([shots[name] for name in SHOT_GROUPS], axis=0)
    half = frequency_bins(train_counts, 2)
    named = areas(bins)
    top, middle, last = "most frequent third", "middle third", "rarest third"
    found = [
        Mass("many_to_few", "Many taken for Few", shot, _cell(3, 0, 2)),
        Mass("few_to_many", "Few taken for Many", shot, _cell(3, 2, 0)),
        Mass("upper_to_lower", "frequent half taken for rare", half, _cell(2, 0, 1)),
        Mass("lower_to_upper", "rare half taken for frequent", half, _cell(2, 1, 0)),
    ]
    labels = {
        "right_top": f"right top: {top} taken for {last}",
        "middle": f"middle: inside the {middle}",
        "right_middle": f"right middle: {middle} taken for {last}",
    } | READINGS
    found += [
        Mass(name, label, bin_of_class, named[name]) for name, label in labels.items()
    ]
    return {mass.name: mass for mass in found}


def mass_records(
    pair: Pair, kinds: Mapping[str, Mass], protocol: str
) -> list[dict[str, Any]]:
    """Each kind of errors without and with DLSA, and its paired change.

    Returns:
        For each kind two records: `of` all (share of all test images) and of true
        (rate: share of the test images of its true classes). `without`, `with` and
        `change` (with minus without) hold what `interval_record` says.
    """
    records = []
    for mass in kinds.values():
        scores = [
            error_scores(side, pair.labels, mass.groups, mass.cells.astype(float))
            for side in (pair.without, pair.with_dlsa)
        ]
        for of, weights in _weights(pair.labels, mass).items():
            records.append(
                {
                    "mass": mass.name,
                    "label": mass.label,
                    "protocol": protocol,
                    "of": of,
                    **{
                        name: interval_record(estimate(some, weights, pair.labels))
                        for name, some in {
                            "without": scores[0],
                            "with": scores[1],
                            "change": scores[1] - scores[0],
                        }.items()
                    },
                }
            )
    return records


def area_records(
    counts: Mapping[str, np.ndarray], protocol: str
) -> list[dict[str, Any]]:
    """What part of cells, errors and reductions lies in each area; a description.

    Args:
        counts: `without` and `difference`, (bins, bins) means over seeds.

    Returns:
        Records with `cells`, `errors` (without DLSA) and `reductions` (the negative
        cells of the difference): fractions; NaN where there is no reduction at all.
    """
    parts = {
        "cells": np.ones_like(counts["without"]),
        "errors": counts["without"],
        "reductions": np.maximum(-counts["difference"], 0),
    }
    return [
        {"area": name, "protocol": protocol}
        | {part: _share(values, inside) for part, values in parts.items()}
        for name, inside in areas(len(counts["without"])).items()
    ]


def confusion_claims(
    pair: Pair, kinds: Mapping[str, Mass], protocol: str
) -> list[dict[str, Any]]:
    """The sentence of Sect. 4 in its two parts, each under every definition.

    Implements: Sect. 4. Head to tail: fewer such errors. Areas: "right top and middle"
    names two parts. A cell of each loses errors, and a cell inside more than a cell
    outside; all must hold, so that the smallest of them is what is judged.

    Returns:
        Records with section, sentence, test, protocol, unit, mean, low, high, verdict,
        p_value, detectable and, by label, the `parts` that were judged. `unit` share:
        of all test images; share per cell: that, divided by cells. A reduction is
        positive.
    """
    definitions = {
        "many_to_few": "Many taken for Few: share without minus with, paired",
        "upper_to_lower": "frequent half taken for rare: share without minus with, "
        "paired",
    }
    claims = []
    for name, test in definitions.items():
        cells = kinds[name].cells.astype(float)
        reduction = _reduction(pair, kinds[name], cells)
        common = {"sentence": _HEAD_TO_TAIL, "test": test, "unit": "share"}
        claims.append(_claim(common, protocol, {kinds[name].label: reduction}))
    for name, reading in READINGS.items():
        parts = {
            kinds[part].label: _reduction(
                pair, kinds[part], _per_cell(kinds[part].cells)
            )
            for part in PARTS[name]
        }
        inside = kinds[name].cells
        parts["inside minus outside"] = _reduction(
            pair, kinds[name], _per_cell(inside) - _per_cell(~inside)
        )
        common = {
            "sentence": _AREAS,
            "test": f"{reading}: reduction per cell in each part, and inside minus "
            "outside; the smallest, paired",
            "unit": "share per cell",
        }
        claims.append(_claim(common, protocol, parts))
    return claims


def measure_confusion(
    without: pd.DataFrame, with_dlsa: pd.DataFrame, train_counts: np.ndarray
) -> dict[str, Any]:
    """Everything that Sect. 4 shows and says, from two tables of predictions.

    Implements: Sect. 4.

    Args:
        without: predictions of the head that DLSA starts from; with_dlsa: of DLSA.
        train_counts: (C,) training images of each class.

    Returns:
        `seeds`; `bins`: classes, largest and smallest training count and test images of
        each; `matrices` by protocol; `masses`, `areas` and `claims`: records.
    """
    bin_of_class = frequency_bins(train_counts)
    bins = int(bin_of_class.max()) + 1
    kinds = masses(train_counts, bin_of_class, bins)
    pairs = {name: pair_predictions(without, with_dlsa, name) for name in PROTOCOLS}
    matrices = {
        name: confusion_matrices(pair, bin_of_class, bins)
        for name, pair in pairs.items()
    }
    first = pairs[PROTOCOLS[0]]
    found: dict[str, list[dict[str, Any]]] = {"masses": [], "areas": [], "claims": []}
    for name, pair in pairs.items():
        found["masses"] += mass_records(pair, kinds, name)
        found["areas"] += area_records(matrices[name]["counts"], name)
        found["claims"] += confusion_claims(pair, kinds, name)
    found["claims"] = corrected(found["claims"])
    return {
        "seeds": list(first.seeds),
        "bins": _about_bins(train_counts, first.labels, bin_of_class, bins),
        "matrices": matrices,
        **found,
    }


def _about_bins(
    train_counts: np.ndarray, labels: np.ndarray, bin_of_class: np.ndarray, bins: int
) -> list[dict[str, int]]:
    images = np.bincount(bin_of_class[labels], minlength=bins)
    members = [train_counts[bin_of_class == number] for number in range(bins)]
    return [
        {
            "classes": len(counts),
            "largest": int(counts.max()),
            "smallest": int(counts.min()),
            "test_images": int(images[number]),
        }
        for number, counts in enumerate(members)
    ]


def _cell(groups: int, true: int, predicted: int) -> np.ndarray:
    cells = np.zeros((groups, groups), dtype=bool)
    cells[true, predicted] = True
    return cells


def _share(values: np.ndarray, inside: np.ndarray) -> float:
    total = values.sum()
    return float(values[inside].sum() / total) if total > 0 else float("nan")


def _weights(labels: np.ndarray, mass: Mass) -> dict[str, np.ndarray]:
    """Weight of each test image in a share and in a rate; NaN where nobody could err.

    A kind of errors without a test image of its true classes, or without a class to
    be taken for, cannot be measured: its 0 would look like a finding.
    """
    true = mass.cells.any(1)[mass.groups[labels]]
    if not true.any() or not mass.cells.any(0)[mass.groups].any():
        missing = np.full(len(labels), np.nan)
        return {"all": missing, "true": missing}
    return {"all": np.full(len(labels), 1 / len(labels)), "true": true / true.sum()}


def _reduction(pair: Pair, mass: Mass, cell_scores: np.ndarray) -> Estimate:
    """Mean over all test images of the error scores, without minus with."""
    without, with_dlsa = (
        error_scores(side, pair.labels, mass.groups, cell_scores)
        for side in (pair.without, pair.with_dlsa)
    )
    weights = _weights(pair.labels, mass)["all"]
    return estimate(
        without - with_dlsa, weights, pair.labels, step=np.abs(cell_scores).max()
    )


def _per_cell(cells: np.ndarray) -> np.ndarray:
    """Cell scores that make a mean over cells of a sum over errors."""
    return cells / max(cells.sum(), 1)


def _claim(
    common: Mapping[str, str], protocol: str, parts: Mapping[str, Estimate]
) -> dict[str, Any]:
    """All parts must be positive: the smallest mean and ends; NaN where one is."""
    return {
        "section": "Sect. 4",
        **common,
        "protocol": protocol,
        **judged(list(parts.values())),
        "parts": {name: interval_record(part) for name, part in parts.items()},
    }
