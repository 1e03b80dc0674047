"""The page of Table 1 from made records."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from replication.core.files import read_json, write_json
from replication.core.settings import read_anchors, read_published_tables
from replication.samples.predictions import predictions_table
from replication.sections.table1.experiment import table1_claims, table1_records
from replication.sections.table1.page import (
    TABLE1_COLOURS,
    anchors_table,
    difference_table,
    summarise,
    table1_section,
)

TABLE = read_published_tables()["table1"]
LABELS = np.repeat(np.arange(12), 20)
COUNTS = np.repeat([300, 60, 8], 4)
CHANCES = {
    "lws": 0.62,
    "crt": 0.60,
    "paco": 0.66,
    "paco_dlsa": 0.72,
    "ce": 0.55,
    "ce_balanced": 0.61,
    "paco_refit": 0.65,
}
RUN = {
    "stage": "heads_paco@inat18",
    "start": "own_head",
    "commit": "0123456789abcdef",
    "clean": True,
    "device": "a processor",
    "seconds": 3.0,
    "peak_memory_mb": 900,
    "libraries": {"numpy": "2"},
}
FILTER = {
    "epoch": 3,
    "pure_clusters": 4,
    "empty_clusters": 1,
    "largest": 9,
    "purity": 0.5,
    "splits": {
        "test": {
            "log_likelihood": -20.0,
            "leaving": 0.3,
            "leaving_by_group": {"many": 0.2, "medium": 0.3, "few": 0.5},
            "auroc_tail": 0.7,
        }
    },
}


def made_predictions(methods=tuple(CHANCES)) -> dict:
    tables = {}
    for name in methods:
        generator = np.random.default_rng(len(name))
        some = {}
        for seed in range(3):
            for protocol in ("paper", "released_code"):
                right = generator.random(len(LABELS)) < CHANCES[name]
                other = (LABELS + generator.integers(1, 12, len(LABELS))) % 12
                some[seed, protocol] = np.where(right, LABELS, other)
        tables[name] = predictions_table(LABELS, some)
    return tables


Make = Callable[..., dict]
Drawn = tuple[str, dict[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Make:
    """What the stage writes, read back: `made(methods, benchmark, ...)`."""
    file = tmp_path_factory.mktemp("made") / "table1.json"

    def make(
        methods=tuple(CHANCES),
        benchmark="inat18",
        stand_in=False,
        start="own_head",
        counts=COUNTS,
    ) -> dict:
        about = {
            "benchmark": benchmark,
            "data": "made",
            "same_benchmark": benchmark == TABLE.benchmark,
            "same_conditions": False,
            "other_features": False,
        }
        records = table1_records(made_predictions(methods), counts, TABLE, about)
        measured = {
            "benchmark": benchmark,
            "data": {
                "stand_in": stand_in,
                "hash": "abc",
                "benchmark": benchmark,
                "classes": 12,
                "shot_groups": {"many": 4, "medium": 4, "few": 4},
                "images": {"train": 1472, "val": 0, "test": 240},
                "largest": 300,
                "smallest": 8,
            },
            "records": records,
            "claims": table1_claims(records),
            "partial": ["the backbone is another"],
            "other_features": "their weights are PaCo's",
            "runs": [RUN | {"start": start}],
            "diagnostics": {str(seed): {"filters": [FILTER] * 3} for seed in range(3)},
            "features": {"ce": "a small network", "paco": "a PaCo network"},
        }
        write_json(file, measured)
        return read_json(file)

    return make


def rows_of(text: str, label: str) -> list[list[str]]:
    """Cells of every table row of a page that starts with the label."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def section(measured: dict) -> Drawn:
    return table1_section(measured, TABLE, "iNaturalist18", "figures/x")


@pytest.fixture(scope="module")
def drawn(made: Make) -> Drawn:
    """All seven rows on the paper's benchmark."""
    return section(made())


