"""The page of Sect. 2: equations against simulation, their premise against a fit."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from replication.reporting.figures import STYLE, svg_text
from replication.reporting.rendering import notice, origin, render
from replication.reporting.tables import markdown_table
from replication.sections.estimator.experiment import TRUTH_BATCHES, over_seeds, phi

Records = Sequence[Mapping[str, Any]]
Estimate = tuple[float, float, float]

TRUTHS = {
    "drawn": "samples as the fit draws them",
    "set": "the training set as it is",
}
_ESTIMATES = {
    "momentum": ("the momentum estimate", "#0072B2"),
    "batch": ("P(h|B_t) alone", "#E69F00"),
}
# The fit's momentum is blue, as the momentum estimate is; the others in turn.
_FIT = "#0072B2"
_OTHERS = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999")
_MARKERS = "os^Dvp"
_PAPER_BENCHMARKS = ("imagenet_lt", "places_lt", "inat18")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def estimator_page(
    measured: Mapping[str, Any], title: str, figures_folder: str
) -> tuple[str, dict[str, str]]:
    """The page of Sect. 2 on one benchmark.

    Args:
        measured: what the stage `estimator` wrote, with `runs`, the run records.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The page, and its figures by file name.
    """
    data, settings = measured["data"], measured["settings"]
    eta = settings["filter"]["eta"]
    simulation, probes = measured["simulation"], measured["probes"]
    drawn = {
        "simulation.svg": simulation_figure(simulation, eta),
        "probes.svg": probes_figure(probes),
    }
    page = render(
        "sections/estimator/page.md.j2",
        notice=notice(data, title, _paper_data(data)),
        title=title,
        stand_in=data["stand_in"],
        summary=summarise_estimator(measured),
        eta=eta,
        settings=settings,
        truth_batches=TRUTH_BATCHES,
        limit=number((1 - eta) / (1 + eta)),
        worth=number((1 + eta) / (1 - eta)),
        identity=_identity_table(measured["identity"]),
        recursion=number(max(one["error"] for one in measured["recursion"])),
        steps=max(one["steps"] for one in measured["recursion"]),
        with_fit_eta=_simulation_table(
            [one for one in simulation if one["eta"] == eta], with_eta=False
        ),
        others=_simulation_table(simulation, with_eta=True),
        errors=_errors_table(probes),
        balances=_balances_table(probes),
        claims=_claims_table(measured["claims"], data["stand_in"]),
        figures=figures_folder,
        origin=origin(
            data["hash"],
            f"dvc repro estimator@{measured['benchmark']}",
            measured["runs"],
        ),
    )
    return page, drawn


def summarise_estimator(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    eta = measured["settings"]["filter"]["eta"]
    last = [one for one in measured["simulation"] if one["eta"] == eta][-1]
    equations = [one for one in measured["claims"] if one["sentence"][:3] == "Eq."]
    held = sum(one["verdict"] == "supported" for one in equations)
    where = " on the stand-in" if measured["data"]["stand_in"] else ""
    text = (
        f"{held} of {len(equations)} equations hold. With η = {eta:g} the variance of "
        f"the momentum estimate at t = {last['t']} is {number(last['ratio'])} of a "
        f"batch's ({number(last['ratio_eq4'])} by Eq. 4). In a real fit{where}, "
    )
    parts = []
    for truth, words in TRUTHS.items():
        mine = _of(measured["probes"], truth)
        squares = [over_seeds(mine, _field(f"mse_{which}"))[0] for which in _ESTIMATES]
        parts.append(
            f"its mean squared error is {number(squares[0] / squares[1])} of the "
            f"batch's where P(h|X) is that of {words}"
        )
    return text + ", and ".join(parts) + "."


def simulation_figure(simulation: Records, fit_eta: float) -> str:
    """Variance ratio and bias over t: simulated points, the equations' curves.

    Args:
        simulation: records of every eta and t.
        fit_eta: eta of the fit, drawn first.
    """
    etas = sorted({one["eta"] for one in simulation}, key=lambda eta: eta != fit_eta)
    steps = sorted({one["t"] for one in simulation})
    curve = np.geomspace(1, max(steps), 200)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        ratio, bias = figure.subplots(1, 2)
        for place, eta in enumerate(etas):
            colour = _FIT if eta == fit_eta else _OTHERS[place % len(_OTHERS)]
            mine = [one for one in simulation if one["eta"] == eta]
            # Side by side: corrected, every bias is about 0.
            shift = 1.05 ** (place - (len(etas) - 1) / 2)
            dots = {
                "color": colour,
                "fmt": _MARKERS[place % len(_MARKERS)],
                "markersize": 4.5,
                "linewidth": 1.2,
            }
            ratio.plot(curve, phi(eta, 1) / phi(eta, curve), color=colour, lw=1)
            label = f"η = {eta:g}" + (", as in the fit" if eta == fit_eta else "")
            _dots(ratio, mine, "ratio", 1.0, dots | {"label": label})
            bias.plot(curve, -100 * eta**curve, color=colour, lw=1)
            _dots(bias, mine, "bias_uncorrected", 1.0, dots, 100)
            hollow = dots | {"markerfacecolor": "white"}
            _dots(bias, mine, "bias_corrected", shift, hollow, 100)
        for axis in (ratio, bias):
            axis.set_xscale("log")
            axis.set_xticks(steps)
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xlabel("t, steps (log scale)")
        ratio.set_ylim(0, 1.08)
        ratio.set_title("Variance: lines Eq. 4, points simulated")
        ratio.set_ylabel("D of the estimate / D of P(h|B)")
        bias.set_title("Bias: p̃_t (filled), p̃_t / (1 − η^t) (hollow)")
        bias.set_ylabel("bias, % of P(h = k|X)")
        figure.legend(loc="outside lower center", ncols=len(etas), fontsize=9)
        return svg_text(figure)


def _dots(
    axis: Any,
    records: Records,
    name: str,
    shift: float,
    style: Mapping[str, Any],
    scale: float = 1.0,
) -> None:
    value, low, high = (
        scale * np.array([one[f"{name}{end}"] for one in records])
        for end in ("", "_low", "_high")
    )
    place = shift * np.array([one["t"] for one in records])
    axis.errorbar(place, value, yerr=[value - low, high - value], **style)


def probes_figure(probes: Records) -> str:
    """Errors of both estimates over a fit, and of the L_bal that they give.

    Lines are means over seeds, bands their range.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.3), layout="constrained")
        axes = figure.subplots(1, 3)
        for axis, (truth, words) in zip(axes, TRUTHS.items(), strict=False):
            for which, (label, colour) in _ESTIMATES.items():
                _band(axis, _of(probes, truth), f"tv_{which}", 100, label, colour)
            axis.set_ylabel("total variation distance, %")
            axis.set_title(f"To P(h|X) of\n{words}", fontsize=9, fontweight="normal")
        mine = _of(probes, "drawn")
        for which, (label, colour) in _ESTIMATES.items():
            gaps = [one | {"gap": one[f"kl_{which}"] - one["kl_truth"]} for one in mine]
            _band(axes[2], gaps, "gap", 1, label, colour)
        axes[2].axhline(0, color="#444444", linestyle="--", linewidth=1)
        axes[2].ticklabel_format(axis="y", scilimits=(-3, 3), useMathText=True)
        axes[2].set_ylabel("L_bal less KL of P(h|X), nats")
        title = f"L_bal, against X of\n{TRUTHS['drawn']}"
        axes[2].set_title(title, fontsize=9, fontweight="normal")
        for axis in axes[:2]:
            axis.set_ylim(bottom=0)
        for axis in axes:
            axis.set_xlabel("t, step of the fit")
        handles, names = axes[2].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9)
        return svg_text(figure)


