"""Other settings than the published ones, and a search among them on validation.

One factor at a time, then a greedy search. It is told validation accuracies and nothing
else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
)
from replication.flow_filter.centres import distance_reading, squared_reading

# Factors that a fitted filter serves every value of, in the order of the search.
SWITCHES = ("refitted", "drawn", "z", "frequencies", "own_prior")
ON_FITTED = ("lr", "depth", *SWITCHES)
# Factors each value of which needs filters of its own.
_OF_A_FILTER = (
    *("sigma", "num_clusters", "weight_exponent"),
    *("lambda_mle", "lambda_bal", "lambda_pure"),
)
FILTERS = (*_OF_A_FILTER, "leaving_share", "clean")
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
    "clean": "training features",
}
_VALUES = {
    "refitted": ("the head as it is", "the refitted head"),
    "drawn": ("at zero", "as drawn"),
    "z": ("not given", "given"),
    "frequencies": ("not given", "given"),
    "own_prior": ("all samples", "the part's samples"),
    "clean": ("augmented", "clean"),
}


@dataclass(frozen=True)
class Setting:
    """A cascade, as far as the search changes it; without filters, a plain head.

    Fields: `depth`: filters chained; 0: no split, one classifier. `lr` of the
    classifiers. `trained`: False leaves every term as it starts. `refitted`: first
    terms start from the head once refitted with Balanced Softmax. `drawn`: the other
    terms start as drawn, otherwise at zero. `own_prior`: the prior counts the samples
    that a classifier is fitted to, otherwise all. `clean`: fitted to features without
    augmentation where the others are augmented. Others as in `FilterSettings`.
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
    clean: bool = False


@dataclass(frozen=True)
class Fit:
    """The filters that a setting needs: to what features, how, and how many."""

    filter: FilterSettings
    cascade: CascadeSettings
    clean: bool

    def serves(self, other: "Fit") -> bool:
        """Whether its first filters are all that the other one asks for."""
        deeper = replace(other, cascade=self.cascade)
        share = self.cascade.leaving_share == other.cascade.leaving_share
        return deeper == self and share and self.cascade.depth >= other.cascade.depth


Score = Callable[[Sequence[Setting]], Mapping[Setting, float]]


def value_in_words(factor: str, value: Any) -> str:
    """A factor's value as a reader knows it."""
    if factor in _VALUES:
        return _VALUES[factor][bool(value)]
    return f"{value:.3g}" if factor == "sigma" else f"{value:g}"


def change_in_words(factor: str, new: Any, base: Setting) -> str:
    """A factor with its new value and that of the base."""
    values = (value_in_words(factor, some) for some in (new, getattr(base, factor)))
    return f"{FACTORS[factor]} {' instead of '.join(values)}"


def setting_in_use(
    filter_settings: FilterSettings,
    cascade: CascadeSettings,
    classifier: ClassifierSettings,
) -> Setting:
    """The cascade as the other tables fit it: the published one, unless overridden."""
    return Setting(
        lr=classifier.lr,
        depth=cascade.depth,
        leaving_share=cascade.leaving_share,
        drawn=classifier.second_terms == "drawn",
        **{name: getattr(filter_settings, name) for name in _OF_A_FILTER},
    )


def fit_of(setting: Setting, filter_settings: FilterSettings) -> Fit:
    """The filters of a setting; what the search does not change is as given."""
    changed = {name: getattr(setting, name) for name in _OF_A_FILTER}
    return Fit(
        filter_settings.model_copy(update=changed),
        CascadeSettings(depth=setting.depth, leaving_share=setting.leaving_share),
        setting.clean,
    )


