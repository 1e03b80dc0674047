"""The page of Sect. 2: every part there, nothing filled in, no cell broken by a bar."""

import copy
import math
import re
from functools import lru_cache

import pytest

from replication.sections.estimator.page import (
    estimator_page,
    number,
    summarise_estimator,
)

SEEDS = (0, 1)


def cell(eta: float, t: int) -> dict:
    return {
        "eta": eta,
        "t": t,
        "ratio": 0.5,
        "ratio_error": 0.001,
        "ratio_low": 0.49,
        "ratio_high": 0.51,
        "ratio_eq4": 0.502,
        "z": -2.0,
        "bias_corrected": 0.001,
        "bias_corrected_low": -0.01,
        "bias_corrected_high": 0.012,
        "bias_uncorrected": -(eta**t),
        "bias_uncorrected_low": -(eta**t) - 0.01,
        "bias_uncorrected_high": -(eta**t) + 0.01,
        "bias_eq3": -(eta**t),
    }


def probe(seed: int, step: int, truth: str) -> dict:
    """As JSON gives it back: NaN is null."""
    return {
        "seed": seed,
        "step": step,
        "epoch": step / 10,
        "truth": truth,
        "kl_truth": 0.001,
        "kl_momentum": 0.0011,
        "kl_batch": 0.0013,
        "tv_momentum": 0.01,
        "tv_batch": 0.02,
        "mse_momentum": 1e-5,
        "mse_batch": 4e-5 + seed * 1e-6,
        "batch_variance": 4e-5,
        "variance_eq4": 1e-5,
        "squared_rest": 0.0,
        "squared_bias": None if truth == "drawn" else 2e-5,
    }


def claim(sentence: str, verdict: str, low: float | None = -0.1) -> dict:
    return {
        "sentence": sentence,
        "test": "gap of P(h|X)",
        "estimate": 0.01,
        "low": low,
        "high": None if low is None else 0.1,
        "verdict": verdict,
    }


def made(stand_in: bool = True, benchmark: str = "places_lt") -> dict:
    return {
        "benchmark": benchmark,
        "data": {"stand_in": stand_in, "benchmark": benchmark, "hash": "0123abcd"},
        "identity": [
            {"clusters": 2, "shares": 9, "error": 2e-16, "tolerance": 1e-15,
             "loss_error": 0.0}
        ],
        "recursion": [{"eta": 0.7, "steps": 5, "error": 3e-17, "tolerance": 1e-14}],
        "simulation": [cell(eta, t) for eta in (0.3, 0.7) for t in (1, 5)],
        "probes": [
            probe(seed, step, truth)
            for seed in SEEDS
            for step in (1, 11)
            for truth in ("drawn", "set")
        ],
        "claims": [
            claim("Eq. 1: KL[P || u]", "supported"),
            claim("Eq. 3: unbiased", "contradicted"),
            claim("closer", "undecided", low=None),
        ],
        "settings": {
            "estimator": {"batch_size": 64, "clusters": 20, "draws": 50, "probes": 2},
            "filter": {"eta": 0.7, "epochs": 3, "num_clusters": 5, "batch_size": 32},
            "seeds": list(SEEDS),
        },
        "runs": [
            {
                "stage": f"estimator@{benchmark}",
                "commit": "0123456789abcdef",
                "clean": True,
                "device": "CPU",
                "seconds": 3.0,
                "peak_memory_mb": 100,
                "libraries": {"torch": "2.11"},
            }
        ],
    }  # fmt: skip


@lru_cache
def page(**changes: object) -> str:
    return estimator_page(made(**changes), "Places-LT", "figures")[0]


def test_first_line_says_what_the_data_is_and_the_next_what_needs_none() -> None:
    first, second = page().splitlines()[:2]
    assert first.startswith("> **Stand-in data.**")
    assert "the equations and their simulation use no data" in second
    assert page(stand_in=False).startswith("> **Places-LT**, the paper's own benchmark")
    other = page(stand_in=False, benchmark="cifar100_lt").splitlines()[0]
    assert "not the paper's ImageNet-LT, Places-LT or iNaturalist18" in other


