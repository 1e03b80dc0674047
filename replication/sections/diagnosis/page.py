"""The page of what DLSA would need: finding, ladder, factors, search."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from replication.reporting.figures import COLOURS, STYLE, svg_text
from replication.reporting.rendering import notice, origin, render
from replication.reporting.tables import (
    METRIC_NAMES,
    markdown_table,
    percent,
    points,
    with_interval,
)

PAPER_BENCHMARKS = ("imagenet_lt", "places_lt", "inat18")
METHODS = {
    "head": "Head",
    "refitted": "Head, refitted",
    "plain": "Plain classifier, chosen on validation",
    "published": "DLSA, published settings",
    "chosen": "DLSA, chosen on validation",
}
RUNGS = {
    "head": "the head",
    "split": "split, head unchanged",
    "retrained": "no split, head retrained",
    "parts": "split, a head retrained on each part",
    "own_prior": "+ prior of the part alone",
    "z": "+ [z], from zero",
    "frequencies": "+ [class frequencies], from zero",
    "drawn": "+ second terms drawn: DLSA",
    "untrained": "off the ladder: DLSA, nothing fitted",
}
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
_SPLITS = {"val": ("validation", "#999999", "s"), "test": ("test", "#0072B2", "o")}


def diagnosis_page(
    measured: Mapping[str, Any], title: str, figures_folder: str
) -> tuple[str, dict[str, str]]:
    """The page of the search on one benchmark.

    Args:
        measured: what the stage `diagnosis` wrote, with `runs`, the run records.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The page, and its figures by file name.
    """
    data, settings = measured["data"], measured["settings"]
    known = data["stand_in"] or data["benchmark"] in PAPER_BENCHMARKS
    page = render(
        "sections/diagnosis/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        stand_in=data["stand_in"],
        title=title,
        summary=summarise_diagnosis(measured),
        cascades=measured["tried"]["cascades"],
        plains=measured["tried"]["plain"],
        validation=data["images"]["val"],
        settings=settings,
        in_use="published settings",
        overridden=settings["overridden"],
        guessed=settings["guessed"],
        methods=methods_table(measured["methods"]),
        differences=differences_table(measured["differences"]),
        chosen=chosen_in_words(measured),
        ladders=[
            {"lr": f"{one['lr']:g}", "table": ladder_table(one["rungs"])}
            for one in measured["ladders"]
        ],
        parts=[
            {
                "title": f"{METHODS[one['first']]}, against {_lower(one['second'])}",
                "table": parts_table(one["parts"]),
            }
            for one in measured["parts"]
        ],
        factors=factors_table(measured["factors"]),
        steps=steps_table(measured["steps"]),
        figures=figures_folder,
        origin=origin(
            data["hash"],
            f"dvc repro diagnosis@{measured['benchmark']}",
            measured["runs"],
        ),
    )
    drawn = {
        "ladder.svg": ladder_figure(measured["ladders"]),
        "factors.svg": factors_figure(measured["factors"]),
    }
    return page, drawn


# ---- The finding in words ---------------------------------------------------------


def summarise_diagnosis(measured: Mapping[str, Any]) -> str:
    """What was found, made from the records."""
    on = " on the stand-in" if measured["data"]["stand_in"] else ""
    return " ".join(
        [
            _against_the_head(measured, on),
            _the_published(measured),
            _against_the_plain(measured),
            _factor_that_matters(measured["factors"]),
            _why(measured["ladders"]),
        ]
    )


def _against_the_head(measured: Mapping[str, Any], on: str) -> str:
    test = {one["name"]: one["test"]["overall"] for one in measured["methods"]}
    gap = _difference(measured, "chosen", "head")
    number = measured["tried"]["cascades"]
    if not measured["steps"]:
        return (
            f"Of {number} settings tried{on}, none is better than the published ones "
            "on validation; nothing was found that DLSA would need."
        )
    does = {
        "supported": "beats",
        "contradicted": "loses to",
        "undecided": "is not distinguishable from",
    }[gap["verdict"]]
    return (
        f"The best of {number} settings{on}, chosen on validation alone, {does} the "
        f"head that DLSA starts from: {percent(test['chosen']['mean'])} % Overall on "
        f"test against {percent(test['head']['mean'])} %, {_points(gap)}."
    )


def _the_published(measured: Mapping[str, Any]) -> str:
    gap = _difference(measured, "published", "head")
    test = {one["name"]: one["test"]["overall"] for one in measured["methods"]}
    return (
        f"The published settings reach {percent(test['published']['mean'])} %, "
        f"{_points(gap)} against that head."
    )


def _against_the_plain(measured: Mapping[str, Any]) -> str:
    """Whether what the search won is the cascade's, or any linear head's."""
    gap = _difference(measured, "chosen", "plain")
    refitted = _difference(measured, "chosen", "refitted")
    test = {one["name"]: one["test"]["overall"] for one in measured["methods"]}
    words = {
        "supported": "so that the cascade itself is worth something",
        "contradicted": "so that the cascade itself takes away",
        "undecided": "so that no gain of the cascade itself is shown",
    }[gap["verdict"]]
    return (
        "A plain classifier without any cascade, chosen in the same way, reaches "
        f"{percent(test['plain']['mean'])} %: DLSA's best is {_points(gap)} against "
        f"it, {words}. Against the head refitted with Balanced Softmax it is "
        f"{_points(refitted)}."
    )


def _factor_that_matters(factors: Sequence[Mapping[str, Any]]) -> str:
    known = [one for one in factors if not one["refused"]]
    if not known:
        return "No single factor was tried."
    best = max(known, key=lambda one: one["gain"]["val"]["mean"])
    if best["gain"]["val"]["mean"] <= 0:
        return "No single factor helps on validation."
    return (
        f"The single factor that matters most is {change_in_words(best)}: "
        f"{points(best['gain']['val']['mean'])} points on validation, "
        f"{_points({'test': {'overall': best['gain']['test']}})} on test."
    )


def _why(ladders: Sequence[Mapping[str, Any]]) -> str:
    """The steps that lose, of each ladder, and what drawing the terms alone does."""
    parts = [
        f"at learning rate {one['lr']:g} {_losing_steps(one['rungs'])}"
        for one in ladders
    ]
    untrained = next(one for one in ladders[0]["rungs"] if one["name"] == "untrained")
    drawn = _cell(untrained["from_head"]["test"], "difference")
    return (
        "Of the steps from the head to DLSA, those shown to lose on test: "
        f"{'; '.join(parts)}. Drawing the second terms, with nothing fitted, changes "
        f"the decision on {percent(untrained['changed'], 0)} % of the test images "
        f"({drawn})."
    )


def _losing_steps(rungs: Sequence[Mapping[str, Any]]) -> str:
    """Steps whose whole interval is below zero; where there is none, the lowest one."""
    steps = [one for one in rungs if one["step"]]
    shown = [one for one in steps if one["step"]["test"]["high"] < 0]
    lowest = min(steps, key=lambda one: one["step"]["test"]["mean"])
    words = [
        f"“{RUNGS[one['name']]}” ({_cell(one['step']['test'], 'difference')})"
        for one in shown or [lowest]
    ]
    return ", ".join(words) if shown else f"none, the lowest is {words[0]}"


def chosen_in_words(measured: Mapping[str, Any]) -> str:
    """What the chosen settings change, and what the plain classifier's are."""
    settings = {one["name"]: one["setting"] for one in measured["methods"]}
    chosen, base = settings["chosen"], settings["published"]
    changes = [
        change_in_words({"factor": name, "value": chosen[name], "base": base[name]})
        for name in FACTORS
        if chosen[name] != base[name]
    ]
    what = "; ".join(changes) if changes else "nothing"
    plain = ", ".join(
        f"{FACTORS[name]} {value_in_words(name, settings['plain'][name])}"
        for name in ("lr", "refitted")
    )
    return f"Chosen on validation, DLSA: {what}. Plain classifier: {plain}."


