"""What DLSA would need: other settings than the published ones, chosen on validation.

Where DLSA loses against the head that it starts from, two questions are left: at which
step of the cascade the loss arises (a ladder from the head to DLSA, one step a rung),
and whether other settings win it back (one factor at a time, then a greedy search). The
search is told validation accuracies and nothing else.

Implements: not in the paper.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replication.cascade import (
    Level,
    aided_inputs,
    cluster_frequencies,
    drawn_terms,
)
from replication.classifiers.fitting import Problem, Watched, fit_classifier
from replication.classifiers.heads import AnyTerm, Rows, TableTerm, Term, predict
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
)
from replication.samples.features import Samples
from replication.samples.metrics import ACCURACIES, accuracy_weights
from replication.sections.sigma.experiment import distance_reading, squared_reading
from replication.statistics.comparison import interval_record
from replication.statistics.intervals import estimate
from replication.statistics.verdicts import judge_claim

DECIDED = ("val", "test")
# Factors that a fitted filter serves every value of, in the order of the search.
CLASSIFIERS = ("lr", "refitted", "drawn", "z", "frequencies", "own_prior")
ON_FITTED = ("lr", "depth", *CLASSIFIERS[1:])
# Factors each value of which needs filters of its own.
LAMBDAS = ("lambda_mle", "lambda_bal", "lambda_pure")
FILTERS = ("sigma", "num_clusters", "weight_exponent", *LAMBDAS, "leaving_share")
FACTORS = (*ON_FITTED, *FILTERS)


@dataclass(frozen=True)
class Setting:
    """A cascade, as far as the search and the ladder change it.

    Fields: `trained`: False leaves every term as it starts. `lr` of the classifiers.
    `refitted`: first terms start from the head once refitted with Balanced Softmax,
    otherwise from the head as it is. `drawn`: the other terms start as drawn, otherwise
    at zero. `z`, `frequencies`: whether cluster-aided classifiers are given them.
    `own_prior`: Balanced Softmax's prior counts the samples that a classifier is fitted
    to, otherwise all. `depth`: filters chained; 0: no split, one classifier. The others
    as in `FilterSettings` and `CascadeSettings`.
    """

    lr: float
    depth: int
    leaving_share: float
    sigma: float
    num_clusters: int
    weight_exponent: float
    lambda_mle: float
    lambda_bal: float
    lambda_pure: float
    trained: bool = True
    refitted: bool = False
    drawn: bool = True
    z: bool = True
    frequencies: bool = True
    own_prior: bool = True


@dataclass(frozen=True)
class Fit:
    """The filters that a setting needs: settings to fit them with, and how many."""

    filter: FilterSettings
    cascade: CascadeSettings

    def serves(self, other: "Fit") -> bool:
        """Whether its first filters are all that the other one asks for."""
        share = self.cascade.leaving_share == other.cascade.leaving_share
        return (
            self.filter == other.filter
            and share
            and self.cascade.depth >= other.cascade.depth
        )


@dataclass(frozen=True)
class Tried:
    """One setting under one seed.

    Fields: `predictions`: val and test -> (N,); `part`: (N_test,) which classifier
    decided, from 0, the last being the plain one; `notes` of each classifier, none
    where its filters could not be fitted.
    """

    predictions: Mapping[str, np.ndarray]
    part: np.ndarray
    notes: Sequence[Mapping[str, Any]]

    @property
    def refused(self) -> bool:
        """Whether its filters could not be fitted, so that it decides no sample."""
        return not self.notes


Record = dict[str, Any]
Results = Mapping[Setting, Mapping[int, Tried]]
Score = Callable[[Sequence[Setting]], Mapping[Setting, float]]


# ---- Settings ---------------------------------------------------------------------


def setting_in_use(
    filter_settings: FilterSettings,
    cascade: CascadeSettings,
    classifier: ClassifierSettings,
) -> Setting:
    """The cascade as the other tables fit it: the published one, unless overridden."""
    names = ("sigma", "num_clusters", "weight_exponent", *LAMBDAS)
    return Setting(
        lr=classifier.lr,
        depth=cascade.depth,
        leaving_share=cascade.leaving_share,
        **{name: getattr(filter_settings, name) for name in names},
    )


def fit_of(setting: Setting, filter_settings: FilterSettings) -> Fit:
    """The filters of a setting.

    Args:
        filter_settings: gives what the search does not change.
    """
    names = ("sigma", "num_clusters", "weight_exponent", *LAMBDAS)
    changed = {name: getattr(setting, name) for name in names}
    return Fit(
        filter_settings.model_copy(update=changed),
        CascadeSettings(depth=setting.depth, leaving_share=setting.leaving_share),
    )


def alternatives(
    base: Setting, grid: DiagnoseSettings, dimensions: int
) -> dict[str, list[Any]]:
    """Values of each factor beside that of the base, in the order of FACTORS.

    Implements: the learning rate of the heads, the start of the second terms, what they
    are given, the prior, the share that leaves, depth, sigma at the D at hand (both
    readings of "three-sigma"), K, the weights' exponent, a loss left out.

    Args:
        grid: what the settings name.
        dimensions: D of the features.
    """
    readings = (squared_reading(dimensions), distance_reading(dimensions))
    sigmas = {float(f"{sigma:.6g}") for sigma in (*readings, *grid.sigmas)}
    tried: dict[str, Sequence[Any]] = {
        "lr": [float(f"{base.lr * times:.6g}") for times in grid.lr_factors],
        "depth": grid.depths,
        "sigma": sorted(sigmas),
        "num_clusters": grid.num_clusters,
        "weight_exponent": grid.weight_exponents,
        "leaving_share": grid.leaving_shares,
        **{name: [0.0] for name in grid.without},
        **{name: [not getattr(base, name)] for name in CLASSIFIERS[1:]},
    }
    return {
        factor: [one for one in tried.get(factor, ()) if one != getattr(base, factor)]
        for factor in FACTORS
    }


def one_at_a_time(
    base: Setting, others: Mapping[str, Sequence[Any]]
) -> list[tuple[str, Setting]]:
    """Each factor at each of its other values, all else as in the base."""
    return [
        (factor, replace(base, **{factor: value}))
        for factor, values in others.items()
        for value in values
    ]


def without_split(
    base: Setting, others: Mapping[str, Sequence[Any]]
) -> dict[str, list[Setting]]:
    """What the cascade must be held against: one linear head, and no split.

    Implements: not in the paper: where a head gains from being fitted longer or faster,
    the first terms of DLSA do so too, and that gain is not the cascade's. So the plain
    head gets the same search.

    Returns:
        `head` as it is; `refitted` as the stage `heads` does; `plain`: fitted as the
        cascade's classifiers are, from either, at each of their learning rates.
    """
    bare = ladder(base)["retrained"]
    untrained = replace(bare, trained=False)
    return {
        "head": [untrained],
        "refitted": [replace(untrained, refitted=True)],
        "plain": [
            replace(bare, lr=lr, refitted=refitted)
            for refitted in (False, True)
            for lr in (base.lr, *others["lr"])
        ],
    }


# The steps of the ladder, from the head to DLSA.
RUNGS = (
    "head",
    "split",
    "retrained",
    "parts",
    "own_prior",
    "z",
    "frequencies",
    "drawn",
)


def ladder(setting: Setting) -> dict[str, Setting]:
    """From the head to DLSA, a step a rung.

    Implements: not in the paper. `head` as it is; `split`, the same head on every part,
    which must change nothing; `retrained` on all samples, without a split; `parts`, one
    for each part, the prior still that of all samples; `own_prior`, that of each part;
    then `z` and `frequencies`, from zero; then all of it as `drawn`, which is DLSA. Off
    the ladder, `untrained`: DLSA before its first step, so that what drawing the second
    terms does to the head stands alone.

    Args:
        setting: whose learning rate, depth and filters are taken.

    Returns:
        A setting for each of RUNGS in turn, and for `untrained`.
    """
    bare = replace(setting, z=False, frequencies=False, drawn=False, own_prior=False)
    whole = replace(setting, z=True, frequencies=True, drawn=True, own_prior=True)
    return {
        "head": replace(bare, depth=0, trained=False),
        "split": replace(bare, trained=False),
        "retrained": replace(bare, depth=0),
        "parts": bare,
        "own_prior": replace(bare, own_prior=True),
        "z": replace(bare, own_prior=True, z=True),
        "frequencies": replace(whole, drawn=False),
        "drawn": whole,
        "untrained": replace(whole, trained=False),
    }


# ---- One setting, one seed --------------------------------------------------------


def decide_as(
    setting: Setting,
    levels: Sequence[Level],
    splits: Mapping[str, Samples],
    num_classes: int,
    head: Term,
    classifier: ClassifierSettings,
    seed: int,
) -> Tried:
    """Fit the classifiers as a setting says; decide validation and test samples.

    Implements: not in the paper: protocol `paper` with single parts exchanged; with the
    published ones it is `cascade.decide`, number by number.

    Args:
        levels: at least `setting.depth` of them; fewer are used where it says so.
        head: that every first term starts from.
        classifier: gives what the search does not change.
        seed: of the second terms and the order of samples.
    """
    changed = classifier.model_copy(update={"lr": setting.lr})
    everyone = splits["train"].labels.bincount(minlength=num_classes)
    predicted = {split: torch.full_like(splits[split].labels, -1) for split in DECIDED}
    part = torch.full_like(splits["test"].labels, -1)
    notes = []
    groups = _groups(setting, levels[: setting.depth], splits, num_classes, seed)
    for number, (rows, inputs, own_seed) in enumerate(groups):
        labels = {split: splits[split].labels[rows[split]] for split in splits}
        terms = _starting_terms(setting, inputs["train"], head, own_seed)
        epoch = 0
        if setting.trained:
            own = labels["train"].bincount(minlength=num_classes)
            problem = Problem(
                terms,
                inputs["train"],
                labels["train"],
                own if setting.own_prior else everyone,
                Watched(inputs["val"], labels["val"]),
                own_seed,
            )
            fitted = fit_classifier(problem, changed)
            terms, epoch = fitted.terms, fitted.epoch
        for split in DECIDED:
            everything = torch.arange(len(rows[split]), device=rows[split].device)
            predicted[split][rows[split]] = predict(terms, inputs[split], everything)
        part[rows["test"]] = number
        notes.append(
            {
                "samples": {split: len(some) for split, some in rows.items()},
                "epoch": epoch,
                "moved": _moved(head, terms[0]),
            }
        )
    return Tried(
        {
            split: found.cpu().numpy().astype(np.int32)
            for split, found in predicted.items()
        },
        part.cpu().numpy().astype(np.int32),
        notes,
    )


def undecided(splits: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    """Predictions and parts of a setting whose filters could not be fitted: all -1.

    It has every sample wrong, so that no search will choose it.
    """
    found = {
        split: np.full(len(splits[split].labels), -1, dtype=np.int32)
        for split in DECIDED
    }
    return found | {"part": np.full(len(found["test"]), -1, dtype=np.int32)}


def _groups(
    setting: Setting,
    levels: Sequence[Level],
    splits: Mapping[str, Samples],
    num_classes: int,
    seed: int,
) -> Iterator[tuple[dict[str, Tensor], dict[str, list[Rows]], int]]:
    """For each classifier: its samples, its inputs and its seed; the plain one last."""
    for depth, level in enumerate(levels, start=1):
        rows = {split: level.leaving(split) for split in splits}
        table = cluster_frequencies(level, splits["train"], num_classes, "paper")
        inputs = {}
        for split, some in rows.items():
            x, z, frequencies = aided_inputs(
                level, splits[split], some, split, table, "paper"
            )
            inputs[split] = [x]
            inputs[split] += [z] if setting.z else []
            inputs[split] += [frequencies] if setting.frequencies else []
        yield rows, inputs, seed * 1000 + depth
    rows = {
        split: levels[-1].staying(split)
        if levels
        else torch.arange(len(part.labels), device=part.labels.device)
        for split, part in splits.items()
    }
    inputs = {split: [Rows(splits[split].features, rows[split])] for split in splits}
    yield rows, inputs, seed * 1000


def _starting_terms(
    setting: Setting, inputs: list[Rows], head: Term, seed: int
) -> list[AnyTerm]:
    generator = torch.Generator().manual_seed(seed)
    others = drawn_terms(inputs[1:], len(head.weight), generator, head)
    if not setting.drawn:
        for term in others:
            if isinstance(term, TableTerm):
                term.logits.zero_()
                continue
            term.weight.zero_()
            if term.bias is not None:
                term.bias.zero_()
    return [head.clone(), *others]


def _moved(head: Term, term: AnyTerm) -> float:
    """How far a first term went, relative to where it started: |W - W0| / |W0|."""
    assert isinstance(term, Term)
    return ((term.weight - head.weight).norm() / head.weight.norm()).item()


# ---- The search -------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One change that the search kept: which factor, from and to what, and its worth.

    Fields: `before`, `after`: validation Overall, fractions.
    """

    factor: str
    old: Any
    new: Any
    before: float
    after: float


