"""What a whole table costs on each device: measured, or steps times measured steps.

The page names the formula of every number. Times are of a device's results file; sizes
are the published recipes' and counts'.
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


class Part(NamedTuple):
    """One part of a table's cost: `times` repetitions of `formula` = `seconds`."""

    name: str
    formula: str
    seconds: float
    needs_images: bool


class Rates(NamedTuple):
    """Measured seconds of one step, row or image."""

    filter_step: float
    read_row: float
    aided_row: float
    plain_row: float
    image: float


_HOW = """\
**Estimates**: steps by the published recipe, times a step measured at the true D, K, C
and batch; the formula stands in each row. One seed; what is fitted once a seed costs as
many times more. Training a backbone is taken as forward passes: 3 an image for
cross-entropy (a gradient counts as two), 4 for PaCo (its keys pass once more). Left
out: cRT and LWS, Fig. 2's linear classifiers, decoding images, files, evaluation. Table
2's variants are all taken at K = 500. `make bench`; a whole chain ran only where a
rehearsal stands below.
"""


def page(
    found: Mapping[str, Mapping[str, Any]], rehearsals: Sequence[Mapping[str, Any]]
) -> str:
    """Every device's estimates, then the rehearsals at true size."""
    lines = ["# What it costs\n", *summary(found), _HOW]
    for one in found.values():
        if one["quick"]:
            continue
        lines.append(f"## {one['machine']['device']}, {one['machine']['date']}\n")
        for title, parts in tables_of(one["figures"]):
            lines += [f"### {title}\n", _table(parts)]
    for one in rehearsals:
        lines += _rehearsal(one)
    return "\n".join(lines)


