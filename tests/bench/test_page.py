"""The pages: ratios and extrapolations are arithmetic on what was measured."""

import pytest

from bench import cost, page


def row(name, size, products=0.0, **ways) -> dict:
    taken = {
        way: {"seconds": seconds, "peak_mb": 10.0} for way, seconds in ways.items()
    }
    return {"name": name, "size": size, "products": products, "ways": taken}


SIZE = {"B": 512, "K": 500, "D": 2048}
CLASSIFIER = {"N": 10, "B": 128, "K": 500, "D": 2048, "C": 365}
STEP = {"B": 512, "K": 500, "D": 64}
FIGURES = [
    row("filter step", SIZE, 1.7, suite=2.0, nflows=5.0),
    row("filter step", STEP, 0.002, suite=0.005),
    row("likelihood pass", {"N": 10, "K": 500, "D": 2048}, suite=0.1),
    row("aided epoch", CLASSIFIER, suite=0.2),
    row("plain epoch", CLASSIFIER, suite=0.1),
    row("whole fit", page.WHOLE_FIT, suite=13.1),
    row("extraction", {"B": 32, "layers": 152, "pixels": 224}, suite=3.2),
]


MACHINE = {"device": "A Processor, 1 thread", "kind": "cpu", "cores": 2, "threads": 1}
MACHINE |= {"torch": "2", "python": "3", "date": "2026-01-01", "product_rate": 1e9}


def test_the_page_leads_with_gains_and_what_is_furthest_from_its_products() -> None:
    on_one = {"name": "filter step", "size": SIZE, "threads": 1}
    on_one |= {"quiet": 2.5, "busy": 5.0}
    on_two = on_one | {"threads": 2, "quiet": 2.0, "awake": 1.6, "busy": 7.0}
    device = {"machine": MACHINE | {"load": 0.1}, "beside_load": [on_one, on_two]}
    text = page.page([device | {"figures": FIGURES}], [])
    assert text.splitlines()[2] == (
        "**A Processor, 1 thread**: 2.5 to 2.5 times as fast as the same equations in "
        "plain PyTorch and nflows. Furthest from what its products alone would take: "
        "filter step (B 512, K 500, D 64), where they are 40 % of the time."
    )
    assert text.splitlines()[6:10] == [
        "| products at least half of a filter step (B 512, K 500, D 64) | 40 % | "
        "**missed** |",
        "| whole fit, both protocols (N 10,847, B 1,024, K 100, D 64, C 100), within "
        "13 s | 13.1 s | **missed** |",
        "| on a quiet machine threads that sleep after a moment lose at most 5 % to "
        "threads that never do | 25 % | **missed** |",
        "| beside two busy processes a core at most 4 times as long (a fair share of "
        "the cores is 3) | 3.5 (filter step) |  |",
    ]
    assert "| 200 ms | none | n/a | 10 | none | n/a |" in text
    assert "| 1 | 2.5 s | n/a | 5.0 s | 2.0 |" in text
    assert "| 2 | 2.0 s | 1.6 s | 7.0 s | 3.5 |" in text
    assert "No GPU has run this" in text and "The machine was busy" not in text


def test_what_a_busy_machine_cannot_say_is_said() -> None:
    device = {"machine": MACHINE | {"load": 1.5}, "beside_load": []}
    text = page.page([device | {"figures": FIGURES}], [])
    assert text.count("| not measured: the machine was busy |  |") == 2
    assert "The machine was busy: 1.5 of 2 cores were in use" in text
    device["machine"] |= {"kind": "cuda"}
    text = page.page([device | {"figures": FIGURES}], [])
    assert "No GPU has run this" not in text and "lose at most" not in text


def test_a_cascade_of_places_lt_worked() -> None:
    """62,500 images, 60 epochs of 123 batches of 512, one depth, one fit."""
    rates = cost.rates_of(FIGURES, "places_lt")
    assert rates == cost.Rates(2.0 / 512, 0.01, 0.02, 0.01, 0.1)
    filters, classifiers = cost.dlsa_seconds("places_lt", rates, 1)
    read = 60 * 62_500 + 62_500 + 36_500
    assert filters == pytest.approx(60 * 123 * 2.0 + read * 0.01)
    each = 0.3 * 0.02 + 0.7 * 0.01
    assert classifiers == pytest.approx(2 * 150 * 62_500 * each)
    twice = cost.dlsa_seconds("places_lt", rates, 2)
    assert twice == (2 * filters, 2 * classifiers)
    features, backbone = cost.image_seconds("places_lt", rates, ("paco",))
    assert features == pytest.approx(99_000 * 0.1)
    assert backbone == pytest.approx(62_500 * 30 * 4 * 0.1)


def test_the_second_filter_has_what_the_first_left() -> None:
    rates = cost.Rates(1 / 1024, 0.0, 1.0, 1.0, 1.0)
    filters, classifiers = cost.dlsa_seconds("inat18", rates, 1)
    assert filters == 30 * (428 + 300 + 210)
    assert classifiers / (2 * 150) == pytest.approx(437_513)


def test_a_table_whose_steps_were_not_measured_is_left_out() -> None:
    assert list(cost.estimates(FIGURES)) == [
        "Table 2 (Places-LT), 6 variants",
        "σ on Places-LT, each value tried",
    ]
    assert cost.estimates(FIGURES[2:]) == {}


def test_fig_2_trains_networks_at_one_boundary_alone() -> None:
    """Six p, 437,513 images, 90 epochs, 3 passes; a millisecond each."""
    testing, training = cost.fig2_seconds(cost.Rates(1.0, 1.0, 1.0, 1.0, 0.001))
    assert training == pytest.approx(6 * 437_513 * 90 * 3 * 0.001)
    assert testing == pytest.approx(6 * 24_426 * 0.001)