def test_the_first_line_says_what_the_numbers_are_about(
    made: Make, drawn: Drawn
) -> None:
    texts = [drawn[0]] + [
        section(made(**about))[0]
        for about in ({"benchmark": "places_lt"}, {"stand_in": True})
    ]
    firsts = [text.splitlines()[0] for text in texts]
    assert firsts[0] == "> **iNaturalist18**, the paper's own benchmark."
    assert "not the paper's iNaturalist18 with an ImageNet-pretrained" in firsts[1]
    assert firsts[2].startswith("> **Stand-in data.** Made from drawn glyphs")


def test_rows_on_other_features_are_named(drawn: Drawn) -> None:
    line = "cRT and LWS are *partial* whatever the rest is: their weights are PaCo's."
    assert line in drawn[0]


def test_every_row_is_there_with_six_numbers_under_both_protocols(
    made: Make, drawn: Drawn
) -> None:
    text, figures = drawn
    labels = {record["label"] for record in made()["records"]}
    assert len(labels) == len(CHANCES)
    for label in labels:
        values, *_ = rows_of(text, label)
        assert len(values) == 7  # six metrics and the verdict
        assert not any("not run" in cell for cell in values)
        # Values and differences under both protocols, and one minus the other; DLSA's
        # row has no difference to itself, but three filters.
        full = label == TABLE.rows["paco_dlsa"].label
        assert len(rows_of(text, label)) == (2 + 1 + 3 if full else 2 + 2 + 1)
    assert "Not run:" not in text
    assert set(figures) == {"metrics.svg"}
    assert "(figures/x/metrics.svg)" in text


def test_a_row_without_predictions_is_not_run(made: Make) -> None:
    methods = tuple(name for name in CHANCES if name not in ("lws", "ce"))
    text, _ = section(made(methods))
    assert "- Not run: LWS; Cross-entropy network." in text
    values, differences, *_ = rows_of(text, "LWS")
    assert values == ["not run"] * 6 + ["—"]
    assert differences == ["not run"] * 6
    claim = next(line for line in text.splitlines() if "better than LWS" in line)
    assert claim.endswith("| n/a | not run | n/a | not run |")


def test_without_dlsa_nothing_is_claimed(made: Make) -> None:
    measured = made(("lws", "paco"))
    assert "DLSA on PaCo + BalSoftmax was not run." in summarise(measured)
    assert {claim["verdict"] for claim in measured["claims"]} == {"not run"}
    assert rows_of(section(measured)[0], "LWS")[1] == ["not run"] * 6


def test_a_refitted_start_is_not_a_second_row(made: Make) -> None:
    """Where PaCo's head was refitted, that head is the row PaCo + BalSoftmax."""
    methods = tuple(name for name in CHANCES if name != "paco_refit")
    text, _ = section(made(methods, start="balanced_softmax"))
    assert "PaCo features, BalSoftmax refitted" not in text
    assert "a Balanced Softmax head fitted to the features" in text


def test_printed_numbers_stand_beside_ours_on_the_same_benchmark_only(
    made: Make, drawn: Drawn
) -> None:
    text, _ = drawn
    values, differences, *_ = rows_of(text, "PaCo + BalSoftmax")
    printed = ["71.8", "73.9", "71.2", "71.8", "71.1", "94.3"]
    for cell, number in zip(values, printed, strict=False):
        assert cell.endswith(f"<br>*printed {number}*")
    gains = ["+1.0", "+1.5", "+1.1", "+0.8", "+1.6", "+0.2"]
    for cell, number in zip(differences, gains, strict=True):
        assert cell.endswith(f"<br>*printed {number}*")
    values, *_ = rows_of(text, "LWS")
    assert ["printed" in cell for cell in values[:6]] == [True] * 4 + [False] * 2
    text, figures = section(made(benchmark="places_lt"))
    assert "*printed" not in text
    assert "Verdict on the numbers" not in text
    assert len(figures["metrics.svg"]) < len(drawn[1]["metrics.svg"])


def test_an_empty_shot_group_is_not_a_number(made: Make) -> None:
    """No class is Few: null in the file, n/a on the page, its claim not run."""
    measured = made(counts=np.repeat([300, 60], 6))
    text, figures = section(measured)
    assert rows_of(text, "cRT")[0][3] == "n/a<br>*printed 66.1*"
    assert rows_of(text, "cRT")[1][3].startswith("n/a")
    claim = next(line for line in text.splitlines() if "in Few-shot accuracy" in line)
    assert claim.endswith("| n/a | not run | n/a | not run |")
    assert "nan" not in text
    assert "not measured in Few" in summarise(measured)
    assert figures["metrics.svg"].startswith("<?xml")


