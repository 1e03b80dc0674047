"""How often a 95 % interval holds the truth, by simulation.

    python -m bench.statistics

A test image has a difficulty, which both methods share in part, a class has a level,
and a seed an effect of its own; given these, right or wrong is a coin toss. The truth
is the mean over all images of the same classes and over all seeds, in closed form
(probit). Every case goes through `intervals.estimate`, the function behind every page.
Few repetitions of it also run as tests.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from replication.core.files import write_text
from replication.reporting.tables import markdown_table
from replication.samples.association import STEPS, mcc_scores, nmi_scores
from replication.statistics.intervals import Estimate, estimate

REPORT = Path(__file__).parent / "statistics.md"
# Spread over images, over classes, and of an image for one method alone; a single toss
# has 1. Two seeds of a method then agree on most images.
DIFFICULTY, LEVELS, OWN = 1.5, 0.7, 0.8
LOWEST, HIGHEST = 0.93, 0.97
_EVERY = (2, 3, 5, 10)


@dataclass(frozen=True)
class Case:
    """What is simulated.

    Fields: `seeds` S; `classes`, each with `images` test images and a stratum, or with
    one of several numbers of them, drawn anew each time; `share` right, a mean over
    classes; `gap` to a second method, whose paired difference is estimated, None for
    one method alone; `ratio` of the seeds' standard deviation to that of test sampling,
    both of one accuracy.
    """

    seeds: int
    classes: int
    images: int | tuple[int, ...]
    share: float
    gap: float | None = None
    ratio: float = 0.0

    @property
    def sizes(self) -> np.ndarray:
        """(C,) test images of each class."""
        return np.broadcast_to(self.images, self.classes)

    @property
    def tested(self) -> int:
        """N, test images."""
        return int(self.sizes.sum())

    @property
    def weights(self) -> np.ndarray:
        """(N,) of a mean over classes."""
        return np.repeat(1 / self.sizes / self.classes, self.sizes)

    @property
    def rare(self) -> float:
        """Images expected to be the exception: right, or wrong, whichever is rarer."""
        shares = [self.share, self.share + (self.gap or 0.0)]
        return self.tested * min(min(share, 1 - share) for share in shares)


@dataclass(frozen=True)
class Found:
    """Of `repetitions` intervals: share that `held` the truth, and mean `width`.

    A width of 1 is that of an interval which knows the true standard deviation.
    """

    held: float
    width: float
    repetitions: int

    @property
    def outside(self) -> bool:
        """Whether `held` is outside 93 to 97 % by more than two standard errors."""
        error = (self.held * (1 - self.held) / self.repetitions) ** 0.5
        return not LOWEST - 2 * error <= self.held <= HIGHEST + 2 * error


# --- simulation


def draws(case: Case, generator: np.random.Generator) -> tuple[float, Iterator]:
    """The truth, and scores (S, N) without end."""
    shares = [case.share] if case.gap is None else [case.share + case.gap, case.share]
    own = OWN if case.gap is not None else 0.0
    steady = np.sqrt(1 + DIFFICULTY**2 + own**2)
    places = (np.arange(case.classes) + 0.5) / case.classes
    of_class = LEVELS * steady * ndtri(places)
    made, truth = [], 0.0
    for sign, share in zip((1, -1), shares, strict=False):
        spread = _spread(case, share, steady, of_class)
        total = float(np.hypot(steady, spread))
        centre = _centre(share, of_class, total)
        truth += sign * float(ndtr((centre + of_class) / total).mean())
        made.append((sign, spread, (centre + of_class).astype(np.float32)))

    def endless() -> Iterator[np.ndarray]:
        while True:
            difficulty = DIFFICULTY * _normal(generator, 1, case.tested)
            scores = np.zeros((case.seeds, case.tested), dtype=np.int8)
            order = np.arange(case.classes)
            if isinstance(case.images, tuple):
                generator.shuffle(order)
            for sign, spread, logits in made:
                place = np.repeat(logits[order], case.sizes) + difficulty
                place = place + own * _normal(generator, 1, case.tested)
                place = place + spread * _normal(generator, case.seeds, 1)
                place += _normal(generator, case.seeds, case.tested)
                scores += np.int8(sign) * (place > 0)
            yield scores

    return truth, endless()


def _normal(generator: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return generator.standard_normal((rows, columns), dtype=np.float32)


def _spread(case: Case, share: float, steady: float, of_class: np.ndarray) -> float:
    """Of the seeds' effects: that which has the case's ratio, to first order."""
    centre = _centre(share, of_class, steady)
    inside = (centre + of_class) / steady
    chance = ndtr(inside)
    sampling = np.sqrt((chance * (1 - chance)).mean() * (case.weights**2).sum())
    slope = (np.exp(-(inside**2) / 2) / np.sqrt(2 * np.pi)).mean() / steady
    return float(case.ratio * sampling / slope)


def _centre(share: float, of_class: np.ndarray, total: float) -> float:
    """Where the mean over classes of the chance to be right is the share."""
    low, high = -20.0 * total, 20.0 * total
    for _ in range(60):
        middle = (low + high) / 2
        over = ndtr((middle + of_class) / total).mean() > share
        low, high = (low, middle) if over else (middle, high)
    return low


def intervals(case: Case, repetitions: int, seed: int = 0) -> tuple[float, list]:
    """The truth, and as many estimates of it."""
    truth, scores = draws(case, np.random.default_rng(seed))
    strata = np.repeat(np.arange(case.classes), case.sizes)
    return truth, [
        estimate(score, case.weights, strata)
        for score, _ in zip(scores, range(repetitions), strict=False)
    ]


def coverage(case: Case, repetitions: int, seed: int = 0) -> Found:
    """Share of intervals that hold the truth, and their width."""
    return _judge(*intervals(case, repetitions, seed))


def _judge(truth: float, estimates: list[Estimate]) -> Found:
    mean, low, high = np.array([(e.mean, e.low, e.high) for e in estimates]).T
    held = ((low <= truth) & (truth <= high)).mean()
    ideal = ndtri(0.975) * mean.std()
    width = (high - low).mean() / 2 / ideal if ideal else float("inf")
    return Found(float(held), float(width), len(estimates))


def power(case: Case, repetitions: int, seed: int = 0) -> float:
    """Share of runs that tell from 0 a true difference as large as their `detectable`.

    The runs without a difference state what they could have seen; their mean is then
    the truth of as many runs more.
    """
    _, without = intervals(replace(case, gap=0.0), repetitions, seed)
    gap = float(np.mean([e.detectable for e in without]))
    _, estimates = intervals(replace(case, gap=gap), repetitions, seed + 1)
    return float(np.mean([e.low > 0 for e in estimates]))


# --- MCC and NMI


def answers(
    classes: int, images: int, seeds: int, spread: float, wrong: int = 5
) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
    """Labels (N,) of a balanced test set, and a draw of predictions (2, S, N).

    A class has its own chances of the right and of `wrong` other answers, a test image
    a difficulty that all seeds and both methods share; `spread` of the seeds' effects
    is in standard deviations of the difficulty.
    """
    generator = np.random.default_rng(images)
    labels = np.repeat(np.arange(classes), images)
    given = (np.arange(classes)[:, None] + np.arange(wrong + 1)) % classes
    right = generator.beta(3, 1, size=(2, classes, 1))
    others = generator.dirichlet(np.full(wrong, 0.5), size=(2, classes)) * (1 - right)
    until = np.cumsum(np.concatenate([right, others], 2), 2)[:, labels, :-1]

    def draw() -> np.ndarray:
        shape = (2, seeds, len(labels))
        place = 0.7**0.5 * generator.standard_normal(len(labels))
        place = place + 0.3**0.5 * generator.standard_normal(shape)
        place += spread * generator.standard_normal((2, seeds, 1))
        beyond = ndtr(place)[..., None] > until[:, None]
        return given[labels, beyond.sum(3)]

    return labels, draw


def _accuracy_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    return (predictions == labels).astype(float)


SCORES = {"accuracy": _accuracy_scores, "mcc": mcc_scores, "nmi": nmi_scores}


def association_coverage(
    classes: int, images: int, seeds: int, spread: float, wrong: int, repetitions: int
) -> dict[tuple[str, str], Found]:
    """(accuracy, mcc or nmi; value or difference) -> what its intervals hold.

    The truth is the expected statistic of a test set of this size.
    """
    labels, draw = answers(classes, images, seeds, spread, wrong)
    weights = np.full(len(labels), 1 / len(labels))
    found: dict[tuple[str, str], list[Estimate]] = {}
    for _ in range(repetitions):
        pair = draw()
        for name, scores in SCORES.items():
            first, second = (scores(answers, labels, classes) for answers in pair)
            for what, score in (("value", first), ("difference", first - second)):
                made = estimate(score, weights, labels, step=STEPS.get(name, 1.0))
                found.setdefault((name, what), []).append(made)
    return {
        key: _judge(float(np.mean([e.mean for e in estimates])), estimates)
        for key, estimates in found.items()
    }


# --- which freedom, in the limit of large test sets


def limit(rule: str, seeds: int) -> tuple[float, float]:
    """Least and greatest coverage of a rule where test sampling's part is known.

    By quadrature over the variance between seeds; over what seeds add, from nothing to
    a hundred times test sampling, and over the part that is luck of one seed on one
    sample.
    """
    few, many = float(stdtrit(seeds - 1, 0.975)), float(ndtri(0.975))
    between = chdtri(seeds - 1, (np.arange(1000) + 0.5) / 1000) / (seeds - 1)
    held = []
    for luck in (0.0, 0.1, 0.3, 0.6, 0.9):
        for added in (0.0, *np.geomspace(0.01, 100, 17)):
            seen = (added + luck) * between
            total = seen + 1 - luck
            share = seen / total
            if rule in RULES:
                reach = many + share ** RULES[rule] * (few - many)
            else:
                freedom = (seeds - 1) / np.maximum(share, 1e-6) ** 2
                reach = stdtrit(freedom, 0.975)
            ends = reach * np.sqrt(total / (1 + added))
            held.append(float((2 * ndtr(ends) - 1).mean()))
    return min(held), max(held)


# Power of the seeds' share of the variance; in use is the second.
RULES = {"share (Cochran)": 1.0, "share to the 5/4": 1.25, "share to the 3/2": 1.5}


# --- the report


_WORDS = {"value": "one method", "difference": "paired difference"}


def _cell(found: Found) -> str:
    held = f"{100 * found.held:.1f}"
    if found.outside:
        held = f"**{held}**"
    return f"{held} ({found.width:.2f})"


def seeds_table(repetitions: int) -> tuple[str, list[float]]:
    """A row a test set, method or pair, and ratio; and every share that was held."""
    header = ["Test images", "Of", "Seeds' spread / test sampling's"]
    header += [f"S = {seeds}" for seeds in _EVERY]
    designs: list[tuple[int, int, float | None, float]] = [
        (classes, images, gap, ratio)
        for classes, images in ((30, 10), (100, 20))
        for gap in (None, 0.02)
        for ratio in (0.0, 0.5, 1.0, 2.0)
    ]
    designs += [(365, 100, gap, 1.0) for gap in (None, 0.02)]
    rows, held = [], []
    for classes, images, gap, ratio in designs:
        often = repetitions if classes < 365 else repetitions // 4
        row = [
            f"{classes * images:,} = {classes} × {images}",
            _WORDS["value" if gap is None else "difference"],
            f"{ratio:g}",
        ]
        for seeds in _EVERY:
            case = Case(seeds, classes, images, 0.5, gap, ratio)
            found = coverage(case, often)
            held.append(found.held)
            row.append(_cell(found))
        rows.append(row)
    return markdown_table(header, rows, words=2), held


def rare_table(repetitions: int) -> str:
    """Few images, and accuracies near 1; a row a group, a column a number of seeds."""
    every = (1, 3)
    header = ["Test images", "Of", "Right, %", "Rarer answer, images"]
    header += [f"S = {seeds}" for seeds in every]
    rows = []
    for classes, images in ((5, 10), (30, 10), (20, 100)):
        for gap in (None, 0.0):
            for share in (0.5, 0.9, 0.97, 0.99):
                cases = [Case(seeds, classes, images, share, gap) for seeds in every]
                row = [
                    f"{classes * images:,} = {classes} × {images}",
                    _WORDS["value" if gap is None else "difference"],
                    f"{100 * share:g}",
                    f"{cases[0].rare:.1f}",
                ]
                found = (coverage(case, repetitions) for case in cases)
                rows.append([*row, *map(_cell, found)])
    return markdown_table(header, rows, words=2)


# Test images of each class -> what they are called.
UNBALANCED: Mapping[tuple[int, ...], str] = {
    (50,) * 19 + (1,): "19 × 50, 1",
    (100,) * 9 + (1,): "9 × 100, 1",
    (50,) * 5 + (1,): "5 × 50, 1",
    (1, 2, 3, 4, 5) * 4: "four times 1, 2, 3, 4, 5",
    (100, 60, 35, 20, 12, 7, 4, 2, 1, 1): "100, 60, 35, 20, 12, 7, 4, 2, 1, 1",
    (40, 20, 3): "40, 20, 3",
    (200, 5, 2): "200, 5, 2",
}


def unbalanced_table(repetitions: int) -> tuple[str, list[float]]:
    """Means over classes of unequal test images; and every share that was held."""
    every = (1, 3, 5)
    header = ["Test images of each class", "Heaviest image, %", "Of", "Right, %"]
    header += [f"S = {seeds}" for seeds in every]
    rows, held = [], []
    for images, name in UNBALANCED.items():
        for gap in (None, 0.0):
            for share in (0.5, 0.9):
                cases = [Case(s, len(images), images, share, gap) for s in every]
                row = [
                    name,
                    f"{100 * cases[0].weights.max():.0f}",
                    _WORDS["value" if gap is None else "difference"],
                    f"{100 * share:g}",
                ]
                found = [coverage(case, repetitions) for case in cases]
                held += [one.held for one in found]
                rows.append([*row, *map(_cell, found)])
    return markdown_table(header, rows, words=3), held


def ends_in_words(repetitions: int) -> str:
    """How often a lower end would miss if it lay nearer, on two test sets."""

    def missed(images: tuple[int, ...], part: float) -> str:
        truth, found = intervals(Case(1, len(images), images, 0.9), repetitions)
        above = [e.mean - part * (e.mean - e.low) > truth for e in found]
        return f"{100 * np.mean(above):.1f} %"

    steep, mild = (200, 5, 2), (40, 20, 3)
    return (
        "With 200, 5, 2 images, one method, 90 % right, S = 1, a lower end at six "
        f"tenths of its distance from the mean would miss in {missed(steep, 0.6)} of "
        f"runs, at seven tenths in {missed(steep, 0.7)}: no rule that estimates the "
        "distance can count on 2.5 %. With 40, 20, 3 images the end could lie nearer "
        f"(missing in {missed(mild, 0.8)} at eight tenths, {missed(mild, 0.9)} at "
        "nine): a rule that is right for the first is too wide for the second. Ends by "
        "inverting a test (each class's outcomes tilted until the observed mean has "
        "2.5 % beyond) were tried: nearer, but above 97 % in more cells of several "
        "seeds, or below 93 % where one image is a class."
    )


def association_table(repetitions: int) -> str:
    """MCC and NMI beside the accuracy of the same draws."""
    header = ["Test images", "Wrong answers over", "Seeds", "Of"]
    header += ["Accuracy", "MCC", "NMI"]
    rows = []
    for classes, images in ((120, 3), (20, 20)):
        for wrong in (5, classes - 1):
            for seeds, spread in ((1, 0.0), (3, 0.05)):
                found = association_coverage(
                    classes, images, seeds, spread, wrong, repetitions
                )
                size = f"{classes * images:,} = {classes} × {images}"
                for what, words in _WORDS.items():
                    cells = [_cell(found[name, what]) for name in SCORES]
                    rows.append([size, f"{wrong} classes", str(seeds), words, *cells])
    return markdown_table(header, rows, words=1)


def power_table(often: int) -> str:
    """Power at the difference that a run says it could have seen, percent."""
    header = ["Test images", "Seeds' spread / test sampling's"]
    header += [f"S = {seeds}" for seeds in (3, 5, 10)]
    rows = [
        [
            f"{classes * images:,} = {classes} × {images}",
            f"{ratio:g}",
            *(
                f"{100 * power(Case(s, classes, images, 0.5, 0.0, ratio), often):.0f}"
                for s in (3, 5, 10)
            ),
        ]
        for classes, images in ((30, 10), (100, 20))
        for ratio in (0.0, 1.0)
    ]
    return markdown_table(header, rows, words=1)


def limit_table() -> str:
    """A row a rule for the freedom, least to greatest coverage for each S."""
    rows = []
    for rule in ("Satterthwaite", *RULES):
        ends = [limit(rule, seeds) for seeds in _EVERY]
        rows.append([rule, *(f"{100 * a:.1f} to {100 * b:.1f}" for a, b in ends)])
    return markdown_table(["Rule", *(f"S = {seeds}" for seeds in _EVERY)], rows)


def page(
    tables: Mapping[str, str],
    held: list[float],
    unbalanced: list[float],
    repetitions: int,
) -> str:
    """The report; `held` of the first table, and of the unbalanced; fractions."""
    error = 100 * (0.95 * 0.05 / repetitions) ** 0.5
    parts = [
        "# How often a 95 % interval holds the truth",
        f"**In {100 * min(held):.1f} to {100 * max(held):.1f} % of simulated runs**, "
        "with 2 to 10 seeds, 300 to 36,500 test images, one method or two. It holds "
        "more where the rarer answer, right or wrong, is expected on fewer than about "
        "five images.",
        f"`python -m bench.statistics`: {repetitions:,} repetitions a cell, so that a "
        f"cell is known to ±{2 * error:.1f} points (two standard errors); with 36,500 "
        "images and for MCC, NMI and power a quarter of them, twice that. In a cell: "
        "percent of the intervals that hold the truth, **bold** where it is outside 93 "
        "to 97 by more than these errors; in brackets their mean width over that of an "
        "interval that knows the true standard deviation. Seeds agree on most images, "
        "two methods on fewer; classes differ and are strata. With one seed the truth "
        "has no seed effect: test sampling alone is covered.",
        "## Seeds and test sampling together",
        "Half of the answers right; a difference is 2 points.",
        tables["seeds"],
        "## Few images, and answers that are nearly always right",
        "No seed effect, no difference. Where the rarer answer is expected on fewer "
        "than about five images, no interval with fixed ends holds 95 %: often none "
        "occurs, and what covers then covers too much.",
        tables["rare"],
        "## Unbalanced test sets",
        "A mean over classes whose numbers of test images differ: which class has how "
        f"many is drawn anew each time. {100 * min(unbalanced):.1f} to "
        f"{100 * max(unbalanced):.1f} % hold. Where one image decides a tenth or more, "
        "and nearly all answers are right or agree, the end of an interval lies either "
        "short of what one unlikely answer does to the mean, and misses as often as "
        "that occurs, or beyond it, and hardly ever misses; ours then lie beyond, so "
        f"that 97.5 % and more hold. {tables['ends']}",
        tables["unbalanced"],
        "## MCC and NMI",
        "Jackknifed (`samples/association.py`), beside the accuracy of the same "
        "draws. The truth is the mean of the statistic over all draws.",
        tables["association"],
        "## What a run could have seen",
        "A run states a difference that it would tell from 0 in 80 of 100 runs. "
        "Percent of runs that do, the true difference being the mean of what such runs "
        "state.",
        tables["power"],
        "## Why this freedom",
        "In the limit of large test sets, by quadrature: least and greatest percent "
        "held, over all parts that seeds can have in the variance. The critical value "
        "lies between Student's of S − 1 and the normal one, by a power of the seeds' "
        "share of the variance; 5/4 is in use. Satterthwaite's is the usual rule.",
        tables["limit"],
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Simulate every case and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=4000)
    repetitions = parser.parse_args().repetitions
    seeds, held = seeds_table(repetitions)
    unbalanced, held_there = unbalanced_table(repetitions)
    tables = {
        "seeds": seeds,
        "rare": rare_table(repetitions),
        "unbalanced": unbalanced,
        "ends": ends_in_words(repetitions),
        "association": association_table(repetitions // 4),
        "power": power_table(repetitions // 4),
        "limit": limit_table(),
    }
    write_text(REPORT, page(tables, held, held_there, repetitions))


if __name__ == "__main__":
    main()
