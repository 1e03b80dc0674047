"""The page of Fig. 2's experiment: every part there, nothing filled in."""

import copy
from collections.abc import Callable

import pytest

from replication.sections.separation import page as separation
from replication.sections.separation.page import separation_page, summarise_separation

BOUNDARIES = ("half_classes", "many")
P = (0.5, 0.8, 1.0)


def value(variant: str, boundary: str, p: float, metric: str) -> dict:
    mean = 0.3 + 0.4 * (p - 0.5)
    return {
        "kind": "value",
        "variant": variant,
        "boundary": boundary,
        "p": p,
        "metric": metric,
        "mean": mean,
        "low": mean - 0.02,
        "high": mean + 0.02,
        "per_seed": [mean],
    }


def claim(variant: str, boundary: str) -> dict:
    return {
        "section": "Sect. 1",
        "sentence": "So larger p leads to higher accuracy.",
        "test": "Overall at p = 1 minus at p = 0.5, paired",
        "variant": variant,
        "boundary": boundary,
        "mean": 0.2,
        "low": 0.15,
        "high": 0.25,
        "verdict": "supported",
        "steps": [
            {"from": 0.5, "to": 0.8, "verdict": "supported"},
            {"from": 0.8, "to": 1.0, "verdict": "undecided"},
        ],
    }


def fit(variant: str, boundary: str, fell: float | None) -> dict:
    return {
        "variant": variant,
        "boundary": boundary,
        "p": 0.5,
        "group": 1,
        "images": 100.0,
        "loss": 1.25,
        "fell": fell,
    }


def made(stand_in: bool = True, inputs: str = "images") -> dict:
    """What the stage writes, with the run records."""
    curves = [("linear", boundary) for boundary in BOUNDARIES]
    curves = [("images", "half_classes")] * (inputs == "images") + curves
    return {
        "benchmark": "inat18",
        "data": {"stand_in": stand_in, "hash": "0123456789abcdef"},
        "records": [
            value(*curve, p, metric)
            for curve in curves
            for p in P
            for metric in ("overall", "head", "tail", "many", "medium", "few")
        ],
        "claims": [claim(*curve) for curve in curves],
        "fits": [fit(*curve, 0.004) for curve in curves],
        "seeds": [0, 1],
        "settings": {
            "candidates": {
                "value": "all",
                "published": "all",
                "source": "guess: Sect. 1 does not say",
                "origin": "guess",
            },
            "probabilities": {
                "value": list(P),
                "published": [0.5, 1.0],
                "source": "guess: Sect. 1 names no values of p",
                "origin": "stand-in",
            },
        },
        "boundaries": {
            name: {
                "head_classes": 20,
                "tail_classes": 20,
                "head_images": 750,
                "tail_images": 250,
            }
            for name in BOUNDARIES
        },
        "runs": [
            {
                "stage": "separation@inat18",
                "commit": "0123456789abcdef",
                "clean": True,
                "device": "a processor",
                "seconds": 3.4,
                "peak_memory_mb": 900,
                "libraries": {"torch": "2.11.0"},
            }
        ],
    }


@pytest.fixture
def page_of(monkeypatch) -> Callable[[dict], str]:
    """The text alone: a figure takes longer to draw than all the rest."""
    for name in ("accuracy_figure", "boundaries_figure"):
        monkeypatch.setattr(separation, name, lambda *_: "")
    return lambda measured: separation_page(
        measured, "iNaturalist 2018", "figures/here"
    )[0]


def test_first_line_says_what_the_numbers_are_about(page_of) -> None:
    assert page_of(made()).startswith("> **Stand-in data.** Made from drawn glyphs")
    real = page_of(made(stand_in=False)).splitlines()[0]
    assert real.startswith("> **iNaturalist 2018**, not the paper's Fig. 2 (whose data")
    assert "stand-in" not in page_of(made(stand_in=False))


def test_page_links_its_figures_and_only_those() -> None:
    page, figures = separation_page(made(), "iNaturalist 2018", "figures/here")
    assert set(figures) == {"accuracy.svg", "boundaries.svg"}
    for name, text in figures.items():
        assert f"(figures/here/{name})" in page
        assert text.startswith("<?xml") and "</svg>" in text
    assert page.count("![") == len(figures)


def test_the_same_records_draw_the_same_bytes() -> None:
    first, second = (separation_page(made(), "x", "y") for _ in range(2))
    assert first == second


def test_page_says_that_the_router_is_an_oracle(page_of) -> None:
    page = page_of(made())
    assert "**An upper bound, not a method.**" in page
    assert "Test samples are sent by their own labels" in page


def test_tables_by_hand(page_of) -> None:
    lines = page_of(made()).splitlines()
    assert "| p | Overall | Head | Tail | Many | Medium | Few |" in lines
    assert "| 0.8 |" + 6 * " 42.0 [40.0, 44.0] |" in lines
    assert "| the larger half of the classes | 20 | 20 | 75.0 |" in lines
    assert any(
        line.startswith("| networks on images | the larger half of the classes |")
        and line.endswith("| +20.0 [+15.0, +25.0] | none | supported |")
        for line in lines
    )
    assert (
        "| p | 0.5, 0.8, 1.0 | 0.5, 1.0 | guess: Sect. 1 names no values of p |"
    ) in lines


def test_a_step_that_falls_is_named(page_of) -> None:
    measured = made()
    measured["claims"][0]["steps"][1]["verdict"] = "contradicted"
    measured["claims"][0]["verdict"] = "contradicted"
    assert "| 0.8 to 1 | contradicted |" in page_of(measured)


def test_without_images_the_linear_curve_comes_first(page_of) -> None:
    page = page_of(made(inputs="features"))
    assert "networks on images" not in page
    assert "Networks are trained for the first reading alone" not in page
    assert "Linear classifiers on PaCo's features, head = the larger half" in page


def test_fits_that_were_still_moving_are_confessed(page_of) -> None:
    assert "no fit lowered its training loss by more than 1 %" in page_of(made())
    measured = made()
    measured["fits"][1]["fell"] = 0.084
    page = page_of(measured)
    assert (
        "1 of 2 fits lowered their training loss by more than 1 % (at most 8.4 %)"
        in (page)
    )
    assert "no fit lowered" not in page
    assert "a short budget" not in summarise_separation(made())
    assert summarise_separation(measured).endswith(
        "their training ended: the accuracies are those of a short budget."
    )


def test_a_number_that_is_missing_stays_missing() -> None:
    measured = copy.deepcopy(made())
    for record in measured["records"]:
        if record["metric"] == "medium":
            record.update(mean=None, low=None, high=None, per_seed=[None])
    measured["fits"][0]["fell"] = None
    page, _ = separation_page(measured, "x", "y")
    assert " n/a |" in page and "nan" not in page and "None" not in page


@pytest.mark.parametrize(
    ("stand_in", "ends"), [(True, "on the stand-in"), (False, "**supported**")]
)
def test_summary_by_hand(stand_in: bool, ends: str) -> None:
    assert summarise_separation(made(stand_in)) == (
        "From p = 0.5 to p = 1, networks on images, head = the larger half of the "
        "classes: Overall 30.0 to 50.0 %, Head 30.0 to 50.0 %, Tail 30.0 to 50.0 %. "
        "Overall changes by +20.0 [+15.0, +25.0] points: that larger p leads to higher "
        "accuracy is **supported**"
        + (" on the stand-in" if stand_in else "")
        + ", and supported on 2 of the 2 other curves."
    )
    assert ends in summarise_separation(made(stand_in))