def test_every_figure_that_is_linked_is_drawn_and_none_else() -> None:
    text, figures = estimator_page(made(), "Places-LT", "figures/x")
    linked = re.findall(r"\(figures/x/([^)]+)\)", text)
    assert sorted(linked) == sorted(figures) == ["probes.svg", "simulation.svg"]
    assert all("<svg" in figure for figure in figures.values())


def test_same_records_same_bytes() -> None:
    one, other = (estimator_page(made(), "Places-LT", "f") for _ in range(2))
    assert one == other


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    """P(h|X) holds a bar, which would split its cell were it not escaped."""
    for table in re.findall(r"(?:^\|.*\n)+", page(), flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_simulation_row_by_hand() -> None:
    """eta = 0.7, t = 5: -0.7^5 = -0.16807."""
    assert (
        "| 5 | 0.5000 ± 0.0010 | [0.4900, 0.5100] | 0.5020 | −2.00 | +0.1 [−1.0, +1.2]"
        " | −16.8 [−17.8, −15.8] | −16.8 |"
    ) in page()


def test_table_of_the_fits_momentum_has_no_other() -> None:
    """t = 1 and 5 of eta = 0.7 above; the fold has all four with their eta."""
    text = page()
    assert text.count("\n| 1 | 0.5") == 1
    assert text.count("\n| 0.3 | 1 | 0.5") == text.count("\n| 0.7 | 1 | 0.5") == 1


def test_squared_errors_by_hand() -> None:
    """Seeds' 4.0e-5 and 4.1e-5: mean 4.05e-5, half 12.706 * 0.05e-5 = 0.635e-5.

    The largest is shown as 40.50 in units of 1e-6.
    """
    row = next(
        line
        for line in page().splitlines()
        if line.startswith("| samples as the fit draws them | 40")
    )
    assert row == (
        "| samples as the fit draws them | 40.50 [34.15, 46.85] | 40.00 [40.00, 40.00] "
        "| — | 10.00 [10.00, 10.00] | 10.00 [10.00, 10.00] | 0.00 [0.00, 0.00] |"
    )
    assert "in units of 10⁻⁶ (1/K)²" in page()


def test_claims_with_their_verdicts_and_no_invented_interval() -> None:
    text = page()
    assert (
        "| Eq. 1: KL[P \\|\\| u] | gap of P(h\\|X) | 0.0100 | [−0.100, 0.100] "
        "| supported |"
    ) in text
    assert "| closer | gap of P(h\\|X) | 0.0100 | [n/a, n/a] | undecided |" in text
    assert "Verdict (fits on the stand-in)" in text
    assert "on the stand-in" not in page(stand_in=False)


def test_one_seed_has_means_and_no_interval() -> None:
    measured = made()
    measured["probes"] = [one for one in measured["probes"] if one["seed"] == 0]
    text, _ = estimator_page(measured, "Places-LT", "figures")
    assert "| 40.00 [n/a, n/a] |" in text


def test_summary_counts_equations_and_compares_errors() -> None:
    """Seeds' 4.0e-5 and 4.1e-5 against 1e-5: 0.247."""
    measured = made()
    text = summarise_estimator(measured)
    assert text.startswith("1 of 2 equations hold. With η = 0.7 the variance of the ")
    assert "is 0.500 of a batch's (0.502 by Eq. 4)" in text
    assert text.count("mean squared error is 0.247 of the batch's") == 2
    better = copy.deepcopy(measured)
    better["claims"][1]["verdict"] = "supported"
    assert summarise_estimator(better).startswith("2 of 2 equations hold.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.17844, "0.178"),
        (5.6667, "5.67"),
        (123.4, "123"),
        (-0.5, "−0.500"),
        (0, "0"),
        (2.22e-16, "2.2 × 10⁻¹⁶"),
        (-3e-5, "−3.0 × 10⁻⁵"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text
