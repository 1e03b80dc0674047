"""Other settings than the published ones, and a search among them on validation.

One factor at a time, then a greedy search; a ladder from the head to DLSA, one step a
rung. The search is told validation accuracies and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
)
from replication.flow_filter.centres import distance_reading, squared_reading

# Factors that a fitted filter serves every value of, in the order of the search.
CLASSIFIERS = ("lr", "refitted", "drawn", "z", "frequencies", "own_prior")
ON_FITTED = ("lr", "depth", *CLASSIFIERS[1:])
# Factors each value of which needs filters of its own.
LAMBDAS = ("lambda_mle", "lambda_bal", "lambda_pure")
FILTERS = ("sigma", "num_clusters", "weight_exponent", *LAMBDAS, "leaving_share")
FACTORS = {
    "lr": "learning rate of the classifiers",
    "depth": "Flow Filters",
    "refitted": "first terms start from",
    "drawn": "second terms start",
    "z": "[z]",
    "frequencies": "[class frequencies]",
    "own_prior": "prior of",
    "sigma": "σ",
    "num_clusters": "K",
    "weight_exponent": "q",
    "lambda_mle": "λ_mle",
    "lambda_bal": "λ_bal",
    "lambda_pure": "λ_pure",
    "leaving_share": "share that leaves",
}
_VALUES = {
    "refitted": ("the head as it is", "the refitted head"),
    "drawn": ("at zero", "as drawn"),
    "z": ("not given", "given"),
    "frequencies": ("not given", "given"),
    "own_prior": ("all samples", "the part's samples"),
}
# The steps of the ladder, from the head to DLSA.
RUNGS = {
    "head": "the head",
    "split": "split, head unchanged",
    "retrained": "no split, head retrained",
    "parts": "split, a head retrained on each part",
    "own_prior": "+ prior of the part alone",
    "z": "+ [z], from zero",
    "frequencies": "+ [class frequencies], from zero",
    "drawn": "+ second terms drawn: DLSA",
}


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


Score = Callable[[Sequence[Setting]], Mapping[Setting, float]]


def value_in_words(factor: str, value: Any) -> str:
    """A factor's value as a reader knows it."""
    if factor in _VALUES:
        return _VALUES[factor][bool(value)]
    return f"{value:.3g}" if factor == "sigma" else f"{value:g}"


def change_in_words(factor: str, new: Any, old: Any) -> str:
    """A factor with its new value and the old one."""
    values = (value_in_words(factor, value) for value in (new, old))
    return f"{FACTORS[factor]} {' instead of '.join(values)}"


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

    Sigma is tried under both readings of "three-sigma" at the D at hand too.

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
        factor: [
            value for value in tried.get(factor, ()) if value != getattr(base, factor)
        ]
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
    """What the cascade must be compared with: one linear head, and no split.

    Where a head gains from being fitted longer or faster, the first terms of DLSA do so
    too, and that gain is not the cascade's. So the plain head gets the same search.

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


def ladder(setting: Setting) -> dict[str, Setting]:
    """From the head to DLSA, a step a rung.

    `head` as it is; `split`, the same head on every part,
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


# ---- The search -------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A change that the search made: which factor, from and to what, and its worth.

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

    First what needs no other filters, one factor after
    another, the one that is worth most alone first, until nothing helps; then each
    factor of the filters once, with the classifiers so found, and from the best one
    down each is added to the others if that helps; then the classifiers once more.

    Args:
        others: factor -> its values beside the base's.
        score: validation Overall of settings; of a tie the earlier setting stays.

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
    for gain in sorted(alone, key=lambda step: -step.after):
        best, step = _best_of(current, gain.factor, [gain.new], score)
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
    best = best_of({setting: scores[setting] for setting in candidates})
    if best == current:
        return current, None
    step = Step(factor, old, getattr(best, factor), scores[current], scores[best])
    return best, step


def best_of(scores: Mapping[Setting, float]) -> Setting:
    """The setting with the highest validation accuracy; of a tie the first one."""
    return max(scores, key=lambda setting: scores[setting])


# ---- Everything that is chosen ----------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What the search came to: settings, before their test samples are looked at.

    Fields: `named`: what a reader compares; `ladders`: learning rate -> rungs;
    `singles`: one factor changed in each; `steps` of the search; `cascades`, `plain`:
    how many settings of the cascade, and of a plain head, were tried.
    """

    named: Mapping[str, Setting]
    ladders: Mapping[float, Mapping[str, Setting]]
    singles: Sequence[tuple[str, Setting]]
    steps: Sequence[Step]
    cascades: int
    plain: int

    def all_settings(self) -> dict[str, Setting]:
        """Every setting that is measured under every seed, by the name of its file."""
        rungs = {
            f"ladder-{lr:g}-{name}": rung
            for lr, some in self.ladders.items()
            for name, rung in some.items()
        }
        return {**self.named, **rungs}


def choose(base: Setting, others: Mapping[str, Sequence[Any]], score: Score) -> Chosen:
    """Choose on validation accuracies alone: DLSA's settings, and a plain head's.

    Args:
        others: factor -> its values beside the base's.
        score: validation Overall of settings, asked once for each.
    """
    known: dict[Setting, float] = {}

    def remembered(settings: Sequence[Setting]) -> dict[Setting, float]:
        unknown = [some for some in dict.fromkeys(settings) if some not in known]
        known.update(score(unknown))
        return {setting: known[setting] for setting in settings}

    best, steps = search(base, others, remembered)
    cascades = len(known)
    bare = without_split(base, others)
    named = {
        "head": bare["head"][0],
        "refitted": bare["refitted"][0],
        "plain": best_of(remembered(bare["plain"])),
        "published": base,
        "chosen": best,
    }
    singles = one_at_a_time(base, others)
    # At a learning rate that moves no classifier a ladder shows little: one more.
    rates = [base, *(setting for factor, setting in singles if factor == "lr")]
    fast = best_of(remembered(rates))
    ladders = {setting.lr: ladder(setting) for setting in (base, fast)}
    return Chosen(named, ladders, singles, steps, cascades, len(known) - cascades)
