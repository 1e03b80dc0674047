"""Confusion matrices without and with DLSA (Sect. 4), and what is said of them.

Classes are ordered by training images and merged into bins. Rows are true bins, columns
predicted ones, from the most frequent classes (top, left) to the rarest. Print does not
say which axis is which, and its sentence and the main paper's Fig. 1 say opposite
things of the right top, so that both sentences are judged under both readings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from replication.samples.predictions import Paired
from replication.samples.shots import SHOT_GROUPS, shot_groups
from replication.sections.basis import Basis
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.results import Cell, Claim, estimated
from replication.statistics.verdicts import judged

BINS = 20  # as the main paper's Fig. 1
WITHOUT, WITH = "start", "full"  # DLSA, by method
SIDES = {"without": WITHOUT, "with": WITH}
# Which axis is the true class, and so what the "right top" is.
READINGS = {
    "rows": "right top: head taken for tail",
    "columns": "right top: tail taken for head",
}
_HEAD_AND_TAIL = {"rows": "many_to_few", "columns": "few_to_many"}
_AREAS = {"rows": ("right_top", "middle"), "columns": ("left_bottom", "middle")}
PER_CELL = "share per cell"


@dataclass(frozen=True)
class Errors:
    """Errors of one kind: from some groups of classes to some groups.

    Fields: `label` for a reader; `groups` (C,) group of each class; `cells` (G, G)
    bool, true group x predicted group.
    """

    label: str
    groups: np.ndarray
    cells: np.ndarray

    def scores(
        self, answers: np.ndarray, labels: np.ndarray, cell_scores: np.ndarray
    ) -> np.ndarray:
        """Score (S, N) of each error by its cell (G, G); a right answer scores 0."""
        scores = cell_scores[self.groups[labels], self.groups[answers]]
        return np.where(answers != labels, scores, 0.0)

    def weights(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Weight of each test image in a `share` of all and in a `rate` of the true.

        All NaN where nobody could err so: no test image of the true classes, or no
        class to be taken for. Its 0 would look like a finding.
        """
        true = self.cells.any(1)[self.groups[labels]]
        if not true.any() or not self.cells.any(0)[self.groups].any():
            return dict.fromkeys(("share", "rate"), np.full(len(labels), np.nan))
        return {
            "share": np.full(len(labels), 1 / len(labels)),
            "rate": true / true.sum(),
        }


