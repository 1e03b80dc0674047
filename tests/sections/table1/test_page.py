"""The page of Table 1 from a made measurement."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from replication.published.reader import read_anchors, read_published_tables
from replication.sections.table1.experiment import table1_claims
from replication.sections.table1.page import anchors_table, finding, page
from replication.statistics.comparison import Comparison, read_methods, table_cells
from replication.statistics.results import Cell, Measurement, grade_of
from tests.made import as_read, diagnostics, predicted, summary

TABLE = read_published_tables()["table1"]
METHODS = read_methods("table1", TABLE)
LABELS = np.repeat(np.arange(12), 20)
SHARES = dict.fromkeys(METHODS, 0.6) | {"paco_dlsa": 0.72}

Make = Callable[..., Measurement]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Make:
    """A measurement as it is read again: `made(benchmark, stand_in, ...)`."""
    folder = tmp_path_factory.mktemp("made")

    def make(
        benchmark: str = "inat18",
        stand_in: bool = False,
        shares: dict[str, float] = SHARES,
        counts: np.ndarray | None = None,
    ) -> Measurement:
        data = summary(benchmark, stand_in)
        rows = Comparison(
            section="table1",
            benchmark=benchmark,
            data="made",
            table=TABLE,
            labels={key: method.label for key, method in METHODS.items()},
            full="paco_dlsa",
            plain="paco",
            same_conditions=False,
        )
        counts = np.array(data["class_counts"]) if counts is None else counts
        alike = set(METHODS) - {"paco_dlsa"}
        tables = predicted(shares, LABELS, alike=alike)
        cells = table_cells(rows, tables, counts)
        about = {"start": "own_head", "features": "a PaCo network", "backbone": {}}
        measured = Measurement(
            section="table1",
            benchmark=benchmark,
            cells=cells,
            claims=table1_claims(cells, TABLE, benchmark, grade_of(data)),
            data=data,
            about=about | {"ce": {"features": "a small network", "backbone": {}}},
            details={
                "partial": ["the backbone is another"],
                "other_features": "their weights are PaCo's",
                "diagnostics": diagnostics(),
            },
        )
        return as_read(measured, folder)

    return make


def rows_of(text: str, label: str) -> list[list[str]]:
    """Cells of every table row of a page that starts with the label."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def test_rows_that_choose_nothing_stand_once_and_dlsas_under_both(made: Make) -> None:
    """Values, and differences under both protocols; six metrics, print, the verdict."""
    text, figures = page(made(), "iNaturalist18", "figures/x")
    assert text.startswith("> **iNaturalist18**, the paper's own benchmark.")
    values, *differences = rows_of(text, "LWS")
    assert len(differences) == 2 and len(values) == 2 * 6 + 1
    assert values[1::2][:4] == ["69.5", "71.0", "69.8", "68.8"]
    assert rows_of(text, "PaCo + BalSoftmax")[1][1::2][:6] == [
        "+1.0", "+1.5", "+1.1", "+0.8", "+1.6", "+0.2",
    ]  # fmt: skip
    full = TABLE.rows["paco_dlsa"].label
    assert len(rows_of(text, f"{full}, released code")) == 1
    assert "*partial*, because the backbone is another." in text
    assert (
        "not on the features that print has them on: their weights are PaCo's." in text
    )
    assert list(figures) == ["differences.svg"]
    assert "(figures/x/differences.svg)" in text
    assert page(made(), "iNaturalist18", "figures/x") == (text, figures)


@pytest.mark.parametrize(
    ("about", "first"),
    [
        ({"benchmark": "places_lt"}, "not the paper's iNaturalist18 with an ImageNet"),
        ({"stand_in": True}, "> **Stand-in data.** Made from drawn glyphs"),
    ],
)
def test_elsewhere_no_printed_number_stands_beside_ours(
    made: Make, about: dict, first: str
) -> None:
    text, figures = page(made(**about), "Elsewhere", "figures/x")
    assert first in text.splitlines()[0]
    assert "printed |" not in text and "*partial*" not in text
    assert ">printed<" not in figures["differences.svg"]


def test_the_finding_is_what_the_cells_say(made: Make) -> None:
    measured = made()
    (gap,) = (
        cell
        for cell in measured.cells
        if (cell.minus, cell.metric, cell.protocol) == ("paco", "overall", "paper")
    )
    loss = replace(gap, mean=-0.03, low=-0.04, high=-0.02, verdict="contradicted")
    cells = tuple(loss if cell is gap else cell for cell in measured.cells)
    text = finding(replace(measured, cells=cells))
    assert " Overall, a loss (−3.0 ± 1.0 points)" in text
    without = replace(measured, cells=tuple(c for c in cells if not c.minus))
    assert finding(without) == "DLSA was not run. DLSA was not run."


def test_an_empty_shot_group_is_not_a_number(made: Make) -> None:
    measured = made(counts=np.repeat([300, 60], 6))
    text, _ = page(measured, "iNaturalist18", "figures/x")
    assert rows_of(text, "cRT")[0][6] == "n/a"
    assert "| n/a | not run | n/a | not run |" in text
    assert "nan" not in text
    assert "not measured in Few" in finding(measured)


# --- the field's numbers


def anchored(epochs: int, augmentation: str = "cifar", **data: object) -> str:
    """The table for a cross-entropy network of some epochs, Overall 0.383."""
    ours = Cell(
        "table1", "cifar100_lt", "made", "ce", "CE", "overall", 0.383, 0.375, 0.391,
        "paper",
    )  # fmt: skip
    recipe = {"network": "resnet32_cifar", "epochs": epochs}
    about = {"backbone": recipe | {"augmentation": augmentation}}
    measured = Measurement(
        "table1",
        "cifar100_lt",
        (ours,),
        data={"stand_in": False, "imbalance_factor": 100} | data,
        about=about | {"ce": about},
    )
    return anchors_table(measured, read_anchors("cifar100_lt"))


def test_only_a_run_like_the_fields_is_comparable() -> None:
    """Length of training and augmentation are worth eight points together."""
    assert "| 38.3 | 38.3 ± 0.8 | yes |" in anchored(200)
    assert "| no: augmentation other than plain |" in anchored(200, "none")
    assert "no: 30 of 200 epochs" in anchored(30)
    other = anchored(30, imbalance_factor=10)
    assert "no: imbalance factor 10, 30 of 200 epochs" in other
    assert other.count("| not run | — |") == 6


def test_the_stand_in_and_other_benchmarks_have_no_anchors() -> None:
    assert anchored(200, stand_in=True) == ""
    assert read_anchors("inat18") is None