def change_in_words(one: Mapping[str, Any]) -> str:
    """A factor with its new value and the old one."""
    new, old = (value_in_words(one["factor"], one[name]) for name in ("value", "base"))
    return f"{FACTORS[one['factor']]} {new} instead of {old}"


def value_in_words(factor: str, value: Any) -> str:
    """A value as a reader knows it."""
    if factor in _VALUES:
        return _VALUES[factor][bool(value)]
    return f"{value:.3g}" if factor == "sigma" else f"{value:g}"


def _difference(
    measured: Mapping[str, Any], first: str, second: str
) -> Mapping[str, Any]:
    return next(
        one
        for one in measured["differences"]
        if (one["first"], one["second"]) == (first, second)
    )


def _points(one: Mapping[str, Any]) -> str:
    """Mean and interval of a difference in Overall, with its unit."""
    words = with_interval({**one["test"]["overall"], "kind": "difference"})
    return words.replace(" [", " points [", 1)


def _lower(name: str) -> str:
    label = METHODS[name]
    return label if label.startswith("DLSA") else label[0].lower() + label[1:]


# ---- Tables -----------------------------------------------------------------------


def methods_table(methods: Sequence[Mapping[str, Any]]) -> str:
    """A row a model: validation Overall, and its accuracies on test."""
    header = ["", "Overall, validation"]
    metrics = [name for name in METRIC_NAMES if name in methods[0]["test"]]
    header += [f"{METRIC_NAMES[metric]}, test" for metric in metrics]
    rows = [
        [
            METHODS[one["name"]] + _diverged(one.get("refused")),
            percent(one["val"]["mean"]),
            *(_cell(one["test"][metric], "value") for metric in metrics),
        ]
        for one in methods
    ]
    return markdown_table(header, rows)


