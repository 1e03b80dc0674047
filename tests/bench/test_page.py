"""The pages: ratios and extrapolations are arithmetic on what was measured."""

import pytest

from bench import cost, page

CEILINGS = {"products": {"float32": 1e9}, "copy": 1e9}


def row(name, size, operations=0.0, moved=0.0, **ways) -> dict:
    taken = {
        way: {"seconds": seconds, "peak_mb": 10.0, "ceilings": CEILINGS}
        for way, seconds in ways.items()
    }
    made = {"name": name, "size": size, "operations": operations, "moved": moved}
    return made | {"ways": taken, "left_out": {}}


SIZE = {"B": 512, "K": 500, "D": 2048}
STEP = row("filter step", SIZE, 1.7e9, 1e9, suite=2.0, differences=30.0, nflows=5.0)
CLASSIFIER = {"N": 10, "B": 128, "K": 500, "D": 2048, "C": 365}
EVERYTHING = [
    STEP,
    row("likelihood pass", {"N": 10, "K": 500, "D": 2048}, suite=0.1),
    row("aided epoch", CLASSIFIER, suite=0.2),
    row("plain epoch", CLASSIFIER, suite=0.1),
    row("extraction", {"B": 32, "layers": 152, "pixels": 224}, suite=3.2),
]


def results(*rows, quick=False, load=0.0) -> dict:
    machine = {"device": "A Processor, 2 threads", "kind": "cpu", "cores": 2}
    machine |= {"threads": 2, "torch": "2", "python": "3", "date": "2026-01-01"}
    return {"machine": machine | {"load": load}, "quick": quick, "figures": list(rows)}


def test_the_longer_floor_counts() -> None:
    assert page.share_of_floor(STEP) == pytest.approx(1.7 / 2)
    assert page.share_of_floor({**STEP, "moved": 1.9e9}) == pytest.approx(1.9 / 2)
    assert page.share_of_floor({**STEP, "operations": 0.0, "moved": 0.0}) is None


def test_the_page_leads_with_the_fairest_comparison() -> None:
    text = page.page({"a": results(STEP)})
    assert text.splitlines()[2] == (
        "**A Processor, 2 threads**: a Flow Filter's step (B 512, K 500, D 2,048) "
        "takes 2.0 s, 2.5 times as fast as nflows as it comes, square expanded, and "
        "85 % of the speed at which its dense products alone would run."
    )
    assert "| this suite | 2.0 s | 1.00 | 10 |" in text
    assert "| nflows as it comes, (B, K, D) differences | 30.0 s | 15.00 | 10 |" in text


def test_a_way_that_did_not_fit_is_said_and_not_filled_in() -> None:
    alone = row("filter step", SIZE, 1.7e9, suite=2.0)
    alone["left_out"] = {"nflows": "it needs about 9 MB"}
    text = page.page({"a": results(alone)})
    assert "| 2.0 s | none | n/a | 10 | none | 85 |" in text
    assert (
        "Not run: filter step at B 512, K 500, D 2,048 by nflows as it comes, square "
        "expanded: it needs about 9 MB.\n" in text
    )


def test_loading_is_in_images_a_second() -> None:
    size = {"B": 32, "width": 500, "height": 375, "pixels": 224}
    rows = [row("load to train", size, suite=0.02, plain=0.04), STEP]
    assert page.loading_rates(rows) == [["load to train", "1,600", "800"]]


def test_a_busy_machine_and_tiny_sizes_are_said() -> None:
    assert "busy" not in page.page({"a": results(STEP)})
    text = page.page({"a": results(STEP, quick=True, load=1.5)})
    assert "**The machine was busy** (1.5 " in text and "**Tiny sizes**" in text
    assert "###" not in cost.page({"a": results(*EVERYTHING, quick=True)}, [])


def test_a_filter_of_places_lt_worked() -> None:
    """62,500 images, 60 epochs of 123 batches of 512, one depth, one fit."""
    rates = cost.rates_of(EVERYTHING, "places_lt")
    assert rates == cost.Rates(2.0, 0.01, 0.02, 0.01, 0.1)
    steps, read, aided, plain = cost.parts_of_dlsa("places_lt", rates, 1)
    assert steps.formula == "7,380 steps × 2000.0 ms"
    assert steps.seconds == 60 * 123 * 2.0
    assert read.seconds == pytest.approx((60 * 62_500 + 62_500 + 36_500) * 0.01)
    assert aided.seconds == pytest.approx(2 * 150 * 0.3 * 62_500 * 0.02)
    assert plain.seconds == pytest.approx(2 * 150 * 0.7 * 62_500 * 0.01)


def test_the_second_filter_has_what_the_first_left() -> None:
    rates = cost.Rates(1.0, 0.0, 1.0, 1.0, 1.0)
    steps, _, aided, plain = cost.parts_of_dlsa("inat18", rates, 1)
    assert steps.seconds == 30 * (428 + 300 + 210)
    decided = (aided.seconds + plain.seconds) / (2 * 150)
    assert decided == pytest.approx(437_513)


def test_a_table_whose_steps_were_not_measured_is_left_out() -> None:
    titles = [title for title, _ in cost.tables_of(EVERYTHING)]
    assert titles == [
        "Table 2 (Places-LT), six variants",
        "σ on Places-LT, each value tried",
    ]
    assert cost.tables_of(EVERYTHING[1:]) == []


def test_fig_2_trains_networks_at_one_boundary_alone() -> None:
    """Six p, 437,513 images, 90 epochs, 3 passes; a millisecond each."""
    training, testing = cost.parts_of_fig2(cost.Rates(1.0, 1.0, 1.0, 1.0, 0.001))
    assert training.seconds == pytest.approx(6 * 437_513 * 90 * 3 * 0.001)
    assert testing.seconds == pytest.approx(6 * 24_426 * 0.001)