def search(
    base: Setting, others: Mapping[str, Sequence[Any]], score: Score
) -> tuple[Setting, list[Step]]:
    """A greedy search from the base upwards, on validation accuracies alone.

    Implements: not in the paper. First what needs no other filters, one factor after
    another, the one that is worth most alone first, until nothing helps; then each
    factor of the filters once, with the classifiers so found, and from the best one
    down each is added to the others if that helps; then the classifiers once more.

    Args:
        others: factor -> its values beside the base's.
        score: validation Overall of settings; of a tie the earlier one is kept.

    Returns:
        The setting found, and each step to it.
    """
    values = {factor: [getattr(base, factor), *some] for factor, some in others.items()}
    alone = score([base, *(setting for _, setting in one_at_a_time(base, others))])
    worth = {
        factor: max(alone[replace(base, **{factor: value})] for value in values[factor])
        for factor in ON_FITTED
    }
    order = sorted(ON_FITTED, key=lambda factor: -worth[factor])
    current, steps = _climb(base, values, order, score)
    current, more = _combine(current, values, FILTERS, score)
    steps += more
    if more:
        classifiers = [factor for factor in order if factor in CLASSIFIERS]
        current, more = _climb(current, values, classifiers, score)
        steps += more
    return current, steps


def _climb(
    current: Setting,
    values: Mapping[str, Sequence[Any]],
    factors: Sequence[str],
    score: Score,
) -> tuple[Setting, list[Step]]:
    """One factor after another at its best value, until a whole pass changes nothing.

    Every step is a gain, so that no setting comes twice and it ends.
    """
    steps: list[Step] = []
    changed = True
    while changed:
        changed = False
        for factor in factors:
            best, step = _best_of(current, factor, values[factor], score)
            if step is not None:
                current, changed = best, True
                steps.append(step)
    return current, steps