def summary(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each device's tables from cached features, a sentence."""
    lines = []
    for one in found.values():
        if not one["quick"] and (tables := tables_of(one["figures"])):
            totals = [
                f"{title} {duration(sum(part.seconds for part in parts))}"
                for title, every in tables
                if (parts := [part for part in every if not part.needs_images])
            ]
            lines.append(
                f"On {one['machine']['device']}, from cached features, one seed: "
                f"{'; '.join(totals)}.\n"
            )
    return lines


def tables_of(figures: Sequence[Row]) -> list[tuple[str, list[Part]]]:
    """Title -> parts of each of the paper's tables that the figures suffice for."""
    made = []
    for title, benchmark, variants, sigmas in (
        ("Table 1 (iNaturalist 2018)", "inat18", 1, 0),
        ("DLSA on ImageNet-LT", "imagenet_lt", 1, 0),
        ("Table 2 (Places-LT), six variants", "places_lt", _variants(), 0),
        ("σ on Places-LT, each value tried", "places_lt", 0, 1),
    ):
        rates = rates_of(figures, benchmark)
        if rates is None:
            continue
        fits = variants + sigmas
        parts = [
            *(parts_of_images(benchmark, rates, figures) if variants else []),
            *parts_of_dlsa(benchmark, rates, fits),
        ]
        made.append((title, parts))
        if benchmark == "inat18":
            made.append(("Fig. 2 (iNaturalist 2018)", parts_of_fig2(rates)))
    return made


def _variants() -> int:
    """Rows of Table 2, a cascade each."""
    return len(read_published_tables()["table2"].rows)


def rates_of(figures: Sequence[Row], benchmark: str) -> Rates | None:
    """Measured times at a benchmark's D, K, C and batch; None where one is missing."""
    recipe = read_recipe(benchmark)
    layers = _LAYERS[recipe["backbone"]["network"]["value"]]
    classes = {"D": _DIMENSIONS, "C": recipe["classes"]}
    step = _row(
        figures,
        "filter step",
        {"D": _DIMENSIONS, "B": recipe["filter"]["batch_size"]["value"]},
    )
    read = _row(figures, "likelihood pass", {"D": _DIMENSIONS})
    aided = _row(figures, "aided epoch", classes)
    plain = _row(figures, "plain epoch", classes)
    images = _row(figures, "extraction", {"layers": layers})
    if not (step and read and aided and plain and images):
        return None
    return Rates(
        _seconds(step),
        _seconds(read) / read["size"]["N"],
        _seconds(aided) / aided["size"]["N"],
        _seconds(plain) / plain["size"]["N"],
        _seconds(images) / images["size"]["B"],
    )


def _row(figures: Sequence[Row], name: str, size: Mapping[str, int]) -> Row | None:
    for row in figures:
        if row["name"] == name and size.items() <= row["size"].items():
            return row
    return None


def _seconds(row: Row) -> float:
    return row["ways"]["suite"]["seconds"]


def sizes_of(benchmark: str) -> tuple[int, int]:
    """Training and test images, as published."""
    known = read_json(PUBLISHED / "class_counts.json")[benchmark]
    return known["images"], known["classes"] * known["test_per_class"]


def parts_of_images(benchmark: str, rates: Rates, figures: Sequence[Row]) -> list[Part]:
    """Backbones and features; both are skipped where features are given."""
    recipe, (train, test) = read_recipe(benchmark), sizes_of(benchmark)
    kinds = ("paco", "ce") if benchmark == "inat18" else ("paco",)
    parts = []
    for kind in kinds:
        epochs, passes = recipe[kind]["epochs"]["value"], _TRAIN_PASSES[kind]
        words = f"{train:,} images × {epochs} epochs × {passes} passes × "
        seconds = train * epochs * passes * rates.image
        name = f"training the backbone ({kind})"
        parts.append(Part(name, words + _short(rates.image), seconds, True))
    number = len(kinds) * (train + test)
    words = f"{number:,} images × {_short(rates.image)}"
    return [*parts, Part("features", words, number * rates.image, True)]


def parts_of_dlsa(benchmark: str, rates: Rates, fits: int) -> list[Part]:
    """Filters of every depth and classifiers of both protocols, `fits` times over."""
    recipe, (train, test) = read_recipe(benchmark), sizes_of(benchmark)
    cascade, fitting = recipe["cascade"], recipe["filter"]
    share, depth = cascade["leaving_share"]["value"], cascade["depth"]["value"]
    epochs, batch = fitting["epochs"]["value"], fitting["batch_size"]["value"]
    remain = [train * (1 - share) ** level for level in range(depth)]
    steps = sum(-(-rows // batch) for rows in remain) * epochs * fits
    read = (sum(remain) * epochs + depth * (train + test)) * fits
    rounds = 2 * recipe["classifier"]["epochs"]["value"] * fits
    aided = sum(share * rows for rows in remain) * rounds
    plain = train * (1 - share) ** depth * rounds
    return [
        Part(name, f"{number:,.0f} {unit} × {_short(rate)}", number * rate, False)
        for name, number, unit, rate in (
            ("Flow Filters, steps", steps, "steps", rates.filter_step),
            ("Flow Filters, reading", read, "rows", rates.read_row),
            (
                "cluster-aided classifiers, both protocols",
                aided,
                "rows",
                rates.aided_row,
            ),
            ("plain classifiers, both protocols", plain, "rows", rates.plain_row),
        )
    ]


def parts_of_fig2(rates: Rates) -> list[Part]:
    """A network for each of two groups, together all images, for each p.

    A group's network sees its own images alone, so that both together see all once. The
    other boundaries have linear classifiers, which cost little beside them.
    """
    recipe, (train, test) = read_recipe("inat18")["fig2"], sizes_of("inat18")
    runs = len(recipe["probabilities"]["value"])  # networks: at the first boundary
    epochs, passes = recipe["epochs"]["value"], _TRAIN_PASSES["ce"]
    return [
        Part(
            "training, every p, the first boundary",
            f"{runs} × {train:,} images × {epochs} epochs × {passes} passes × "
            f"{_short(rates.image)}",
            runs * train * epochs * passes * rates.image,
            True,
        ),
        Part(
            "testing",
            f"{runs} × {test:,} images × {_short(rates.image)}",
            runs * test * rates.image,
            True,
        ),
    ]


def _table(parts: Sequence[Part]) -> str:
    rows = [[part.name, part.formula, duration(part.seconds)] for part in parts]
    rows.append(["**all**", "", f"**{duration(sum(p.seconds for p in parts))}**"])
    without = [part for part in parts if not part.needs_images]
    if without and len(without) < len(parts):
        total = duration(sum(part.seconds for part in without))
        rows.append(["**from cached features**", "", f"**{total}**"])
    return markdown_table(("Part", "Steps × measured", "Time"), rows, words=2) + "\n"


def _rehearsal(one: Mapping[str, Any]) -> list[str]:
    """Stages as they ran, whole, on synthetic features."""
    size = one["size"]
    rows = [
        [stage["stage"], duration(stage["seconds"]), f"{stage['peak_mb']:,.0f}"]
        for stage in one["stages"]
    ]
    seconds = sum(stage["seconds"] for stage in one["stages"])
    total = ["**all of these**", f"**{duration(seconds)}**", ""]
    machine = one["machine"]
    left = [f"Not run there: {', '.join(one['left'])}.\n"] if one["left"] else []
    load = max(stage["load"] for stage in one["stages"])
    busy = [
        f"> **The machine was busy** (up to {load} processes on {machine['cores']} "
        "cores): times are too long, memory is not.\n"
    ]
    return [
        f"## Rehearsal of {_REHEARSED[one['benchmark']]}: {machine['device']}, "
        f"{machine['date']}\n",
        # Its own threads are among the processes that the system counts.
        *(busy if load > machine["threads"] + 0.5 else []),
        f"Measured: the real stages on synthetic features, {size['train']:,} training "
        f"and {size['test']:,} test samples × {size['D']:,}, {size['C']:,} classes; "
        f"the features of the training split alone are "
        f"{size['train'] * size['D'] * 4 / 2**20:,.0f} MB. {one['settings']}. Memory: "
        "the peak of a stage's largest process, file pages that it maps included. "
        "`make rehearse`\n",
        markdown_table(("Stage", "Time", "Peak memory, MB"), [*rows, total]) + "\n",
        *left,
    ]


def duration(seconds: float) -> str:
    """In the unit that a person plans with."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _short(value: float) -> str:
    return f"{1e6 * value:.0f} µs" if value < 1e-3 else f"{1e3 * value:.1f} ms"
