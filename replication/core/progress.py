"""How far a long job is: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

Tell = Callable[[int, int, Mapping[str, float]], None]
_QUIET_SECONDS = 10.0


@contextmanager
def progress(what: str) -> Iterator[Tell]:
    """Show how far a long job is: a bar on a terminal, a line now and then in a log.

    Yields a function told (step from 0, steps, metrics) after each step.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(),
        transient=True,
    )
    said = time.monotonic()

    def tell(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        nonlocal said
        text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if bar.console.is_terminal:
            bar.update(task, completed=step + 1, total=steps, metrics=text)
        elif time.monotonic() - said > _QUIET_SECONDS or step + 1 == steps:
            said = time.monotonic()
            print(f"{what}: {step + 1}/{steps}  {text}", flush=True)

    with bar:
        task = bar.add_task(what, total=None, metrics="")
        yield tell
