"""The verdict rules, all of them, in one place.

Per claim: supported, contradicted, undecided, not run. Per number: reproduced;
consistent, imprecise; differs, claim holds; not reproduced; partial; not run.

A verdict on a claim rests on its own 95 % interval, as if it were the only one. Of
twenty claims without anything behind them one would then be decided by chance, so that
each also says whether its verdict *stands* where a family of claims is judged at once:
Holm's p-value below 5 %. Families: the tests of one page and benchmark, and those of
all pages; under protocol paper (or none), and under that of the released code. What the
clock alone can answer comes out a little otherwise each time, and is a family apart:
no other verdict hangs on it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

ClaimVerdict = Literal["supported", "contradicted", "undecided", "not run"]
NumberVerdict = Literal[
    "reproduced",
    "consistent, imprecise",
    "differs, claim holds",
    "not reproduced",
    "partial",
    "not run",
]

# What is said of a claim: fields of its record.
JUDGED = ("mean", "low", "high", "verdict", "p_value", "detectable")
_RISK = 0.05

# Equivalence margin of a published number, by metric, in fractions: fixed before any
# run. Of NMI a tenth of a point: print's two rows differ by no more than two.
MARGINS = {
    **dict.fromkeys(("overall", "many", "medium", "few", "mcc"), 0.005),
    "nmi": 0.001,
}
ROUNDING = 0.0005


# What `backbone_paco` may say of its weights for them to be PaCo's. Cached features are
# taken at their word.
_PACO_SOURCES = {
    "trained here",
    "imported from a checkpoint of PaCo",
    "none: features are imported",
}


def why_partial(
    table_benchmark: str,
    data: Mapping[str, Any],
    published: Mapping[str, Any],
    about: Mapping[str, Any],
) -> list[str]:
    """In what the conditions of a run differ from the paper's; empty where in nothing.

    Implements: not in the paper: a number is judged against print only where data,
    features and settings are the printed ones.

    Args:
        table_benchmark: the benchmark of the printed table.
        data: the summary that `prepare` wrote.
        published: of that benchmark: classes, test_per_class, and histogram: number of
            training images -> number of classes.
        about: facts of the artefacts behind the number: `source` of the features,
            `departures` from the recipe.

    Returns:
        Reasons, for a reader.
    """
    if data["stand_in"]:
        return ["the data is the stand-in"]
    if data["benchmark"] != table_benchmark:
        return ["the paper prints this table for another benchmark"]
    reasons = []
    counts = Counter(str(count) for count in data["class_counts"])
    if counts != Counter(published["histogram"]):
        reasons.append("the class counts are not the published ones")
    tested = published["classes"] * published["test_per_class"]
    if data["images"]["test"] != tested:
        reasons.append(
            f"the test set has {data['images']['test']} images, not {tested}"
        )
    if about["source"] not in _PACO_SOURCES:
        reasons.append(
            f"the paper's features come from PaCo, these are {about['source']}"
        )
    if about["departures"]:
        reasons.append(f"settings differ from print: {', '.join(about['departures'])}")
    return reasons


def why_other_features(about: Mapping[str, Any]) -> str | None:
    """Why cRT and LWS are on other features than they say; None where they are not.

    One checkpoint, or one folder of features, may serve every row; where it is PaCo's,
    cRT and LWS are not on the features that print has them on.

    Args:
        about: facts of cRT's and LWS's artefacts.
    """
    if about["source"] == "imported from a checkpoint of PaCo":
        return "their weights are PaCo's"
    if about["one_folder"]:
        return "their features are those of PaCo's row: one folder for both"
    return None


def judge_claim(low: float | None, high: float | None) -> ClaimVerdict:
    """Whether a difference that the paper says is positive is so.

    Args:
        low, high: of the 95 % interval of (claimed better - claimed worse); None or NaN
            where it was not run.
    """
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return "not run"
    if low > 0:
        return "supported"
    return "contradicted" if high < 0 else "undecided"


def joint_p_value(gaps: Sequence[tuple[float, float]]) -> float:
    """Of the claim that all of some differences are positive.

    Implements: not in the paper. All are shown to be positive by the weakest of them;
    that one is negative, by the strongest, times the number of differences among which
    it was found (Bonferroni).

    Args:
        gaps: mean and two-sided p-value of each.

    Returns:
        Two-sided p-value; NaN where a difference is not known.
    """
    means, values = np.array(gaps, dtype=float).reshape(-1, 2).T
    if np.isnan(values).any():
        return float("nan")
    if (means > 0).all():
        return float(values.max())
    return min(1.0, len(gaps) * float(values[means <= 0].min()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values as they count where all are judged at once (Holm, 1979).

    Args:
        p_values: None or NaN where there is none; such a test counts for nothing.
    """
    known = [
        (value, place)
        for place, value in enumerate(p_values)
        if value is not None and not np.isnan(value)
    ]
    found: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (value, place) in enumerate(sorted(known)):
        least = max(least, min(1.0, (len(known) - rank) * value))
        found[place] = least
    return found


