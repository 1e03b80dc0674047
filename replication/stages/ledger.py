"""ledger: every setting beside the published one, and where the sources part."""

from replication.evaluation.ledger import (
    DISCREPANCIES,
    read_discrepancies,
    resolved,
    settings_in_use,
)
from replication.files import write_json
from replication.settings import read_recipe, recipe_file
from replication.stages.running import OUTPUTS, Stage, run


def main(stage: Stage) -> None:
    """Write ledger.json: settings of each benchmark, titles, discrepancies."""
    benchmarks = stage.settings.listed("benchmarks")
    for file in (DISCREPANCIES, *map(recipe_file, benchmarks)):
        stage.reads(file)
    in_use = {name: settings_in_use(stage.settings, name) for name in benchmarks}
    write_json(
        OUTPUTS / "tables" / "ledger.json",
        {
            "benchmarks": in_use,
            "titles": {name: read_recipe(name)["title"] for name in benchmarks},
            "order": benchmarks,
            "discrepancies": resolved(read_discrepancies(), in_use),
        },
    )
    stage.finish()


if __name__ == "__main__":
    run(main, lambda: "ledger")
