"""Disturbed stages: a few of each disturbance; `make faults` does them all."""

from pathlib import Path

import pytest

from tests.faults.project import LONG, Project, rewritten, undisturbed
from tests.faults.trials import Trials, plan

# Of each disturbance, the stages it is tried on here; cheap ones first.
TRIED = {
    "SIGKILL": LONG,
    "SIGINT": ("dlsa", "heads"),
    "full disk": ("features", "backbone ce", "decoupling"),
    "unwritable": ("heads", "backbone ce"),
    "damaged input": ("features", "heads"),
    "damaged state": ("backbone ce", "dlsa", "estimator"),
    "changed setting": ("heads", "estimator"),
    "twice at once": ("heads", "dlsa"),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Trials on copies of a project whose every stage has run once."""
    folder = tmp_path_factory.mktemp("faults")
    return Trials(undisturbed(folder / "project"), folder)


@pytest.mark.parametrize("fault", TRIED)
def test_disturbed_stage_ends_equal_or_refuses_in_one_line(trials, fault) -> None:
    outcomes = {
        name: trial(trials)
        for kind, name, trial in plan(trials.project, len(LONG), seed=1)
        if kind == fault and name in TRIED[fault]
    }
    assert set(outcomes) == set(TRIED[fault])
    assert [outcome for outcome in outcomes.values() if outcome.problem] == []


def test_law_is_broken_by_one_byte_more(trials, tmp_path: Path) -> None:
    """The comparison sees a result that is not the undisturbed one's."""
    project: Project = trials.project
    copy = project.without("heads", tmp_path / "copy")
    assert set(project.differences("heads", copy)) == {
        path for path in project.made["heads"] if "records" not in path
    }
    assert project.differences("dlsa", copy) == []
    path = next(path for path in project.made["dlsa"] if "predictions" in path)
    rewritten(copy / path, lambda whole: whole + b" ")
    assert project.differences("dlsa", copy) == [path]
