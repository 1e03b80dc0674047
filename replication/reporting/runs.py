"""A run on real data: this one, or one that was kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from replication.statistics.results import Cell, Claim, Grade, pick

# Rows of Table 2 -> the claim that asks about the difference.
COMPARED = {
    "start": "gain_overall",
    "plain": "cascade_helps",
    "balanced_softmax": "over_refitted",
}
# Table 1's rows of that kind.
_IN_TABLE_1 = {
    "paco_dlsa": "full",
    "paco": "start",
    "paco_plain": "plain",
    "paco_refit": "balanced_softmax",
}
# Sections and settings of params.yaml that are DLSA's own.
OF_DLSA = {
    *("lambda_mle", "lambda_bal", "lambda_pure", "num_clusters", "sigma"),
    *("filter", "cascade", "classifier"),
}
_CHANCE = 0.5  # AUROC of a filter that knows nothing


@dataclass(frozen=True)
class RealRun:
    """A run on real data.

    Fields: `title` of the benchmark; `features` in words; `grade` of evidence; `link`
    to its pages; `cells` and `claims` of Table 2, or of Table 1 where it has no other,
    by Table 2's rows; `ladder`, its cells; `changed`, its settings that are not the
    recipe's; `backbone`, the seed of its network's training; of a kept run the `source`
    of its features.
    """

    title: str
    features: str
    grade: Grade
    link: str
    cells: Sequence[Cell]
    claims: Sequence[Claim]
    ladder: Sequence[Cell] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)
    backbone: int = 0
    source: str = ""

    @classmethod
    def of(
        cls,
        benchmark: str,
        cells: Iterable[Cell],
        claims: Iterable[Claim],
        **about: Any,
    ) -> Self:
        """By all Cells and Claims that there are; `about`: the other fields."""
        cells = [cell for cell in cells if cell.benchmark == benchmark]
        measured = {cell.section for cell in cells}
        table = "table2" if "table2" in measured else "table1"
        rows = [
            replace(
                cell,
                method=_IN_TABLE_1.get(cell.method, cell.method),
                minus=_IN_TABLE_1.get(cell.minus, cell.minus),
            )
            for cell in cells
            if cell.section == table
        ]
        asked = [c for c in claims if (c.benchmark, c.section) == (benchmark, table)]
        ladder = [cell for cell in cells if cell.section == "ladder"]
        return cls(cells=rows, claims=asked, ladder=ladder, **about)

    @property
    def name(self) -> str:
        """Data and network, which tell runs apart: `PlanktonSet, resnet50, frozen`."""
        frozen = ", frozen" if ", frozen" in self.features else ""
        again = f", seed {self.backbone}" if self.backbone else ""
        return f"{self.architecture}{frozen}{again}"

    @property
    def architecture(self) -> str:
        """Data and network, however it was trained."""
        network = self.features.removeprefix("a ").split()[0].strip(",")
        return f"{self.title}, {network}"

    @property
    def settings(self) -> str:
        """Whose the settings are; which of DLSA's are others; how many seeds."""
        said = [self.grade.removeprefix("real data, ")]
        said += [
            f"{key} {value}"
            for key, value in self.changed.items()
            if key.split(".")[0] in OF_DLSA
        ]
        return ", ".join([*said, f"{self.seeds} seeds"] if self.seeds else said)

    @property
    def seeds(self) -> int:
        """How many there are; 0 where DLSA was not measured."""
        full = self.value("full")
        return len(full.per_seed) if full else 0

    def auroc(self, split: str, protocol: str = "validated") -> Cell | None:
        """Of the first filter's log P(x), Few against Many, on a split."""
        at = {"metric": "auroc", "at": f"depth 1, {split}", "minus": None}
        cell = pick(self.ladder, protocol=protocol, **at)
        return cell if cell and cell.low is not None else None

    @property
    def separates(self) -> bool:
        """Whether its first filter's last epoch ranks Few above Many where fitted."""
        train = self.auroc("train")
        return train is None or train.low > _CHANCE

    def gap(self, minus: str, protocol: str) -> Cell | None:
        """DLSA minus another row in Overall."""
        wanted = {"method": "full", "minus": minus, "metric": "overall"}
        return pick(self.cells, protocol=protocol, **wanted)

    def value(self, method: str, protocol: str = "validated") -> Cell | None:
        """Overall of a row."""
        wanted = {"method": method, "minus": None, "metric": "overall"}
        return pick(self.cells, protocol=protocol, **wanted)

    def difference(self, method: str, minus: str, protocol: str) -> float | None:
        """One row's Overall less another's: rows of the table, or of the ladder."""
        values = [self._overall(row, protocol) for row in (method, minus)]
        return None if None in values else values[0] - values[1]

    def _overall(self, row: str, protocol: str) -> float | None:
        """Of what stands beside DLSA the ladder has the difference alone."""
        wanted = {"metric": "overall", "protocol": protocol, "method": row}
        if cell := pick([*self.cells, *self.ladder], minus=None, **wanted):
            return cell.mean
        full, beside = (
            self.value("full", protocol),
            pick(self.ladder, minus="drawn", **wanted),
        )
        return full.mean + beside.mean if full and beside else None