def _diverged(share: float | None) -> str:
    """What stands behind a model whose filters diverged under some seeds."""
    if not share:
        return ""
    return f" (diverged under {percent(share, 0)} % of the seeds, counted as wrong)"


def differences_table(differences: Sequence[Mapping[str, Any]]) -> str:
    """A row a pair: first minus second on test, and the verdict on Overall."""
    header = ["First", "minus second"]
    metrics = [name for name in METRIC_NAMES if name in differences[0]["test"]]
    header += [METRIC_NAMES[metric] for metric in metrics]
    header.append("Overall: is the first better?")
    verdicts = {"supported": "yes", "contradicted": "no, worse"}
    rows = [
        [
            METHODS[one["first"]],
            METHODS[one["second"]],
            *(_cell(one["test"][metric], "difference") for metric in metrics),
            verdicts.get(one["verdict"], one["verdict"]),
        ]
        for one in differences
    ]
    return markdown_table(header, rows, words=2)


def ladder_table(rungs: Sequence[Mapping[str, Any]]) -> str:
    """A row a rung: Overall, and the step to it."""
    header = [
        "",
        "Overall, validation",
        "step",
        "Overall, test",
        "step",
        "from the head",
        "Moved",
        "Changed, %",
    ]
    rows = []
    for one in rungs:
        step = one["step"] or dict.fromkeys(_SPLITS)
        cells = [RUNGS[one["name"]]]
        for split in _SPLITS:
            cells.append(percent(one["accuracy"][split]["mean"]))
            cells.append(_cell(step[split], "difference") if step[split] else "—")
        cells.append(_cell(one["from_head"]["test"], "difference"))
        rows.append([*cells, f"{one['moved']:.2g}", percent(one["changed"])])
    return markdown_table(header, rows)


def parts_table(parts: Sequence[Mapping[str, Any]]) -> str:
    """A row a classifier: whom it decides, and what that is worth."""
    header = [
        "Decided by",
        "Test images, %",
        "first right, %",
        "second right, %",
        "of the difference, points",
    ]
    rows = []
    for number, one in enumerate(parts, start=1):
        last = number == len(parts)
        who = "plain classifier, the rest" if last else f"leaving at depth {number}"
        shares = (percent(one[name]) for name in ("share", "first", "second"))
        rows.append([who, *shares, _cell(one, "difference")])
    return markdown_table(header, rows)