def corrected(
    claims: Sequence[Mapping[str, Any]], name: str = "holm"
) -> list[dict[str, Any]]:
    """Claims of one family, each with its Holm p-value.

    Args:
        claims: records with `protocol` and perhaps `p_value` and `timed`; those of the
            released code's protocol are a family of their own, and those on time.
        name: of the field.
    """
    found = [dict(claim) for claim in claims]
    families = {_family(claim) for claim in found}
    for one in families:
        family = [claim for claim in found if _family(claim) == one]
        values = holm([claim.get("p_value") for claim in family])
        for claim, value in zip(family, values, strict=True):
            claim[name] = value
    return found


def _family(claim: Mapping[str, Any]) -> tuple[bool, bool]:
    return claim.get("protocol") == "released_code", bool(claim.get("timed"))


def stands(claim: Mapping[str, Any], name: str = "holm") -> bool | None:
    """Whether a verdict holds where its whole family is judged at once.

    Returns:
        None where nothing was decided, or where the test has no p-value: equations,
        and trends that are held against permutations.
    """
    if claim["verdict"] not in ("supported", "contradicted"):
        return None
    value = claim.get(name)
    return None if value is None else value < _RISK


def judge_number(
    published: float,
    per_seed: tuple[float, ...],
    claim: ClaimVerdict,
    same_conditions: bool,
    metric: str = "overall",
) -> NumberVerdict:
    """Whether a published number was found again.

    Implements: not in the paper: equivalence (two one-sided tests at 5 %) inside the
    metric's margin, whichever number print rounded; else the prediction interval for
    one published run given k of ours, t s sqrt(1 + 1/k) and the rounding of print.

    Args:
        published: fraction.
        per_seed: ours, fractions. Where all are the same to the last digit they are
            copies of one run (a head that no seed enters), and count as one.
        claim: verdict on the comparison that the number stands for.
        same_conditions: same data, backbone and budget as the paper; otherwise the
            number is `partial`, whatever it is.
        metric: whose margin it is.
    """
    values = np.array([value for value in per_seed if not np.isnan(value)])
    if len(values) == 0:
        return "not run"
    if not same_conditions:
        return "partial"
    if len(np.unique(values)) == 1:  # a single run: its prediction interval has no end
        return "consistent, imprecise"
    mean, seeds = values.mean(), len(values)
    spread = values.std(ddof=1)
    half = stats.t.ppf(0.95, seeds - 1) * spread / seeds**0.5
    if abs(mean - published) + half < MARGINS[metric] - ROUNDING:
        return "reproduced"
    reach = stats.t.ppf(0.975, seeds - 1) * spread * (1 + 1 / seeds) ** 0.5
    if abs(mean - published) <= reach + ROUNDING:
        return "consistent, imprecise"
    return "differs, claim holds" if claim == "supported" else "not reproduced"