def frequency_bins(train_counts: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Merge the classes (C,), most frequent first, into bins of nearly the same size.

    Returns (C,) int, 0 for the most frequent; ties go by class index. Where there are
    fewer classes than bins, each class is a bin.
    """
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order)) * min(bins, len(order)) // len(order)
    return number


def confusion_matrices(
    pairs: Paired, bin_of_class: np.ndarray
) -> dict[str, np.ndarray]:
    """The three matrices of Sect. 4, means over seeds, by name.

    Implements: Sect. 4, Fig. 1 (without), Fig. 2 (with), Fig. 3 (with minus without),
    without right answers: a wrong class of the same bin counts, on the diagonal.

    Returns:
        `without`, `with`, `difference`, each (bins, bins): shares of the true bin's
        test images, NaN where it has none.
    """
    true = bin_of_class[pairs.labels]
    bins = int(bin_of_class.max()) + 1
    images = np.bincount(true, minlength=bins)
    images = np.where(images > 0, images, np.nan)
    rates = {}
    for side, method in SIDES.items():
        answers = pairs.of[method]
        errors = answers != pairs.labels
        of_true = np.broadcast_to(true, answers.shape)[errors]
        wrong = np.zeros((bins, bins))
        np.add.at(wrong, (of_true, bin_of_class[answers[errors]]), 1)
        rates[side] = wrong / len(answers) / images[:, None]
    rates["difference"] = rates["with"] - rates["without"]
    return rates


def thirds(bins: int) -> np.ndarray:
    """(bins,) 0, 1 or 2: thirds of whole bins, the first the most frequent."""
    return np.arange(bins) * 3 // bins


def areas(bins: int) -> dict[str, np.ndarray]:
    """The areas of Sect. 4's "right top and middle", with true classes as rows.

    Returns name -> (bins, bins) bool: `right_top`, the first third taken for the last;
    `left_bottom`, the right top where true classes are the columns; `middle`.
    """
    top, middle, last = (thirds(bins) == number for number in range(3))
    return {
        "right_top": np.outer(top, last),
        "left_bottom": np.outer(last, top),
        "middle": np.outer(middle, middle),
    }


def error_kinds(
    train_counts: np.ndarray, bin_of_class: np.ndarray
) -> dict[str, Errors]:
    """The kinds of errors that Sect. 4 speaks of: Many and Few, and areas."""
    shots = shot_groups(train_counts)
    shot = np.argmax([shots[name] for name in SHOT_GROUPS], axis=0)
    frequent, rare = "most frequent third", "rarest third"
    labels = {
        "right_top": f"{frequent} taken for {rare}",
        "left_bottom": f"{rare} taken for {frequent}",
        "middle": "inside the middle third",
    }
    named = areas(int(bin_of_class.max()) + 1)
    many_to_few = np.zeros((3, 3), dtype=bool)
    many_to_few[0, 2] = True
    return {
        "many_to_few": Errors("Many taken for Few", shot, many_to_few),
        "few_to_many": Errors("Few taken for Many", shot, many_to_few.T),
    } | {
        name: Errors(label, bin_of_class, named[name]) for name, label in labels.items()
    }


def error_cells(
    pairs: Paired, kinds: Mapping[str, Errors], basis: Basis, protocol: str
) -> list[Cell]:
    """Each kind of errors without and with DLSA, and its paired change.

    Returns:
        For each kind of errors two metrics: its share of all test images, under its
        name, and its rate among the test images of its true classes. A change is with
        minus without.
    """
    cell, cells = partial(basis.cell, protocol=protocol), []
    for name, kind in kinds.items():
        scores = {
            method: kind.scores(pairs.of[method], pairs.labels, kind.cells * 1.0)
            for method in SIDES.values()
        }
        for of, weights in kind.weights(pairs.labels).items():
            metric = name if of == "share" else f"{name}_rate"
            for side, method in SIDES.items():
                ours = estimate(scores[method], weights, pairs.labels).within(0.0, 1.0)
                row = {"method": method, "label": f"{side} DLSA", "metric": metric}
                cells.append(cell(**row, **estimated(ours)))
            change = estimate(scores[WITH] - scores[WITHOUT], weights, pairs.labels)
            row = {"method": WITH, "minus": WITHOUT, "label": "change by DLSA"}
            cells.append(cell(**row, metric=metric, **estimated(change)))
    return cells


def head_to_tail_claims(
    pairs: Paired, kinds: Mapping[str, Errors], basis: Basis, protocol: str
) -> list[Claim]:
    """Sect. 4: fewer head classes are taken for tail classes, by both readings."""
    return [
        basis.claim(
            id=f"fewer_{name}",
            sentence="s4_head_to_tail",
            place="Sect. 4",
            protocol=protocol,
            statement="DLSA reduces the error of misclassifying head classes to tail "
            "classes.",
            reading=READINGS[reading],
            test=f"{kinds[name].label}: share without minus with, paired",
            **judged([_reduction(pairs, kinds[name], kinds[name].cells * 1.0)]),
        )
        for reading, name in _HEAD_AND_TAIL.items()
    ]


def area_claims(
    pairs: Paired, kinds: Mapping[str, Errors], basis: Basis, protocol: str
) -> tuple[list[Claim], list[Cell]]:
    """Sect. 4: the reductions are mainly at the right top and middle, by both readings.

    A cell of each of the two loses errors, and a cell inside more than a cell outside;
    all must hold, so that the smallest of them is what is judged.

    Returns:
        The claims; and as Cells what the smallest is chosen from: share of all test
        images, divided by cells. A reduction is positive.
    """
    claims, reductions = [], {}
    for reading, (first, second) in _AREAS.items():
        inside = kinds[first].cells | kinds[second].cells
        parts = {
            f"{area}_per_cell": _reduction(
                pairs, kinds[area], _per_cell(kinds[area].cells)
            )
            for area in (first, second)
        }
        parts[f"{reading}_inside_minus_outside"] = _reduction(
            pairs, kinds[first], _per_cell(inside) - _per_cell(~inside)
        )
        reductions |= parts
        claims.append(
            basis.claim(
                id=f"dark_{reading}",
                sentence="s4_dark",
                place="Sect. 4",
                protocol=protocol,
                statement="The dark areas (reductions) are mainly at the right top "
                "and middle.",
                reading=READINGS[reading],
                test=f"reduction a cell in each of two areas ({kinds[first].label}; "
                f"{kinds[second].label}), and inside minus outside; the smallest, "
                "paired",
                unit=PER_CELL,
                **judged(list(parts.values())),
            )
        )
    row = {"method": WITHOUT, "minus": WITH, "label": "reduction", "unit": PER_CELL}
    cells = [
        basis.cell(**row, protocol=protocol, metric=metric, **estimated(reduction))
        for metric, reduction in reductions.items()
    ]
    return claims, cells


def _reduction(pairs: Paired, kind: Errors, cell_scores: np.ndarray) -> Estimate:
    """Mean over all test images of the error scores, without minus with DLSA."""
    without, with_dlsa = (
        kind.scores(pairs.of[method], pairs.labels, cell_scores)
        for method in SIDES.values()
    )
    weights, step = kind.weights(pairs.labels)["share"], np.abs(cell_scores).max()
    return estimate(without - with_dlsa, weights, pairs.labels, step=step)


def _per_cell(cells: np.ndarray) -> np.ndarray:
    """Cell scores that make a mean over cells of a sum over errors."""
    return cells / max(cells.sum(), 1)


def counts_in_bins(
    train_counts: np.ndarray, bin_of_class: np.ndarray
) -> list[dict[str, int]]:
    """Largest and smallest number of training images of a class in each bin."""
    bins = [train_counts[bin_of_class == bin] for bin in np.unique(bin_of_class)]
    return [{"largest": int(b.max()), "smallest": int(b.min())} for b in bins]
