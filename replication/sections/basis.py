"""What a section measures on: a benchmark's data, and the artefacts behind it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from replication.core.files import read_json
from replication.core.stage import OUTPUTS, Stage
from replication.statistics.results import (
    Cell,
    Claim,
    Measurement,
    data_in_words,
    grade_of,
    without_names,
)


@dataclass(frozen=True)
class Basis:
    """A section on a benchmark: what its Cells, Claims and Measurement have in common.

    Fields: `data`, the summary that `prepare` wrote; `about`, facts of the artefacts.
    """

    section: str
    benchmark: str
    data: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def train_counts(self) -> np.ndarray:
        """(C,) training images of each class."""
        return np.array(self.data["class_counts"])

    def cell(self, **fields: Any) -> Cell:
        """A Cell of this section, benchmark and data."""
        about = {"section": self.section, "benchmark": self.benchmark}
        return Cell(**about, data=data_in_words(self.data), **fields)

    def claim(self, **fields: Any) -> Claim:
        """A Claim of this section and benchmark, with the grade of its evidence."""
        about = {"section": self.section, "benchmark": self.benchmark}
        return Claim(**about, grade=grade_of(self.data, self.about), **fields)

    def measured(
        self,
        cells: Iterable[Cell],
        claims: Iterable[Claim],
        details: Mapping[str, Any],
        decisions: Mapping[str, Any] | None = None,
    ) -> Measurement:
        """What the section writes."""
        return Measurement(
            self.section,
            self.benchmark,
            tuple(cells),
            tuple(claims),
            without_names(self.data),
            self.about,
            details,
            decisions,
        )


def read_data(stage: Stage, benchmark: str) -> dict[str, Any]:
    """The summary of a benchmark's data."""
    return read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))


def read_basis(
    stage: Stage, section: str, benchmark: str, *artefacts: str, **facts: Any
) -> Basis:
    """The basis of a section; `facts` are added to those of the artefacts.

    Settings that were read before are among those that it counts as behind a number.

    Args:
        artefacts: folders below outputs/<benchmark>/ that state facts.
    """
    about = stage.about(*(OUTPUTS / benchmark / artefact for artefact in artefacts))
    return Basis(section, benchmark, read_data(stage, benchmark), about | facts)
