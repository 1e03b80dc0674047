"""Bounds against enumeration, worked cases by hand, and the supplement's own tables."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef, normalized_mutual_info_score

from replication.core.files import read_json
from replication.core.settings import PUBLISHED, Row
from replication.published.reader import PublishedTable, read_published_tables
from replication.samples.metrics import accuracies
from replication.sections.audit import bounds as audit
from replication.sections.audit import differences as gaps
from replication.sections.audit.experiment import class_weights, table_bounds
from replication.sections.audit.printed import (
    OTHER_READINGS,
    STATED,
    Design,
    design_of,
    group_sizes,
)

# Official test lists: images of each class (Places-LT has a smaller validation list).
TEST_PER_CLASS = {"imagenet_lt": 50, "places_lt": 100, "inat18": 3}
# One class of each shot group, and of each border.
SMALL = Design("small", {200: 1, 100: 1, 20: 1, 5: 1}, 10)


def published_design(benchmark: str) -> Design:
    counts = read_json(PUBLISHED / "class_counts.json")
    counts[benchmark]["test_per_class"] = TEST_PER_CLASS[benchmark]
    return design_of(benchmark, counts)


def fractions(**percents: float) -> dict[str, Fraction]:
    return {name: Fraction(str(value)) / 100 for name, value in percents.items()}


def table(rows: dict[str, dict[str, float | None]]) -> PublishedTable:
    metrics = tuple(next(iter(rows.values())))
    named = {key: Row(key.upper(), {}, values) for key, values in rows.items()}
    return PublishedTable("A table", "Sect. 0", "small", metrics, named)


def every_prediction(classes: int, per_class: int) -> dict[int, list[np.ndarray]]:
    """Right images -> prediction counts (C,) of each confusion matrix there is."""
    rows = [
        row
        for row in product(range(per_class + 1), repeat=classes)
        if sum(row) == per_class
    ]
    found: dict[int, list[np.ndarray]] = {}
    for matrix in product(rows, repeat=classes):
        right = sum(matrix[k][k] for k in range(classes))
        found.setdefault(right, []).append(np.sum(matrix, axis=0))
    return found


# --- Overall against the shot groups


def test_overall_by_hand() -> None:
    """0.25 * 80 + 0.5 * 60 + 0.25 * 40 = 60, give or take 0.05."""
    printed = fractions(overall=60.1, many=80.0, medium=60.0, few=40.0)
    found = audit.overall_bound(printed, SMALL, STATED)
    assert found.verdict == "possible"
    assert (found.low, found.high) == (0.5995, 0.6005)
    assert found.slack == 0  # [60.05, 60.15] touches [59.95, 60.05]
    assert found.arithmetic.startswith(
        "(1 × 80.0 + 2 × 60.0 + 1 × 40.0) / 4 = 240.0 / 4 = 60.000."
    )


def test_overall_one_digit_further_is_impossible_and_what_would_close_it() -> None:
    """Gap 0.1 points: Many alone off by 0.4, or 0.1 / 40 of the classes moved."""
    printed = fractions(overall=60.2, many=80.0, medium=60.0, few=40.0)
    found = audit.overall_bound(printed, SMALL, STATED)
    assert found.verdict == "impossible"
    assert found.slack == pytest.approx(-0.001)
    assert found.arithmetic.endswith(
        "many by 0.400, medium by 0.200, few by 0.400. Or 0.1000 / 40.0 = 0.2 % of all "
        "classes, 1, would have to count as many and not as few."
    )


def test_other_borders_move_the_classes_at_100_and_20() -> None:
    sizes = [
        tuple(group_sizes(SMALL.histogram, reading).values())
        for reading in (STATED, *OTHER_READINGS)
    ]
    assert sizes == [(1, 2, 1), (2, 1, 1), (1, 1, 2), (2, 0, 2), (1, 2, 1)]


# --- MCC


@pytest.mark.parametrize(("classes", "per_class"), [(2, 5), (3, 3), (4, 2)])
def test_mcc_bounds_are_those_of_every_prediction_there_is(classes, per_class) -> None:
    """Attained, but from below where the errors cannot balance.

    One error cannot, and of two classes no odd number of errors.
    """
    tested = classes * per_class
    for right, predicted in every_prediction(classes, per_class).items():
        accuracy = Fraction(right, tested)
        if right < per_class:
            continue
        squares = [Fraction(int((p**2).sum()), tested**2) for p in predicted]
        assert max(squares) == audit.greatest_concentration(accuracy, classes)
        wrong = tested - right
        if wrong % 2 == 0 if classes == 2 else wrong != 1:
            assert min(squares) == Fraction(1, classes)
        spread = [(1 - q) * (1 - Fraction(1, classes)) for q in squares]
        above = float(accuracy - Fraction(1, classes))
        mcc = [above / math.sqrt(s) if s else 0.0 for s in spread]
        assert max(mcc) == pytest.approx(audit.greatest_mcc(accuracy, classes))
        assert min(mcc) >= float(audit.least_mcc(accuracy, classes)) - 1e-12


def test_mcc_by_hand() -> None:
    """C = 4, a in [69.95, 70.05]: least (0.6995 - 0.25) / 0.75 = 59.933 %.

    Greatest: q = (0.25 + 0.2995, 0.25, 0.2005), sum of squares 0.404651, and
    0.4505 / sqrt(0.595350 * 0.75) = 67.4184 %.
    """
    for mcc, verdict in (
        (59.8, "impossible"),
        (59.9, "possible"),
        (67.5, "impossible"),
    ):
        found = audit.mcc_bound(fractions(overall=70.0, mcc=mcc), SMALL, STATED)
        assert found.verdict == verdict
        assert found.low == pytest.approx(0.599333, abs=1e-6)
        assert found.high == pytest.approx(0.674184, abs=1e-6)


def test_mcc_that_is_too_low_names_the_overall_it_would_need() -> None:
    """0.25 + 0.5985 * 0.75 = 69.8875 %: of 40 images at most 27, and 70.0 needs 28."""
    found = audit.mcc_bound(fractions(overall=70.0, mcc=59.8), SMALL, STATED)
    assert found.arithmetic.endswith(
        "With this MCC Overall could be at most 25.0000 + 59.85 × 0.750000 = 69.8875: "
        "0.0625 points below what is printed, at least 1 of 40 images."
    )


# --- whole images


@given(st.integers(0, 2**31 - 1))
def test_what_was_measured_is_always_possible(seed) -> None:
    """A real prediction, printed to one decimal, passes every check of a row."""
    generator = np.random.default_rng(seed)
    train_counts = np.array([200, 150, 100, 50, 20, 19, 5, 2])
    labels = np.repeat(np.arange(8), 5)
    keep = generator.random(40) < 0.3 + 0.7 * generator.random()
    predicted = np.where(keep, labels, generator.integers(0, 8, 40))
    measured = accuracies(predicted, labels, train_counts) | {
        "mcc": matthews_corrcoef(labels, predicted),
        "nmi": normalized_mutual_info_score(labels, predicted),
    }
    if measured["overall"] < 0.2:
        return
    values = {name: round(100 * value, 1) for name, value in measured.items()}
    design = Design("small", {int(n): 1 for n in train_counts}, 5)
    findings = [
        finding
        for finding in table_bounds("t", table({"a": values}), design)
        if finding.reading == STATED.name
    ]
    assert {one.check for one in findings} == set(
        ("overall", "mcc", "right_images", "nmi")
    )
    assert {one.verdict for one in findings} == {"possible"}
    counts = next(one.counts for one in findings if one.check == "right_images")
    assert counts[0] <= (predicted == labels).sum() <= counts[1]


def test_whole_images_see_what_shares_do_not() -> None:
    """One class of 10 images cannot print 85.5: shares fit, images do not."""
    printed = fractions(overall=61.4, many=85.5, medium=60.0, few=40.0)
    shares = audit.overall_bound(printed, SMALL, STATED)
    images = audit.right_images_bound(printed, SMALL, STATED)
    assert (shares.verdict, images.verdict) == ("possible", "impossible")
    assert images.counts is None and images.number == 0 and images.slack < 0
    assert images.arithmetic.endswith("No whole number of images gives many.")


def test_whole_images_by_hand() -> None:
    """8 of 10, 12 of 20 and 4 of 10 are 24 of 40."""
    printed = fractions(overall=60.0, many=80.0, medium=60.0, few=40.0)
    found = audit.right_images_bound(printed, SMALL, STATED)
    assert (found.verdict, found.counts, found.number) == (
        "possible",
        (24, 24),
        1,
    )


# --- NMI


def test_nmi_by_hand() -> None:
    """e = 0.3005, C = 4: h = 0.61129, + 0.3005 ln 3 = 0.94142, / ln 4 = 0.67909."""
    found = audit.nmi_bound(fractions(overall=70.0, nmi=50.0), SMALL)
    assert found.low == pytest.approx(1 - 0.67909, abs=1e-5)
    assert found.verdict == "possible"
    lower = audit.nmi_bound(fractions(overall=70.0, nmi=32.0), SMALL)
    assert lower.verdict == "impossible"


# --- differences


@pytest.mark.parametrize(("right", "other"), [(7, 5), (5, 5), (9, 1), (10, 3), (6, 5)])
def test_discordance_bounds_are_those_of_every_pairing(right, other) -> None:
    """n = 10: both right on b images; exactly one right on right + other - 2 b."""
    both = range(max(right + other - 10, 0), min(right, other) + 1)
    shares = [Fraction(right + other - 2 * b, 10) for b in both]
    least, _, greatest = gaps._discordance(Fraction(right, 10), Fraction(other, 10))
    assert (least, greatest) == (min(shares), max(shares))


@pytest.mark.parametrize("discordant", [0.01, 0.05, 0.2, 0.4])
def test_threshold_is_where_the_paired_z_is_196(discordant) -> None:
    """d at which |d| = 1.96 sqrt((D - d^2) / n) has D as its threshold."""
    images = 1000
    gap = math.sqrt(discordant / (1 + images / 1.96**2))
    assert gap / math.sqrt((discordant - gap**2) / images) == pytest.approx(1.96)
    threshold = gaps._threshold(Fraction(gap), images)
    assert float(threshold) == pytest.approx(discordant)


@pytest.mark.parametrize(
    ("ours", "other", "verdict"),
    [
        # n = 1000: D* = d^2 * 261.3. p = 0.7: D from d to 0.6 - d, independent 0.42.
        ("0.70", "0.64", gaps.BEYOND_ANY),  # 94 % of at most 66 %
        ("0.70", "0.655", gaps.BEYOND_UNPAIRED),  # 52.9 %: of 43.8 % and 64.5 %
        ("0.70", "0.68", gaps.BEYOND_PAIRED),  # 10.5 %: of 2 % and 42.8 %
        ("0.70", "0.697", gaps.WITHIN),  # 0.24 % of at least 0.3 %
        ("0.70", "0.70", gaps.WITHIN),
    ],
)
def test_each_verdict_on_a_difference(ours, other, verdict) -> None:
    p, q = Fraction(ours), Fraction(other)
    assert gaps.judge_difference(p, q, 1000) == verdict
    assert gaps.judge_difference(q, p, 1000) == verdict


def test_differences_are_to_the_best_row_or_to_the_one_named() -> None:
    rows = {
        "a": {"overall": 60.0, "many": 70.0},
        "b": {"overall": 62.0, "many": None},
        "c": {"overall": 50.0, "many": 71.0},
    }
    found = gaps.differences("t", table(rows), SMALL)
    assert [(one.row, one.metric) for one in found] == [
        ("a", "overall"),
        ("c", "overall"),
    ]
    assert [one.published for one in found] == pytest.approx([0.02, 0.12])
    assert [one.images for one in found] == [40, 40]
    named = gaps.differences("t", table(rows), SMALL, reference="a")
    assert [(one.row, one.metric) for one in named] == [
        ("b", "overall"),
        ("c", "overall"),
        ("c", "many"),
    ]
    assert named[2].published == pytest.approx(-0.01)


def test_rounding_that_decides_is_said() -> None:
    """n = 24,426: 1.0 points reach to D = 63.6 %, 0.9 to 51.5 %; D is at most 55.4."""
    design = Design("small", {200: 8142}, 3)
    rows = {"a": {"overall": 72.8}, "b": {"overall": 71.8}, "c": {"overall": 69.5}}
    close, far = gaps.differences("t", table(rows), design)
    assert close.verdict == far.verdict == gaps.BEYOND_ANY
    assert (close.robust, far.robust) == (False, True)
    assert close.threshold == pytest.approx(0.6359, abs=1e-4)
    assert close.threshold_low == pytest.approx(0.5151, abs=1e-4)


# --- weights


def test_weights_by_hand() -> None:
    """n = 10, 20, 200: 1/100, 1/400, 1/40000, so 400 : 100 : 1 of 501."""
    design = Design("small", {10: 1, 20: 1, 200: 1}, 1)
    found = class_weights(design, Fraction(2), "A")
    assert found.shares == pytest.approx(
        {"few": 400 / 501, "medium": 100 / 501, "many": 1 / 501}
    )
    assert found.effective_classes == pytest.approx(501**2 / (400**2 + 100**2 + 1))


# facts/field.md, section 4.7
@pytest.mark.parametrize(
    ("benchmark", "share", "effective"),
    [("imagenet_lt", 82, 114), ("places_lt", 89, 55), ("inat18", 77, 2652)],
)
def test_weights_of_the_published_benchmarks(benchmark, share, effective) -> None:
    found = class_weights(published_design(benchmark), Fraction(2), "A")
    assert round(100 * found.shares["few"]) == share
    assert round(found.effective_classes) == effective


# --- the supplement's tables


def test_paco_row_of_table_1_by_hand() -> None:
    """(842 * 73.9 + 4076 * 71.2 + 3224 * 71.8) / 8142 = 583,918.2 / 8142 = 71.717.

    MCC is at least (71.75 - 0.01228) / 0.999877 = 71.7465.
    """
    values = read_published_tables()["table1"].rows["paco"].values
    printed = fractions(**values)
    design = published_design("inat18")
    overall = audit.overall_bound(printed, design, STATED)
    mcc = audit.mcc_bound(printed, design, STATED)
    middle = (overall.low + overall.high) / 2
    assert middle == pytest.approx(583_918.2 / 8142 / 100, abs=1e-12)
    assert mcc.low == pytest.approx(0.717465, abs=1e-6)


def test_a_number_that_is_not_printed_has_no_finding() -> None:
    rows = {"a": {"overall": 60.0, "many": None, "medium": 60.0, "mcc": None}}
    assert table_bounds("t", table(rows), SMALL) == []


def test_counts_that_are_missing_are_refused(refused) -> None:
    assert refused(lambda: design_of("own", {})) == [
        "class_counts.json: own: expected class counts, got nothing"
    ]
    entry = {"own": {"histogram": {"5": 1}}}
    assert refused(lambda: design_of("own", entry)) == [
        "class_counts.json: own.test_per_class: expected the test images of each "
        "class, got nothing"
    ]
