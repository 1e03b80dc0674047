"""The one data model of results: a Cell is a number, a Claim a tested sentence.

A section measures Cells and Claims; pages show them, `results/` lists them, and nothing
else carries a number from one folder to another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

import pandas as pd
from pandas.api.types import is_any_real_numeric_dtype

from replication.core.files import read_json, write_json
from replication.statistics.intervals import Estimate

Protocol = Literal["validated", "as_released"]
PROTOCOLS: tuple[Protocol, ...] = ("validated", "as_released")
Grade = Literal[
    "paper's data",
    "real data, scaled",
    "real data, verbatim",
    "stand-in",
    "none needed",
]
GRADES: tuple[Grade, ...] = get_args(Grade)
# What a benchmark's settings are -> what its data then is evidence of.
_GRADE_OF: Mapping[str, Grade] = {
    "published": "paper's data",
    "scaled": "real data, scaled",
    "verbatim": "real data, verbatim",
}


@dataclass(frozen=True)
class Cell:
    """One number with its interval: a method's metric, or a paired difference.

    Fields:
        section: folder in `sections/` that measured it.
        benchmark, data: what it was measured on; `data` is `stand-in`, or the input and
            its hash; None and `none needed` for algebra and simulations.
        method, label: the row, by key and in words.
        metric: overall, many, medium, few, mcc, nmi, or the section's own.
        protocol: None where both share it.
        minus: the method that is subtracted, same samples and seeds; None for a value.
        at: the point of a sweep, such as `p=0.7`; empty where there is none.
        printed: in the unit of `mean`; None where the paper prints none.
        mean, low, high: estimate and 95 % interval; fractions, or in `unit`.
        per_seed: the values whose mean it is.
        seed_variance, test_variance, freedom: of the interval (`Estimate`).
        p_value, detectable: of a difference, against 0.
        verdict: on a printed number, or on a difference.
    """

    section: str
    benchmark: str | None
    data: str
    method: str
    label: str
    metric: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    protocol: str | None = None
    minus: str | None = None
    at: str = ""
    printed: float | None = None
    unit: str = "fraction"
    per_seed: tuple[float, ...] = ()
    seed_variance: float | None = None
    test_variance: float | None = None
    freedom: float | None = None
    p_value: float | None = None
    detectable: float | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Claim:
    """A sentence that could be wrong, and what was found.

    Fields:
        id: of the test, unique within a section, benchmark and protocol.
        sentence: id of the supplement's sentence in `published/claims.yaml`; None where
            the test belongs to no printed sentence.
        section: folder in `sections/` that tested it; `place` is the supplement's,
            such as Sect. 7.
        statement, test: what was tested, and how, in words.
        benchmark, grade: what stands behind it; None and `none needed` for algebra.
        protocol: None where both share it.
        mean, low, high: estimate and 95 % interval, in `unit`.
        p_value: two-sided, against 0; None where the test has none.
        detectable: the least difference that the run could have told from 0.
        reading: of the sentence, where it can be read in two ways; else empty.
        caveat: what a reader of the verdict must know beside it; else empty.
        holm: p-value as it counts among all tests of all sections (`corrected`).
    """

    id: str
    sentence: str | None
    section: str
    place: str
    statement: str
    test: str
    benchmark: str | None
    grade: Grade
    verdict: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    protocol: str | None = None
    unit: str = "points"
    p_value: float | None = None
    detectable: float | None = None
    reading: str = ""
    caveat: str = ""
    holm: float | None = None


@dataclass(frozen=True)
class Measurement:
    """What one section found on one benchmark (None: on none).

    Fields: `data`, the summary that `prepare` wrote, less the class names; `about`,
    facts of the artefacts behind it (features, source, settings, departures from the
    recipe); `details`, what only the section's own page reads: figures' data;
    `decisions`, of each method on each test image, as `statistics.moves` packs them.
    """

    section: str
    benchmark: str | None
    cells: tuple[Cell, ...] = ()
    claims: tuple[Claim, ...] = ()
    data: Mapping[str, Any] | None = None
    about: Mapping[str, Any] | None = None
    details: Mapping[str, Any] | None = None
    decisions: Mapping[str, Any] | None = None

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote."""
        raw = read_json(path)
        cells = tuple(
            Cell(**cell | {"per_seed": tuple(cell["per_seed"])})
            for cell in raw["cells"]
        )
        claims = tuple(Claim(**claim) for claim in raw["claims"])
        return cls(**raw | {"cells": cells, "claims": claims})


def estimated(ours: Estimate) -> dict[str, Any]:
    """An estimate as fields of a Cell."""
    names = ("mean", "low", "high", "per_seed", "seed_variance", "test_variance")
    return {name: getattr(ours, name) for name in (*names, "freedom")}


def grade_of(data: Mapping[str, Any], about: Mapping[str, Any]) -> Grade:
    """What kind of evidence a benchmark's data is, under the settings at hand.

    Args:
        data: the summary that `prepare` wrote.
        about: facts of the artefacts behind a number, with `recipe`: published where
            the paper has settings for this benchmark, scaled or verbatim elsewhere.
    """
    return "stand-in" if data["stand_in"] else _GRADE_OF[about["recipe"]]


def data_in_words(data: Mapping[str, Any]) -> str:
    """`stand-in`, or the kind of input and its hash."""
    return "stand-in" if data["stand_in"] else f"{data['input']} {data['hash']}"


def without_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """A data summary less its class names: up to 8,142 of them."""
    return {key: value for key, value in data.items() if key != "class_names"}


def pick(cells: Iterable[Cell], **wanted: Any) -> Cell | None:
    """The first cell with these fields, or None."""
    for cell in cells:
        if all(getattr(cell, name) == value for name, value in wanted.items()):
            return cell
    return None


def as_table(results: Sequence[Cell] | Sequence[Claim], kind: type) -> pd.DataFrame:
    """A row a result; seeds' values in one column, separated by spaces.

    A word that is not there is empty, a number that is not there NaN.
    """
    rows = [asdict(result) for result in results]
    for row in rows:
        if "per_seed" in row:
            seeds = ("nan" if v is None else repr(float(v)) for v in row["per_seed"])
            row["per_seed"] = " ".join(seeds)
    table = pd.DataFrame(rows, columns=[field.name for field in fields(kind)])
    words = [name for name in table if not is_any_real_numeric_dtype(table[name])]
    return table.fillna(dict.fromkeys(words, ""))
