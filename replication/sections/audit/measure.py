"""audit: what the printed numbers can and cannot be, from the published files alone."""

from fractions import Fraction

from replication.core.files import read_json, write_json
from replication.core.settings import PUBLISHED, read_recipe, recipe_file
from replication.core.stage import OUTPUTS, Stage, run
from replication.published.reader import read_published_tables
from replication.sections.audit.experiment import (
    STATED,
    audit_table,
    design_of,
    group_sizes,
    weight_finding,
)


def main(stage: Stage) -> None:
    """Write every finding, and what the objective weighs on each benchmark."""
    counts = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    stage.reads(PUBLISHED / "tables.yaml")
    tables = read_published_tables()
    designs = {benchmark: design_of(benchmark, counts) for benchmark in counts}
    for benchmark in {*designs, *(table.benchmark for table in tables.values())}:
        stage.reads(recipe_file(benchmark))
    findings, about = [], {}
    for name, table in tables.items():
        design = designs.get(table.benchmark) or design_of(table.benchmark, counts)
        findings += audit_table(name, table, design)
        about[name] = {
            "title": table.title,
            "section": table.section,
            "benchmark": read_recipe(table.benchmark)["title"],
            "classes": design.classes,
            "groups": group_sizes(design.histogram, STATED),
            "test_per_class": design.test_per_class,
        }
    weights = []
    for benchmark, design in designs.items():
        recipe = read_recipe(benchmark)
        exponent = Fraction(str(recipe["filter"]["weight_exponent"]["value"]))
        title = {"title": recipe["title"]}
        weights.append(title | weight_finding(design, exponent))
    write_json(
        OUTPUTS / "tables" / "audit.json",
        {"findings": findings, "weights": weights, "tables": about},
    )
    stage.finish()


if __name__ == "__main__":
    run(main, lambda: "audit")
