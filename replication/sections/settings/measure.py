"""ledger: every setting beside the published one, and where the sources part."""

from replication.core.files import write_json
from replication.core.settings import read_recipe, recipe_file
from replication.core.stage import OUTPUTS, Stage, run
from replication.sections.settings.experiment import (
    DISCREPANCIES,
    read_discrepancies,
    resolved,
    settings_in_use,
)


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
