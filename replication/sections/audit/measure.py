"""audit: what the printed numbers can and cannot be, from the published files alone."""

from dataclasses import asdict

from replication.core.files import read_json
from replication.core.settings import PUBLISHED, read_recipe, recipe_file
from replication.core.stage import Stage
from replication.published.reader import read_published_tables
from replication.sections.audit.experiment import (
    best_row,
    differences,
    mcc_claims,
    table_bounds,
)
from replication.sections.audit.printed import design_of
from replication.statistics.results import Measurement


def measure(stage: Stage) -> Measurement:
    """Every bound and difference of every printed table."""
    counts = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    stage.reads(PUBLISHED / "tables.yaml")
    tables, bounds = {}, []
    for name, table in read_published_tables().items():
        design = design_of(table.benchmark, counts)
        stage.reads(recipe_file(table.benchmark))
        bounds += table_bounds(name, table, design)
        tables[name] = {
            "title": table.title,
            "section": table.section,
            "benchmark": read_recipe(table.benchmark)["title"],
            "classes": design.classes,
            "groups": design.groups,
            "test_per_class": design.test_per_class,
            "best": table.rows[best_row(table)].label,
            "differences": differences(table, design),
        }
    details = {"tables": tables, "bounds": [asdict(bound) for bound in bounds]}
    return Measurement("audit", None, claims=mcc_claims(bounds), details=details)
