"""section: one section of the supplement, measured on one benchmark or on none.

`python -m replication.stages.section table1 inat18` calls `measure` of
`replication/sections/table1/measure.py` and writes what it returns.
"""

from importlib import import_module
from importlib.util import find_spec

from replication.core.files import BadInput
from replication.core.stage import OUTPUTS, Stage, run


def main(stage: Stage, section: str, benchmark: str | None = None) -> None:
    """Write outputs/tables/<benchmark>/<section>.json: Cells, Claims, figures' data."""
    if find_spec(f"replication.sections.{section}.measure") is None:
        raise BadInput(f"section: expected one of sections/, got {section!r}")
    module = import_module(f"replication.sections.{section}.measure")
    measured = module.measure(stage, *([] if benchmark is None else [benchmark]))
    target = OUTPUTS / "tables" / (benchmark or "") / f"{section}.json"
    measured.write(stage.makes(target))
    stage.finish()


def name(section: str, benchmark: str | None = None) -> str:
    """The stage's name in dvc.yaml."""
    return section if benchmark is None else f"{section}@{benchmark}"


if __name__ == "__main__":
    run(main, name)