def _combine(
    current: Setting,
    values: Mapping[str, Sequence[Any]],
    factors: Sequence[str],
    score: Score,
) -> tuple[Setting, list[Step]]:
    """The best value of each factor alone; those that gain, one onto the other."""
    neighbours = [
        replace(current, **{factor: value})
        for factor in factors
        for value in values[factor]
    ]
    score(neighbours)  # all at once, for they do not need one another
    alone = [
        step
        for factor in factors
        if (step := _best_of(current, factor, values[factor], score)[1])
    ]
    steps = []
    for one in sorted(alone, key=lambda step: -step.after):
        best, step = _best_of(current, one.factor, [one.new], score)
        if step is not None:
            current = best
            steps.append(step)
    return current, steps


def _best_of(
    current: Setting, factor: str, values: Sequence[Any], score: Score
) -> tuple[Setting, Step | None]:
    """The best value of one factor, and the step there; None where it is the old one.

    Two inputs less leave nothing to draw, so that some settings differ in name alone;
    those tie, and the current one stays.
    """
    old = getattr(current, factor)
    candidates = [current] + [
        replace(current, **{factor: value}) for value in values if value != old
    ]
    scores = score(candidates)
    best = best_of({one: scores[one] for one in candidates})
    if best == current:
        return current, None
    step = Step(factor, old, getattr(best, factor), scores[current], scores[best])
    return best, step


