"""settings: every setting beside the published one, and where the sources part."""

from dataclasses import asdict

from replication.core.files import read_json, read_yaml
from replication.core.scaling import Size
from replication.core.settings import STAND_IN, read_recipe, recipe_file
from replication.core.stage import OUTPUTS, Stage
from replication.sections.settings.experiment import (
    DISCREPANCIES,
    counts,
    looked_up,
    settings_in_use,
)
from replication.statistics.results import Measurement


def measure(stage: Stage) -> Measurement:
    """Settings of each benchmark, how many of them are guesses, discrepancies."""
    benchmarks = stage.settings.listed("benchmarks")
    for file in (DISCREPANCIES, *map(recipe_file, (*benchmarks, STAND_IN))):
        stage.reads(file)
    sizes = {name: _size(stage, name) for name in benchmarks}
    of_benchmark = {
        name: settings_in_use(stage.settings, name, size)
        for name, size in sizes.items()
    }
    in_use = [some for settings in of_benchmark.values() for some in settings]
    return Measurement(
        "settings",
        None,
        cells=tuple(
            cell for settings in of_benchmark.values() for cell in counts(settings)
        ),
        details={
            "recipes": {name: stage.settings.recipe(name) for name in benchmarks},
            "sizes": {name: asdict(size) for name, size in sizes.items()},
            "titles": {name: read_recipe(name)["title"] for name in benchmarks},
            "in_use": [asdict(some) for some in in_use],
            "discrepancies": looked_up(read_yaml(DISCREPANCIES), in_use),
        },
    )


def _size(stage: Stage, benchmark: str) -> Size:
    """Of the features that DLSA gets."""
    file = OUTPUTS / "sizes" / "paco" / f"{benchmark}.json"
    return Size(**read_json(stage.reads(file)))
