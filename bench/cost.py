"""What a whole table costs on each device: steps times measured steps, or a rehearsal.

Times are of a device's results file; sizes are the published recipes' and counts'.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from replication.core.files import read_json
from replication.core.settings import PUBLISHED, read_recipe
from replication.published.reader import read_published_tables
from replication.reporting.tables import markdown_table

# Forward passes that an image costs: a gradient counts as two, and PaCo's keys pass
# forward once more.
_TRAIN_PASSES = {"ce": 3, "paco": 4}
_LAYERS = {"resnet50": 50, "resnet152": 152}
_DIMENSIONS = 2048

Row = Mapping[str, Any]
_REHEARSED = {
    "inat18": "iNaturalist 2018, to Table 1",
    "places_lt": "Places-LT, to Table 2",
}
_HOW = """\
**Estimates** for one seed: what the published recipe asks for, times what a pair, a row
and an image were measured to take at the true D, K and C. *Filters*: ceil(N / B) steps
an epoch and a reading of all samples after each, every depth. *Classifiers*: rows an
epoch, every depth, both protocols. *Backbones*: images, epochs and passes, 3 an image
for cross-entropy (a gradient counts as two), 4 for PaCo (its keys pass once more). Left
out: cRT and LWS, Fig. 2's linear classifiers, decoding images, files, evaluation. Table
2's variants are all taken at K = 500. `make bench`; a whole chain ran only where a
rehearsal stands below.
"""


class Cost(NamedTuple):
    """Seconds of a table's parts; the first two need cached features alone."""

    filters: float
    classifiers: float
    features: float
    backbones: float


class Rates(NamedTuple):
    """Measured seconds of one pair, row or image."""

    pair: float
    read_row: float
    aided_row: float
    plain_row: float
    image: float