def _band(
    axis: Any,
    records: Records,
    name: str,
    scale: float,
    label: str,
    colour: str,
) -> None:
    steps = sorted({one["step"] for one in records})
    seeds = sorted({one["seed"] for one in records})
    at = {(one["seed"], one["step"]): _float(one[name]) for one in records}
    curves = scale * np.array([[at[seed, step] for step in steps] for seed in seeds])
    axis.plot(steps, curves.mean(0), color=colour, linewidth=1.3, label=label)
    axis.fill_between(
        steps, curves.min(0), curves.max(0), color=colour, alpha=0.15, lw=0
    )


def number(value: float | None) -> str:
    """Three digits, with a power of ten where the number is small; `n/a` for none."""
    if value is None or not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        text = f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPT)}"
    else:
        text = f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def _interval(low: float | None, high: float | None) -> str:
    return f"[{number(low)}, {number(high)}]"


def _scaled(rows: Mapping[str, Sequence[Estimate]]) -> tuple[str, list[list[str]]]:
    """Rows of estimates, the largest between 10 and 100 powers of ten; and which."""
    values = [abs(one[0]) for row in rows.values() for one in row]
    largest = max((one for one in values if math.isfinite(one)), default=0.0)
    power = math.floor(math.log10(largest)) - 1 if largest > 0 else 0
    cells = [
        [label, *(_scaled_cell(one, 10.0**-power) for one in row)]
        for label, row in rows.items()
    ]
    return "1" if power == 0 else f"10{str(power).translate(_SUPERSCRIPT)}", cells


