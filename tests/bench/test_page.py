"""The pages: ratios and extrapolations are arithmetic on what was measured."""

import json

import pytest

from bench import cost, page

CEILINGS = {"products": {"float32": 1e9}, "copy": 1e9}


def row(name, size, seconds, operations=0.0, moved=0.0, reference=None) -> dict:
    made = {"name": name, "size": size, "operations": operations, "moved": moved}
    made["ours"] = {"seconds": seconds, "peak_mb": 10.0, "ceilings": CEILINGS}
    if reference is not None:
        made["reference"] = {
            "seconds": reference,
            "peak_mb": 200.0,
            "ceilings": CEILINGS,
        }
    return made


STEP = row("filter step", {"B": 512, "K": 500, "D": 2048}, 2.0, 1.7e9, 1e9, 30.0)


def results(*rows, quick=False) -> dict:
    points = {"ours": [[1, 0.1], [2, 0.2]], "reference": [[1, 0.3]]}
    panel = {"figure": "filter step", "size": {"B": 8}, "points": points}
    machine = {
        "device": "A Processor, 2 threads",
        "kind": "cpu",
        "cores": 2,
        "threads": 2,
        "torch": "2",
        "python": "3",
        "date": "2026-01-01",
        "load": 0.0,
    }
    growth = dict.fromkeys("NDKC", panel)
    return {"machine": machine, "quick": quick, "figures": list(rows), "growth": growth}


def test_the_longer_floor_is_the_ceiling() -> None:
    assert page.floor_seconds(STEP) == 1.7
    assert page.share_of_ceiling(STEP) == pytest.approx(0.85)
    assert page.floor_seconds({**STEP, "moved": 1.9e9}) == 1.9
    assert page.share_of_ceiling({**STEP, "operations": 0.0, "moved": 0.0}) is None


def test_targets_are_met_or_not() -> None:
    assert [met for _, _, met in page.targets([STEP])] == ["yes", "yes", "yes"]
    slow = {**STEP, "ours": {**STEP["ours"], "seconds": 4.0, "peak_mb": 21.0}}
    assert [met for _, _, met in page.targets([slow])] == ["**no**"] * 3
    alone = row("filter step", STEP["size"], 2.0, 1.7e9)
    assert [met for _, _, met in page.targets([alone])] == ["yes", "not run"]


def test_a_missing_reference_is_said_and_not_filled_in() -> None:
    alone = row("filter step", STEP["size"], 2.0) | {"left_out": "it needs 9 MB"}
    text = page.page({"a": results(alone)}, "results")
    assert "not run | n/a | 10 | not run | n/a" in text
    assert (
        "No reference for filter step at B 512, K 500, D 2,048: it needs 9 MB" in text
    )


def test_loading_is_in_images_a_second() -> None:
    size = {"B": 32, "width": 500, "height": 375, "pixels": 224}
    rows = [row("decode", size, 0.02, reference=0.04), row("load to train", size, 0.1)]
    rows.append(STEP)
    assert page.loading_rates(rows) == [
        ["decode", "1,600", "800"],
        ["load to train", "320", "not run"],
    ]
    assert "| decode | 1,600 | 800 |" in page.page({"a": results(*rows)}, "results")
    assert "Loading" not in page.page({"a": results(STEP)}, "results")


def test_a_busy_machine_and_tiny_sizes_are_said() -> None:
    one = results(STEP, quick=True)
    assert "busy" not in page.page({"a": one}, "results")
    one["machine"]["load"] = 1.5
    text = page.page({"a": one}, "results")
    assert "**The machine was busy** (1.5 " in text and "**Tiny sizes**" in text


def test_pages_of_all_devices_from_their_files(tmp_path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text(json.dumps(results(STEP)))
    page.write_pages(folder)
    text = (tmp_path / "README.md").read_text()
    assert text.count("## A Processor") == 2
    before = (folder / "growth-b.svg").read_bytes()
    page.write_pages(folder)
    assert (folder / "growth-b.svg").read_bytes() == before


def everything() -> list[dict]:
    size = {"N": 10, "B": 128, "K": 500, "D": 2048, "C": 365}
    return [
        STEP,
        row("likelihood pass", {"N": 10, "K": 500, "D": 2048}, 0.1),
        row("aided epoch", size, 0.2),
        row("plain epoch", size, 0.1),
        row("extraction", {"B": 32, "layers": 152, "pixels": 224}, 3.2),
    ]


def test_a_filter_of_places_lt_worked() -> None:
    """62,500 images, 60 epochs of 123 batches of 512, one depth, one fit."""
    rates = cost.rates_of(everything(), "places_lt")
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
    titles = [title for title, _ in cost.tables_of(everything())]
    assert titles == [
        "Table 2 (Places-LT), six variants",
        "σ on Places-LT, each value tried",
    ]
    assert cost.tables_of(everything()[1:]) == []


def test_fig_2_trains_networks_at_one_boundary_alone() -> None:
    """Six p, 437,513 images, 90 epochs, 3 passes; a millisecond each."""
    training, testing = cost.parts_of_fig2(cost.Rates(1.0, 1.0, 1.0, 1.0, 0.001))
    assert training.seconds == pytest.approx(6 * 437_513 * 90 * 3 * 0.001)
    assert testing.seconds == pytest.approx(6 * 24_426 * 0.001)


def test_tiny_sizes_cost_nothing() -> None:
    assert "###" not in cost.page({"a": results(*everything(), quick=True)}, [])