def alternatives(
    base: Setting, grid: DiagnoseSettings, dimensions: int, augmented: bool
) -> dict[str, list[Any]]:
    """Values of each factor beside that of the base, in the order of FACTORS.

    Sigma is tried under both readings of "three-sigma" at the D at hand too; clean
    features where those in use are `augmented`.
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
        "clean": [True] if augmented else [],
        **{name: [0.0] for name in grid.without},
        **{name: [not getattr(base, name)] for name in SWITCHES},
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


def plain_head(base: Setting) -> Setting:
    """One linear head, and no split."""
    return replace(
        base, depth=0, z=False, frequencies=False, drawn=False, own_prior=False
    )


def plain_heads(
    base: Setting, rates: Sequence[float], clean: Sequence[bool]
) -> list[Setting]:
    """What the cascade must be compared with.

    Where a head gains from being fitted longer or faster, the first terms of DLSA do so
    too, and that gain is not the cascade's. So the plain head gets the same search: it
    is fitted as the cascade's classifiers are, from either start, at each rate, to the
    same features.
    """
    return [
        replace(plain_head(base), lr=lr, refitted=refitted, clean=some)
        for some in clean
        for refitted in (False, True)
        for lr in rates
    ]


# ---- The search -------------------------------------------------------------------


def search(
    base: Setting, others: Mapping[str, Sequence[Any]], score: Score
) -> list[Setting]:
    """A greedy search from the base upwards, on validation accuracies alone.

    First what needs no other filters, one factor after another, the one that is worth
    most alone first, until nothing helps; then each factor of the filters once, with
    the classifiers so found, and from the best one down each is added to the others if
    that helps; then the classifiers once more.

    Args:
        others: factor -> its values beside the base's.
        score: validation Overall of settings; of a tie the earlier setting stays.

    Returns:
        The way from the base to the setting found, one changed factor a step.
    """
    values = {factor: [getattr(base, factor), *some] for factor, some in others.items()}
    alone = score([base, *(setting for _, setting in one_at_a_time(base, others))])
    worth = {
        factor: max(alone[replace(base, **{factor: value})] for value in values[factor])
        for factor in ON_FITTED
    }
    order = sorted(ON_FITTED, key=lambda factor: -worth[factor])
    path = [base, *_climb(base, values, order, score)]
    filters = _combine(path[-1], values, score)
    path += filters
    if filters:
        order.remove("depth")  # it needs filters that were not fitted yet
        path += _climb(path[-1], values, order, score)
    return path


def _climb(
    current: Setting,
    values: Mapping[str, Sequence[Any]],
    factors: Sequence[str],
    score: Score,
) -> list[Setting]:
    """One factor after another at its best value, until a whole pass changes nothing.

    Every step is a gain, so that no setting comes twice and it ends.
    """
    path = [current]
    changed = True
    while changed:
        changed = False
        for factor in factors:
            best = _best_value(path[-1], factor, values[factor], score)
            if best != path[-1]:
                path.append(best)
                changed = True
    return path[1:]


def _combine(
    current: Setting, values: Mapping[str, Sequence[Any]], score: Score
) -> list[Setting]:
    """The best value of each factor of the filters; those that gain, one by one."""
    neighbours = [
        replace(current, **{factor: value})
        for factor in FILTERS
        for value in values[factor]
    ]
    scores = score(neighbours)  # all at once, for they do not need one another
    best = {f: _best_value(current, f, values[f], score) for f in FILTERS}
    gains = [factor for factor in FILTERS if best[factor] != current]
    path = [current]
    for factor in sorted(gains, key=lambda factor: -scores[best[factor]]):
        value = getattr(best[factor], factor)
        together = _best_value(path[-1], factor, [value], score)
        if together != path[-1]:
            path.append(together)
    return path[1:]


def _best_value(
    current: Setting, factor: str, values: Sequence[Any], score: Score
) -> Setting:
    """The setting with the best value of one factor.

    Two inputs less leave nothing to draw, so that some settings differ in name alone;
    those tie, and the current one stays.
    """
    others = [value for value in values if value != getattr(current, factor)]
    return best_of(
        score([current, *(replace(current, **{factor: value}) for value in others)])
    )


def best_of(scores: Mapping[Setting, float]) -> Setting:
    """The setting with the highest validation accuracy; of a tie the first one."""
    return max(scores, key=lambda setting: scores[setting])


# ---- Everything that is chosen ----------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What the search came to: settings, before their test samples are looked at.

    Fields: `named`: what a reader compares, by the name of its file; `singles`: one
    factor changed in each; `steps` of the search: factor, its old and new value, and
    validation Overall before and after; `cascades`, `plain`: how many settings of the
    cascade, and of a plain head, were tried.
    """

    named: Mapping[str, Setting]
    singles: Sequence[tuple[str, Setting]]
    steps: Sequence[Mapping[str, Any]]
    cascades: int
    plain: int

    def by_features(self) -> dict[str, tuple[Setting, Setting]]:
        """Clean and augmented of what a reader compares; none where all are clean."""
        if not any(factor == "clean" for factor, _ in self.singles):
            return {}
        return {
            name: (
                replace(self.named[name], clean=True),
                replace(self.named[name], clean=False),
            )
            for name in ("refitted", "plain", "published")
        }


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

    path = search(base, others, remembered)
    cascades = len(known)
    rates, clean = ([getattr(base, f), *others[f]] for f in ("lr", "clean"))
    plain = best_of(remembered(plain_heads(base, rates, clean)))
    singles = one_at_a_time(base, others)
    head = replace(plain_head(base), trained=False)
    return Chosen(
        named={
            "head": head,
            "refitted": replace(head, refitted=True),
            "plain": plain,
            "published": base,
            "chosen": path[-1],
        },
        singles=singles,
        steps=[_step(*pair, known) for pair in pairwise(path)],
        cascades=cascades,
        plain=len(known) - cascades,
    )


def _step(
    before: Setting, after: Setting, known: Mapping[Setting, float]
) -> dict[str, Any]:
    """The change that the search made from one setting to the next."""
    old, new = asdict(before), asdict(after)
    (factor,) = (factor for factor in FACTORS if old[factor] != new[factor])
    return {
        "factor": factor,
        "old": old[factor],
        "new": new[factor],
        "before": known[before],
        "after": known[after],
    }