def _scaled_cell(estimate: Estimate, scale: float) -> str:
    if not math.isfinite(estimate[0]):
        return "—"
    mean, low, high = (
        f"{scale * one:.2f}" if math.isfinite(one) else "n/a" for one in estimate
    )
    return f"{mean} [{low}, {high}]".replace("-", "−")


def _identity_table(records: Records) -> str:
    header = ["K", "P tried", "Largest gap, nats", "Rounding explains", "Gap of L_bal"]
    return markdown_table(
        header,
        [
            [
                str(one["clusters"]),
                str(one["shares"]),
                *(number(one[name]) for name in ("error", "tolerance", "loss_error")),
            ]
            for one in records
        ],
    )


def _simulation_table(records: Records, with_eta: bool) -> str:
    header = [
        "t",
        "Variance ratio ± error",
        "95 % interval",
        "Eq. 4",
        "z",
        "Bias, corrected, %",
        "Bias, not corrected, %",
        "−η^t, %",
    ]
    rows = []
    for one in records:
        row = [f"{one['eta']:g}"] if with_eta else []
        row += [
            str(one["t"]),
            f"{one['ratio']:.4f} ± {one['ratio_error']:.4f}",
            f"[{one['ratio_low']:.4f}, {one['ratio_high']:.4f}]",
            f"{one['ratio_eq4']:.4f}",
            f"{one['z']:+.2f}",
            *(_bias(one, name) for name in ("bias_corrected", "bias_uncorrected")),
            number(100 * one["bias_eq3"]),
        ]
        rows.append([cell.replace("-", "−") for cell in row])
    return markdown_table((["η"] if with_eta else []) + header, rows)


def _bias(record: Mapping[str, Any], name: str) -> str:
    value, low, high = (100 * record[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _errors_table(probes: Records) -> tuple[str, str]:
    """Squared errors over a fit, means over probes with intervals over seeds.

    Returns:
        The power of ten that they are in, and the table.
    """
    columns = {
        "mse_batch": "P(h|B_t): squared error",
        "batch_variance": "its variance",
        "squared_bias": "its squared bias",
        "mse_momentum": "Momentum: squared error",
        "variance_eq4": "its variance by Eq. 4",
        "squared_rest": "what Eq. 4 leaves over",
    }
    rows = {
        words: [over_seeds(_of(probes, truth), _field(name)) for name in columns]
        for truth, words in TRUTHS.items()
    }
    power, cells = _scaled(rows)
    return power, markdown_table(["X", *columns.values()], cells)


def _balances_table(probes: Records) -> tuple[str, str]:
    """How far the L_bal of each estimate lies from that of P(h|X).

    Returns:
        The power of ten that they are in, and the table.
    """
    header = ["X", "KL of P(h|X)"]
    header += [f"KL of {label} − KL of P(h|X)" for label, _ in _ESTIMATES.values()]
    rows = {}
    for truth, words in TRUTHS.items():
        mine = _of(probes, truth)
        gaps = [_gap(f"kl_{which}", "kl_truth") for which in _ESTIMATES]
        fields = [_field("kl_truth"), *gaps]
        rows[words] = [over_seeds(mine, field) for field in fields]
    power, cells = _scaled(rows)
    return power, markdown_table(header, cells)


def _claims_table(claims: Records, stand_in: bool) -> str:
    where = " (fits on the stand-in)" if stand_in else ""
    header = ["Sentence", "Test", "Estimate", "Interval", f"Verdict{where}"]
    return markdown_table(
        header,
        [
            [
                one["sentence"],
                one["test"],
                number(one["estimate"]),
                _interval(one["low"], one["high"]),
                one["verdict"],
            ]
            for one in claims
        ],
        words=2,
    )


def _of(probes: Records, truth: str) -> list[Mapping[str, Any]]:
    return [one for one in probes if one["truth"] == truth]


def _field(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda one: _float(one[name])


def _gap(name: str, other: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda one: _float(one[name]) - _float(one[other])


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _paper_data(data: Mapping[str, Any]) -> str | None:
    """What the paper fits filters on, where this benchmark is none of it."""
    if data["stand_in"] or data["benchmark"] in _PAPER_BENCHMARKS:
        return None
    return "ImageNet-LT, Places-LT or iNaturalist18"
