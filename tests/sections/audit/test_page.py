"""The audit's page: the supplement's tables as shipped, and one without a fault."""

from dataclasses import asdict

import pytest

from replication.core.settings import load
from replication.core.stage import Stage
from replication.published.reader import PublishedTable, Row
from replication.sections.audit.experiment import table_bounds
from replication.sections.audit.measure import measure
from replication.sections.audit.page import finding, page
from replication.sections.audit.printed import Design
from replication.statistics.results import Measurement
from tests.made import ROOT, as_read


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Measurement:
    """What the stage measures, as the page reads it."""
    folder = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return as_read(measure(Stage("audit", load())), folder)


def test_the_finding_names_the_impossible_row(shipped) -> None:
    assert finding(shipped) == (
        "One of the 10 printed rows is impossible. Table 1, PaCo + BalSoftmax: on a "
        "balanced test set MCC cannot be more than 0.004 points below Overall; this "
        "row prints it 0.7 below."
    )


def test_the_page_shows_bounds_and_differences(shipped) -> None:
    text, _ = page(shipped, "", "figures")
    lines = text.splitlines()
    assert (
        "| PaCo + BalSoftmax | 71.8 | 71.666 to 71.767 | 71.1 | 71.746 to 74.877 "
        "| **impossible** |"
    ) in lines
    row = "| cRT | **+4.6 ± 0.8** | +2.2 ± 2.4 | **+3.5 ± 1.1** | **+6.5 ± 1.3** |"
    assert row in lines


def test_a_table_without_a_fault_or_a_comparison(shipped) -> None:
    values = {"overall": 60.0, "many": 80.0, "medium": 60.0, "few": 40.0}
    table = PublishedTable(
        "A title", "Sect. 0", "small", tuple(values), {"a": Row("Row a", {}, values)}
    )
    bounds = table_bounds("table1", table, Design({200: 1, 50: 2, 5: 1}, 1000))
    about = {"table1": shipped.details["tables"]["table1"] | {"differences": []}}
    details = {"bounds": [asdict(bound) for bound in bounds], "tables": about}
    measured = Measurement("audit", None, details=details)
    assert finding(measured) == "None of the 1 printed rows is impossible."
    assert "minus each other row" not in page(measured, "", "figures")[0]
