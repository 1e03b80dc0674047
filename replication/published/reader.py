"""What the supplement prints, read: tables, sentences, and the field's numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from replication.core.files import read_yaml
from replication.core.settings import PUBLISHED, Count, Frozen, Positive, Row


@dataclass(frozen=True)
class PublishedTable:
    """One table of the supplement as printed.

    `defaults`: what its sentences say that the full model has where a row changes it.
    """

    title: str
    section: str
    benchmark: str
    metrics: tuple[str, ...]
    rows: Mapping[str, Row]
    defaults: Mapping[str, float] = field(default_factory=dict)


class Sentence(Frozen):
    """A sentence of the supplement that could be wrong.

    `quote` is print, `short` our words for it where they are not its test's, `printed`
    its number; `quantifier`: `every` where one clear case contradicts all of it;
    `why_not`: the reason, where no test can name it.
    """

    id: str
    section: str
    quote: str
    short: str = ""
    printed: str = ""
    quantifier: Literal["every"] | None = None
    why_not: str | None = None


class Anchor(Frozen):
    """A number that the field reports: top-1 in percent, and what it was trained with.

    `method`: the row of Table 1 that does the same; None where none does.
    """

    method: str | None
    label: str
    value: float
    epochs: Count
    augmentation: str


class Anchors(Frozen):
    """The field's numbers on one benchmark."""

    imbalance_factor: Positive
    network: str
    rows: list[Anchor]


def read_published_tables() -> dict[str, PublishedTable]:
    """Every table of the supplement as printed (percent)."""
    tables = {}
    for name, table in read_yaml(PUBLISHED / "tables.yaml").items():
        default = {"changes": {}, "defaults": table.get("defaults", {})}
        rows = {key: Row(**default | row) for key, row in table["rows"].items()}
        metrics = tuple(table["metrics"])
        tables[name] = PublishedTable(**table | {"rows": rows, "metrics": metrics})
    return tables


def read_published_claims() -> tuple[Sentence, ...]:
    """Every sentence of the supplement that could be wrong, in its order."""
    return tuple(
        Sentence.model_validate(sentence)
        for sentence in read_yaml(PUBLISHED / "claims.yaml")
    )


def read_anchors(benchmark: str) -> Anchors | None:
    """The field's numbers on a benchmark that the supplement has no table for."""
    numbers = read_yaml(PUBLISHED / "anchors.yaml").get(benchmark)
    return None if numbers is None else Anchors.model_validate(numbers)
