"""A table's Cells from made predictions, and the list of its rows."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, normalized_mutual_info_score

from replication.core.files import write_table
from replication.core.settings import load
from replication.core.stage import Stage
from replication.published.reader import read_published_tables
from replication.samples.metrics import accuracies
from replication.sections.rows import read_methods, read_predictions, table_cells
from replication.statistics.results import Cell
from tests.made import ROOT, basis, predicted

TABLES = read_published_tables()
TABLE = TABLES["table1"]
LABELS = np.repeat(np.arange(6), 50)
COUNTS = np.array([300, 200, 60, 40, 10, 5])
METHODS = read_methods("table1", TABLE)


def table_of(
    shares: Mapping[str, float],
    counts: np.ndarray = COUNTS,
    benchmark: str = "inat18",
    seeds: int = 3,
    **given: object,
) -> list[Cell]:
    """Table 1 of methods that are right for a share of the samples."""
    of, made = basis("table1", benchmark, counts), predicted(shares, LABELS, seeds)
    return list(table_cells(of, TABLE, METHODS, "paco_dlsa", made, **given))


def cells_of(dlsa: float = 0.5, **given: object) -> list[Cell]:
    """Every other method right for half of the samples."""
    return table_of(dict.fromkeys(METHODS, 0.5) | {"paco_dlsa": dlsa}, **given)


def chosen(cells: list[Cell], **wanted: object) -> list[Cell]:
    return [c for c in cells if all(getattr(c, k) == v for k, v in wanted.items())]


def test_a_value_is_the_mean_over_seeds_of_the_metric() -> None:
    """All six, the last two scikit-learn's, of every method under both protocols."""
    shares = dict.fromkeys(METHODS, 0.5) | {"paco_dlsa": 0.7}
    made = predicted(shares, LABELS)
    values = chosen(table_of(shares), minus=None)
    assert len(values) == len(METHODS) * 6 * 2
    for cell in values:
        rows = made[cell.method]
        expected = []
        for _, of_seed in rows[rows["protocol"] == cell.protocol].groupby("seed"):
            answers = of_seed["prediction"].to_numpy()
            metrics = accuracies(answers, LABELS, COUNTS) | {
                "mcc": matthews_corrcoef(LABELS, answers),
                "nmi": normalized_mutual_info_score(LABELS, answers),
            }
            expected.append(metrics[cell.metric])
        assert cell.per_seed == pytest.approx(expected)
        assert cell.mean == pytest.approx(np.mean(expected))
        assert cell.low < cell.mean < cell.high
        assert cell.p_value is None


def test_a_difference_is_the_full_row_minus_the_method_paired() -> None:
    """Seed for seed; p is below 5 % where the interval leaves zero out."""
    cells = cells_of(0.6)
    gaps = [cell for cell in cells if cell.minus]
    assert len(gaps) == (len(METHODS) - 1) * 6 * 2
    for gap in gaps:
        at = {"protocol": gap.protocol, "metric": gap.metric, "minus": None}
        (full,) = chosen(cells, method="paco_dlsa", **at)
        (other,) = chosen(cells, method=gap.minus, **at)
        assert (gap.method, gap.label) == ("paco_dlsa", other.label)
        pairs = zip(full.per_seed, other.per_seed, strict=True)
        assert gap.per_seed == pytest.approx([a - b for a, b in pairs])
        assert (gap.p_value < 0.05) == (gap.low > 0 or gap.high < 0)
        half = gap.high - gap.mean
        assert half < gap.detectable < 2.2 * half
    assert {gap.p_value < 0.05 for gap in gaps} == {True, False}


def test_print_stands_beside_the_rows_it_has_on_its_own_benchmark() -> None:
    """Sect. 6: MCC 71.1 -> 72.7; LWS and what stands beside print have none."""
    cells = chosen(cells_of(), metric="mcc", protocol="validated")
    (paco,) = chosen(cells, method="paco", minus=None)
    (gain,) = chosen(cells, minus="paco")
    assert (paco.printed, gain.printed) == (0.711, pytest.approx(0.016))
    for method in ("lws", "ce", "paco_refit"):
        (value,) = chosen(cells, method=method, minus=None)
        (gap,) = chosen(cells, minus=method)
        assert value.printed is gap.printed is value.verdict is None
    other = cells_of(benchmark="cifar100_lt")
    assert {cell.printed for cell in other} == {None}
    assert {cell.verdict for cell in chosen(other, minus=None)} == {None}


def test_rows_on_other_features_than_prints_are_partial() -> None:
    values = [c for c in cells_of(other={"lws"}) if c.printed and not c.minus]
    assert {cell.method for cell in values if cell.verdict == "partial"} == {"lws"}


def test_what_is_not_there_is_nan_or_left_out() -> None:
    few = chosen(cells_of(counts=np.array([300, 200, 60, 40, 50, 55])), metric="few")
    assert all(np.isnan(cell.mean) for cell in few)
    assert {cell.verdict for cell in few} == {"not run", None}
    assert {cell.minus for cell in table_of({"paco": 0.5, "lws": 0.5})} == {None}


def test_a_printed_row_that_is_not_listed_is_a_variant_of_dlsa() -> None:
    """A further ablation is one entry of tables.yaml."""
    table = TABLES["table2"]
    row = replace(table.rows["no_bal"], label="Depth 2")
    more = replace(table, rows={**table.rows, "depth_2": row})
    methods = read_methods("table2", more)
    assert methods["depth_2"].label == "Depth 2"
    assert methods["depth_2"].file == "paco/dlsa/depth_2/predictions.safetensors"
    for section in ("table1", "table2"):
        rows = read_methods(section, TABLES[section])
        assert TABLES[section].rows.keys() <= rows.keys()


def test_which_files_there_are_decides_which_rows(tmp_path: Path, refused) -> None:
    """Needed rows must be there; the head that is the start is no second row."""
    stage = Stage("table2@places_lt", load(ROOT / "params.yaml"))
    methods = read_methods("table2", TABLES["table2"])
    (made,) = predicted({"x": 0.5}, LABELS).values()
    for name in ("start", "own_head", "balanced_softmax"):
        write_table(tmp_path / methods[name].file, made)
    for start, expected in (
        ("own_head", ["start", "balanced_softmax"]),
        ("balanced_softmax", ["start", "own_head"]),
    ):
        given = (stage, tmp_path, methods, {"start"}, start)
        assert list(read_predictions(*given)) == expected
    missing = tmp_path / methods["full"].file
    assert refused(
        lambda: read_predictions(stage, tmp_path, methods, {"full"}, "own_head")
    ) == [f"{missing}: expected a file, found nothing; run: dvc repro"]