def best_of(scores: Mapping[Setting, float]) -> Setting:
    """The setting with the highest validation accuracy; of a tie the first one."""
    return max(scores, key=lambda setting: scores[setting])


def validation_accuracy(seeds: Mapping[int, Tried], labels: np.ndarray) -> float:
    """Overall on the validation samples, mean over seeds; a fraction.

    Args:
        labels: (N_val,).
    """
    return float(np.mean([one.predictions["val"] == labels for one in seeds.values()]))


# ---- What was found ---------------------------------------------------------------


class Answers:
    """Right and wrong of every setting, and paired estimates of their differences.

    Args:
        results: setting -> seed -> what was found; the same seeds under each.
        labels: val and test -> (N,).
        train_counts: (C,) training samples of each class.
    """

    def __init__(
        self,
        results: Results,
        labels: Mapping[str, np.ndarray],
        train_counts: np.ndarray,
    ) -> None:
        self._results, self._labels = results, labels
        self._weights = {
            split: accuracy_weights(labels[split], train_counts) for split in DECIDED
        }

    def accuracy(self, setting: Setting, split: str, metric: str) -> Record:
        """An accuracy with its interval over seeds and samples."""
        return self._estimate(self._right(setting, split), split, metric)

    def difference(
        self, setting: Setting, other: Setting, split: str, metric: str
    ) -> Record:
        """Paired difference, setting minus other, with its interval."""
        gap = self._right(setting, split) - self._right(other, split)
        return self._estimate(gap, split, metric)

    def changed(self, setting: Setting, other: Setting) -> float:
        """Share of the test samples that two settings decide differently."""
        pair = zip(self._seeds(setting), self._seeds(other), strict=True)
        apart = [
            one.predictions["test"] != two.predictions["test"] for one, two in pair
        ]
        return float(np.mean(apart))

    def refused(self, setting: Setting) -> float:
        """Share of the seeds under which the setting's filters could not be fitted."""
        return float(np.mean([one.refused for one in self._seeds(setting)]))

    def moved(self, setting: Setting) -> float:
        """How far the first terms went, relative; mean over classifiers and seeds."""
        every = [note["moved"] for one in self._seeds(setting) for note in one.notes]
        return float(np.mean(every))

    def contributions(self, setting: Setting, other: Setting) -> list[Record]:
        """Where a setting wins or loses against another: a record a classifier.

        Returns:
            For each classifier of the first: `share` of the test samples that it
            decides; `first` and `second`, the share of those that each setting gets
            right; and how much of the difference in test Overall arises there, with its
            interval. These add up to the difference, but for seeds whose filters could
            not be fitted: there no classifier decides.
        """
        mine, theirs = (self._right(one, "test") for one in (setting, other))
        parts = np.stack([one.part for one in self._seeds(setting)])
        found = []
        for number in range(max(len(one.notes) for one in self._seeds(setting))):
            here = parts == number
            found.append(
                {
                    "share": float(here.mean()),
                    "first": _share(mine, here),
                    "second": _share(theirs, here),
                    **self._estimate((mine - theirs) * here, "test", "overall"),
                }
            )
        return found

    def _seeds(self, setting: Setting) -> list[Tried]:
        return list(self._results[setting].values())

    def _right(self, setting: Setting, split: str) -> np.ndarray:
        """(S, N) 1 where right, as whole numbers."""
        found = [one.predictions[split] for one in self._seeds(setting)]
        return (np.stack(found) == self._labels[split]).astype(np.int8)

    def _estimate(self, scores: np.ndarray, split: str, metric: str) -> Record:
        weights = self._weights[split][metric]
        return interval_record(estimate(scores, weights, self._labels[split]))