def factors_table(factors: Sequence[Mapping[str, Any]]) -> str:
    """A row a changed factor, the most helpful on validation first."""
    header = ["Factor", "Value", "instead of", "Overall, validation", "Overall, test"]
    rows = []
    for one in _by_gain(factors):
        words = [value_in_words(one["factor"], one[name]) for name in ("value", "base")]
        gains = [_cell(one["gain"][split], "difference") for split in _SPLITS]
        if one["refused"]:
            gains = [f"diverged on {percent(one['refused'], 0)} % of the seeds", "—"]
        rows.append([FACTORS[one["factor"]], *words, *gains])
    return markdown_table(header, rows, words=3)


def steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    """A row a change that the search kept."""
    if not steps:
        return "Nothing: no change helped."
    header = ["Factor", "from", "to", "validation, before", "after"]
    rows = [
        [
            FACTORS[one["factor"]],
            *(value_in_words(one["factor"], one[name]) for name in ("old", "new")),
            *(percent(one[name], 2) for name in ("before", "after")),
        ]
        for one in steps
    ]
    return markdown_table(header, rows, words=3)


def _by_gain(factors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The most helpful first; last, those whose filters could not be fitted."""
    return sorted(
        factors, key=lambda one: (one["refused"] > 0, -one["gain"]["val"]["mean"])
    )


def _cell(numbers: Mapping[str, Any], kind: str) -> str:
    return with_interval({**numbers, "kind": kind})


# ---- Figures ----------------------------------------------------------------------


def ladder_figure(ladders: Sequence[Mapping[str, Any]]) -> str:
    """Overall on the way from the head to DLSA, a panel a learning rate."""
    names = [one["name"] for one in ladders[0]["rungs"] if one["name"] != "untrained"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        axes = figure.subplots(1, len(ladders), sharey=True, sharex=True, squeeze=False)
        for axis, ladder in zip(axes[0], ladders, strict=True):
            rungs = [one for one in ladder["rungs"] if one["name"] in names]
            _gains(axis, [one["from_head"] for one in rungs])
            axis.set_title(f"learning rate {ladder['lr']:g}", fontsize=9)
            axis.set_xlabel("Overall minus the head's, points")
        axes[0, 0].set_yticks(range(len(names)), [RUNGS[name] for name in names])
        axes[0, 0].invert_yaxis()
        _legend(figure, axes[0, 0])
        return svg_text(figure)


def factors_figure(factors: Sequence[Mapping[str, Any]]) -> str:
    """What each factor alone changes, validation beside test."""
    known = [one for one in _by_gain(factors) if not one["refused"]]
    with matplotlib.rc_context(STYLE):
        height = 1.2 + 0.27 * len(known)
        figure = Figure(figsize=(9.2, height), layout="constrained")
        axis = figure.subplots()
        _gains(axis, [one["gain"] for one in known])
        words = [
            f"{FACTORS[one['factor']]}: {value_in_words(one['factor'], one['value'])}"
            for one in known
        ]
        axis.set_yticks(range(len(known)), words)
        axis.set_ylim(len(known) - 0.4, -0.6)
        axis.set_xlabel("Overall minus that of the published settings, points")
        if known:
            _legend(figure, axis)
        return svg_text(figure)


def _gains(axis: Any, gains: Sequence[Mapping[str, Any]]) -> None:
    """Differences with their intervals: validation above test, a row each."""
    for (split, (name, colour, marker)), shift in zip(
        _SPLITS.items(), (-0.15, 0.15), strict=True
    ):
        mean, low, high = (
            np.array([100 * one[split][key] for one in gains])
            for key in ("mean", "low", "high")
        )
        axis.errorbar(
            mean,
            np.arange(len(gains)) + shift,
            xerr=[mean - low, high - mean],
            fmt=marker,
            color=colour,
            markersize=4,
            linewidth=1.2,
            label=name,
        )
    axis.axvline(0, color=COLOURS["start"], linewidth=0.8)


def _legend(figure: Figure, axis: Any) -> None:
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9)