def test_bold_is_an_interval_without_zero() -> None:
    gap = {
        "kind": "difference",
        "method": "paco",
        "protocol": "paper",
        "metric": "overall",
        "published": 0.01,
        "mean": 0.02,
    }
    cells = {}
    for verdict, low in (("supported", 0.01), ("undecided", -0.01)):
        record = gap | {"low": low, "high": 0.05, "verdict": verdict}
        table = difference_table([record], "paper", ("overall",), {"paco": "PaCo"})
        cells[verdict] = table.splitlines()[2]
    assert cells["supported"] == "| PaCo | **+2.0**<br>[+1.0, +5.0]<br>*printed +1.0* |"
    assert cells["undecided"] == "| PaCo | +2.0<br>[−1.0, +5.0]<br>*printed +1.0* |"


def test_the_summary_is_what_the_records_say(made: Make) -> None:
    measured = made()
    gap = next(
        record
        for record in measured["records"]
        if (record["kind"], record["method"], record["metric"], record["protocol"])
        == ("difference", "paco", "overall", "paper")
    )
    gap.update(mean=-0.03, low=-0.04, high=-0.02, verdict="contradicted")
    text = summarise(measured)
    assert "Overall, a loss (−3.0 [−4.0, −2.0] points)" in text
    assert "Of 8 claims under the paper protocol" in text
    assert text.endswith("on this data.")


def test_every_row_has_a_colour_of_its_own() -> None:
    assert set(TABLE1_COLOURS) == set(CHANCES)
    assert len(set(TABLE1_COLOURS.values())) == len(CHANCES)


def test_the_same_records_draw_the_same_bytes_and_any_number_of_panels(
    made: Make, drawn: Drawn
) -> None:
    assert section(made()) == drawn
    fewer = replace(TABLE, metrics=TABLE.metrics[:4])
    _, figures = table1_section(made(), fewer, "iNaturalist18", "figures/x")
    assert len(figures["metrics.svg"]) < len(drawn[1]["metrics.svg"])


# --- the field's numbers


def anchored(epochs: int, augmentation: str = "cifar", **data: object) -> str:
    """The table for a cross-entropy network of some epochs, Overall 0.383."""
    record = {"kind": "value", "method": "ce", "metric": "overall"}
    record |= {"protocol": "paper", "mean": 0.383, "low": 0.375, "high": 0.391}
    recipe = {"network": "resnet32_cifar", "epochs": epochs}
    recipe |= {"augmentation": augmentation}
    runs = [
        {"stage": f"backbone_{name}@cifar100_lt", "backbone": recipe}
        for name in ("ce", "paco")
    ]
    about = {"stand_in": False, "imbalance_factor": 100} | data
    measured = {"data": about, "runs": runs, "records": [record]}
    return anchors_table(measured, read_anchors("cifar100_lt"))


def test_a_run_as_long_as_the_fields_is_comparable() -> None:
    row = next(r for r in anchored(200).splitlines() if "Cross-entropy" in r)
    assert "| 38.3 | 38.3 [37.5, 39.1] | yes |" in row


@pytest.mark.parametrize("augmentation", ["none", "imagenet"])
def test_another_augmentation_is_not(augmentation: str) -> None:
    """It is worth eight points together with the length."""
    row = anchored(200, augmentation)
    assert "| no: augmentation other than plain |" in row


def test_a_short_run_or_another_imbalance_is_not() -> None:
    assert "no: 30 of 200 epochs" in anchored(30)
    assert "no: imbalance factor 10, 30 of 200 epochs" in anchored(
        30, imbalance_factor=10
    )
    assert anchored(30).count("| not run | — |") == 6


def test_the_stand_in_and_other_benchmarks_have_no_anchors() -> None:
    assert anchored(200, stand_in=True) == ""
    assert read_anchors("inat18") is None
