"""section: one section of the supplement, measured on one benchmark or on none.

`python -m replication.stages.section table1 inat18` calls `measure` of
`replication/sections/table1/measure.py` and writes what it returns.
"""

import inspect
from importlib import import_module
from types import ModuleType

from replication.core.files import BadInput
from replication.core.record import PACKAGE
from replication.core.stage import OUTPUTS, Stage, run


def main(stage: Stage, section: str, benchmark: str | None = None) -> None:
    """Write outputs/tables/<benchmark>/<section>.json: Cells, Claims, figures' data."""
    measured = _module(section).measure(stage, *filter(None, [benchmark]))
    target = OUTPUTS / "tables" / (benchmark or "") / f"{section}.json"
    measured.write(stage.makes(target))
    stage.finish()


def name(section: str, benchmark: str | None = None) -> str:
    """The stage's name in dvc.yaml.

    Asked before the stage begins, so that what measures is among the code it records.
    """
    takes_benchmark = len(inspect.signature(_module(section).measure).parameters) == 2
    if takes_benchmark != (benchmark is not None):
        expected = "a benchmark" if takes_benchmark else "no benchmark"
        raise BadInput(f"section {section}: expected {expected}, got {benchmark}")
    return section if benchmark is None else f"{section}@{benchmark}"


def _module(section: str) -> ModuleType:
    """What measures a section."""
    known = sorted(path.parent.name for path in PACKAGE.glob("sections/*/measure.py"))
    if section not in known:
        expected = ", ".join(known)
        raise BadInput(f"section: expected one of {expected}, got {section!r}")
    return import_module(f"replication.sections.{section}.measure")


if __name__ == "__main__":
    run(main, name)