def _share(right: np.ndarray, here: np.ndarray) -> float:
    return float(right[here].mean()) if here.any() else float("nan")


def ladder_records(answers: Answers, rungs: Mapping[str, Setting]) -> list[Record]:
    """A record a rung: accuracy, the step from the rung before, that from the head.

    Returns:
        For each rung: `name`; `accuracy`, `step`, `from_head`: val and test -> Overall
        with its interval (`step` is None on the first one and off the ladder);
        `changed`: share of test samples that it decides otherwise than the head;
        `moved`: how far the first terms went.
    """
    records = []
    for name, rung in rungs.items():
        place = RUNGS.index(name) if name in RUNGS else 0
        steps = {"from_head": rungs["head"]}
        steps |= {"step": rungs[RUNGS[place - 1]]} if place else {}
        differences = {
            kind: {
                split: answers.difference(rung, before, split, "overall")
                for split in DECIDED
            }
            for kind, before in steps.items()
        }
        records.append(
            {
                "name": name,
                "accuracy": {
                    split: answers.accuracy(rung, split, "overall") for split in DECIDED
                },
                "step": None,
                **differences,
                "changed": answers.changed(rung, rungs["head"]),
                "moved": answers.moved(rung),
            }
        )
    return records


def factor_records(
    answers: Answers, base: Setting, singles: Sequence[tuple[str, Setting]]
) -> list[Record]:
    """A record a changed factor: its value, the base's, and what the change is worth.

    Returns:
        For each: factor, value, base; `refused`: share of the seeds whose filters could
        not be fitted with it; `gain`: val and test -> Overall with it minus
        Overall of the base, paired, with its interval.
    """
    return [
        {
            "factor": factor,
            "value": getattr(setting, factor),
            "base": getattr(base, factor),
            "refused": answers.refused(setting),
            "gain": {
                split: answers.difference(setting, base, split, "overall")
                for split in DECIDED
            },
        }
        for factor, setting in singles
    ]