def parts(
    measured: Sequence[Mapping[str, Any]], rehearsals: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Every device's estimates, then the rehearsals at true size."""
    lines = ["## What a whole table costs\n", _HOW]
    header = ("Table", "Filters", "Classifiers", "From cached features", "Features",
              "Backbones")  # fmt: skip
    for device in measured:
        rows = [
            [title, *map(duration, (cost[0], cost[1], cost[0] + cost[1], *cost[2:]))]
            for title, cost in estimates(device["figures"]).items()
        ]
        machine = device["machine"]
        lines.append(f"{machine['device']}, {machine['date']}:\n")
        lines.append(markdown_table(header, rows) + "\n")
    return [*lines, *map(_rehearsal, rehearsals)]


def estimates(figures: Sequence[Row]) -> dict[str, Cost]:
    """Each of the paper's tables that the figures suffice for."""
    variants = len(read_published_tables()["table2"].rows)
    made = {}
    for title, benchmark, objectives, cascades in (
        ("Table 1 (iNaturalist 2018)", "inat18", ("paco", "ce"), 1),
        ("DLSA on ImageNet-LT", "imagenet_lt", ("paco",), 1),
        (f"Table 2 (Places-LT), {variants} variants", "places_lt", ("paco",), variants),
        ("σ on Places-LT, each value tried", "places_lt", (), 1),
    ):
        rates = rates_of(figures, benchmark)
        if rates is not None:
            made[title] = Cost(
                *dlsa_seconds(benchmark, rates, cascades),
                *image_seconds(benchmark, rates, objectives),
            )
    rates = rates_of(figures, "inat18")
    if rates is not None:
        made["Fig. 2 (iNaturalist 2018)"] = Cost(0, 0, *fig2_seconds(rates))
    return made


def rates_of(figures: Sequence[Row], benchmark: str) -> Rates | None:
    """Measured times at a benchmark's D, K, C and batch; None where one is missing."""
    recipe = read_recipe(benchmark)
    layers = _LAYERS[recipe["backbone"]["network"]["value"]]
    classes = {"D": _DIMENSIONS, "C": recipe["classes"]}

    def each(name: str, size: Mapping[str, int], of: str) -> float | None:
        """Seconds of one of the figure's N or B."""
        for row in figures:
            if row["name"] == name and size.items() <= row["size"].items():
                return row["ways"]["suite"]["seconds"] / row["size"][of]
        return None

    rates = (
        each("filter step", {"D": _DIMENSIONS}, "B"),
        each("likelihood pass", {"D": _DIMENSIONS}, "N"),
        each("aided epoch", classes, "N"),
        each("plain epoch", classes, "N"),
        each("extraction", {"layers": layers}, "B"),
    )
    return None if None in rates else Rates(*rates)


def images_of(benchmark: str) -> tuple[int, int]:
    """Training and test images, as published."""
    known = read_json(PUBLISHED / "class_counts.json")[benchmark]
    return known["images"], known["classes"] * known["test_per_class"]


def dlsa_seconds(benchmark: str, rates: Rates, cascades: int) -> tuple[float, float]:
    """Filters of every depth, and classifiers of both protocols."""
    recipe, (train, test) = read_recipe(benchmark), images_of(benchmark)
    cascade, fitting = recipe["cascade"], recipe["filter"]
    share, depth = cascade["leaving_share"]["value"], cascade["depth"]["value"]
    epochs, batch = fitting["epochs"]["value"], fitting["batch_size"]["value"]
    remain = [train * (1 - share) ** level for level in range(depth)]
    pairs = sum(-(-rows // batch) for rows in remain) * batch * epochs
    read = sum(remain) * epochs + depth * (train + test)
    rounds = 2 * recipe["classifier"]["epochs"]["value"]
    aided, plain = share * sum(remain), train * (1 - share) ** depth
    filters = pairs * rates.pair + read * rates.read_row
    classifiers = rounds * (aided * rates.aided_row + plain * rates.plain_row)
    return cascades * filters, cascades * classifiers


def image_seconds(
    benchmark: str, rates: Rates, objectives: Sequence[str]
) -> tuple[float, float]:
    """Features and backbones; both are skipped where features are given."""
    recipe, (train, test) = read_recipe(benchmark), images_of(benchmark)
    passes = sum(
        train * recipe[kind]["epochs"]["value"] * _TRAIN_PASSES[kind]
        for kind in objectives
    )
    return len(objectives) * (train + test) * rates.image, passes * rates.image


def fig2_seconds(rates: Rates) -> tuple[float, float]:
    """Testing, and a network for each of two groups, together all images, for each p.

    The first boundary's; the others have linear classifiers, which cost little.
    """
    recipe, (train, test) = read_recipe("inat18")["fig2"], images_of("inat18")
    runs = len(recipe["probabilities"]["value"])
    passes = train * recipe["epochs"]["value"] * _TRAIN_PASSES["ce"]
    return runs * test * rates.image, runs * passes * rates.image


def _rehearsal(ran: Mapping[str, Any]) -> str:
    """Stages as they ran, whole, on synthetic features."""
    size = ran["size"]
    rows = [
        [stage["stage"], duration(stage["seconds"]), f"{stage['peak_mb']:,.0f}"]
        for stage in ran["stages"]
    ]
    seconds = sum(stage["seconds"] for stage in ran["stages"])
    total = ["**all of these**", f"**{duration(seconds)}**", ""]
    machine = ran["machine"]
    left = [f"Not run there: {', '.join(ran['left'])}.\n"] if ran["left"] else []
    load = max(stage["load"] for stage in ran["stages"])
    busy = [
        f"> **The machine was busy** (up to {load} processes on {machine['cores']} "
        "cores): times are too long, memory is not.\n"
    ]
    parts = [
        f"### Rehearsal of {_REHEARSED[ran['benchmark']]}: {machine['device']}, "
        f"{machine['date']}\n",
        # Its own threads are among the processes that the system counts.
        *(busy if load > machine["threads"] + 0.5 else []),
        f"Measured: the real stages on synthetic features, {size['train']:,} training "
        f"and {size['test']:,} test samples × {size['D']:,}, {size['C']:,} classes; "
        f"the features of the training split alone are "
        f"{size['train'] * size['D'] * 4 / 2**20:,.0f} MB. {ran['settings']}. Memory: "
        "the peak of a stage's largest process, file pages that it maps included. "
        "`make rehearse`\n",
        markdown_table(("Stage", "Time", "Peak memory, MB"), [*rows, total]) + "\n",
        *left,
    ]
    return "\n".join(parts)


def duration(seconds: float) -> str:
    """In the unit that a person plans with."""
    if not seconds:
        return "none"
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"
