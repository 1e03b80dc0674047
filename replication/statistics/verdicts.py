"""The verdict rules, all of them, in one place.

Per claim: supported, contradicted, undecided, not run. Per printed number: undecided,
one network; partial; not run.

A verdict on a claim rests on its own 95 % interval, as if it were the only one. Of
twenty claims without anything behind them one would then be decided by chance. So every
verdict that a page shows is the one that is left where all tests of all pages are
judged at once, those of one grade of evidence and of one protocol (`validated` with
what has none; `as_released`): where Holm's p-value is 5 % or more it reads *undecided
after correction*, whatever the interval says. Equations have no p-value and keep
their verdicts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from replication.statistics.intervals import LEVEL, Estimate
from replication.statistics.results import Claim

ClaimVerdict = Literal[
    "supported", "contradicted", "undecided", "undecided after correction", "not run"
]
NumberVerdict = Literal["undecided, one network", "partial", "not run"]

RISK = 0.05
DECIDED = ("supported", "contradicted")
UNDECIDED_AFTER = "undecided after correction"
# What an artefact may say of its weights for them to be PaCo's. Cached features are
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
    """In what the conditions of a run differ from the paper's, for a reader.

    Args:
        table_benchmark: the benchmark of the printed table.
        data: the summary that `prepare` wrote.
        published: of that benchmark: classes, test_per_class, and histogram: number of
            training images -> number of classes.
        about: facts of the artefacts behind the number: `source` of PaCo's features,
            `departures` from the recipe, `doubts` about the input.
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
    return [*reasons, *about["doubts"]]


def why_other_features(about: Mapping[str, Any]) -> str | None:
    """Why cRT and LWS are not on the features that print has them on; None: they are.

    One checkpoint, or one folder of features, may serve every row.

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


def judge_absence(low: float, high: float, margin: float) -> ClaimVerdict:
    """Whether something is nothing, or as good as nothing.

    Supported where the whole interval is nearer to zero than the margin; contradicted
    where it is not, and leaves zero out.
    """
    if np.isnan(low) or np.isnan(high):
        return "not run"
    if -margin < low and high < margin:
        return "supported"
    return "contradicted" if low > 0 or high < 0 else "undecided"


def judged(gaps: Sequence[Estimate]) -> dict[str, Any]:
    """The claim that every one of some differences is positive, as fields of a Claim.

    Returns:
        Least mean and ends, all NaN where one is; verdict; `p_value`; `detectable`, the
        greatest. One of k differences would be below zero by chance k times as often:
        each upper end is that of an interval with 1 / k of the risk (Bonferroni). The
        least lower end needs no such care: all have to be above zero.
    """
    level = 1 - (1 - LEVEL) / max(len(gaps), 1)
    low = float(np.min([gap.low for gap in gaps]))
    high = float(np.min([gap.ends(level)[1] for gap in gaps]))
    return {
        "mean": float(np.min([gap.mean for gap in gaps])),
        "low": low,
        "high": high,
        "verdict": judge_claim(low, high),
        "p_value": joint_p_value([(gap.mean, gap.p_value) for gap in gaps]),
        "detectable": float(np.max([gap.detectable for gap in gaps])),
    }


def joint_p_value(gaps: Sequence[tuple[float, float]]) -> float:
    """Of the claim that all of some differences are positive.

    All are shown to be positive by the weakest of them; that one is negative, by the
    strongest, times the number of differences among which it was found (Bonferroni).

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
    values = np.array(p_values, dtype=float)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    left = len(order) - np.arange(len(order))
    values[order] = np.maximum.accumulate(np.minimum(1.0, left * values[order]))
    return [None if np.isnan(value) else value for value in values.tolist()]


def corrected(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The claims, in their order, with Holm's p-value and the verdict that it leaves.

    Args:
        claims: judged at once; each grade of evidence is a family of its own, and the
            released code's protocol in each. A test that two sections make, as Tables 1
            and 2 do of DLSA's gain, counts once.
    """
    families: dict[tuple[str, bool], dict[tuple[Any, ...], list[int]]] = {}
    for place, claim in enumerate(claims):
        tests = families.setdefault((claim.grade, claim.protocol == "as_released"), {})
        same = claim.id, claim.benchmark, claim.protocol, claim.p_value
        tests.setdefault(same, []).append(place)
    judged_at_once = list(claims)
    for tests in families.values():
        counted = holm([p_value for *_, p_value in tests])
        for places, value in zip(tests.values(), counted, strict=True):
            for place in places:
                verdict = after_holm(claims[place].verdict, value)
                said = {"holm": value, "verdict": verdict}
                judged_at_once[place] = replace(claims[place], **said)
    return tuple(judged_at_once)


def after_holm(verdict: str, p_value: float | None) -> str:
    """The verdict that Holm's p-value leaves of one by the interval alone."""
    undone = verdict in DECIDED and p_value is not None and p_value >= RISK
    return UNDECIDED_AFTER if undone else verdict


def judge_number(per_seed: Sequence[float], same_conditions: bool) -> NumberVerdict:
    """Whether a published number was found again, by the seeds of one trained network.

    One network says nothing of the spread between networks, which a published number
    has too: it can neither be called reproduced nor refuted.

    Args:
        per_seed: ours; NaN where nothing was run.
        same_conditions: same data, backbone and budget as the paper's; otherwise the
            number is `partial`, whatever it is.
    """
    if np.isnan(per_seed).all():
        return "not run"
    return "undecided, one network" if same_conditions else "partial"