# Which is held against which.
PAIRS = (
    ("chosen", "head"),
    ("published", "head"),
    ("chosen", "plain"),
    ("chosen", "published"),
    ("chosen", "refitted"),
    ("plain", "head"),
    ("refitted", "head"),
)


def compared(
    answers: Answers, named: Mapping[str, Setting]
) -> tuple[list[Record], list[Record]]:
    """Named settings with their accuracies, and PAIRS of them with differences.

    Returns:
        A record a setting: name, setting, `val` (Overall) and `test` (metric ->), with
        intervals; `refused`: share of the seeds whose filters could not be fitted,
        under which every sample counts as wrong. A record a pair: first, second,
        `test`: metric -> first minus second, paired, and the verdict on Overall.
    """
    methods = [
        {
            "name": name,
            "setting": asdict(setting),
            "refused": answers.refused(setting),
            "val": answers.accuracy(setting, "val", "overall"),
            "test": {
                metric: answers.accuracy(setting, "test", metric)
                for metric in ACCURACIES
            },
        }
        for name, setting in named.items()
    ]
    differences = []
    for first, second in PAIRS:
        gaps = {
            metric: answers.difference(named[first], named[second], "test", metric)
            for metric in ACCURACIES
        }
        overall = gaps["overall"]
        differences.append(
            {
                "first": first,
                "second": second,
                "test": gaps,
                "verdict": judge_claim(overall["low"], overall["high"]),
            }
        )
    return methods, differences
