"""Laws and worked cases of the embedded stand-in."""

import json
from pathlib import Path

import numpy as np
import pytest

import replication.published
from replication.data.glyphs import (
    _FONT_FILES,
    _font,
    draw_glyphs,
    glyph_alphabet,
    stand_in_counts,
)

# 10 classes: 4 Many, 4 Medium, 2 Few.
TINY = {1000: 1, 400: 1, 200: 1, 101: 1, 100: 1, 60: 1, 40: 1, 20: 1, 19: 1, 1: 1}

KINDS = pytest.mark.parametrize("fine_grained", [False, True])


def published_histogram(benchmark: str) -> dict[int, int]:
    path = Path(replication.published.__file__).parent / "class_counts.json"
    histogram = json.loads(path.read_text())[benchmark]["histogram"]
    return {int(count): classes for count, classes in histogram.items()}


def shot_sizes(counts: np.ndarray) -> list[int]:
    many, few = int((counts > 100).sum()), int((counts < 20).sum())
    return [many, len(counts) - many - few, few]


# --- glyph_alphabet


@pytest.mark.parametrize(("fine_grained", "most"), [(False, 157), (True, 167)])
def test_every_font_draws_every_glyph_and_no_two_alike(fine_grained, most) -> None:
    alphabet = glyph_alphabet(most, fine_grained)
    assert len(set(alphabet)) == most and set(map(len, alphabet)) == {1}
    for index in range(len(_FONT_FILES)):
        font = _font(index, 48)
        missing, *masks = [
            (mask.size, bytes(mask))
            for mask in (font.getmask(character) for character in ("\uffff", *alphabet))
        ]
        assert len({*masks} - {missing}) == most
        assert all(any(coverage) for _, coverage in masks)
    kind = "fine-grained" if fine_grained else "distinct"
    with pytest.raises(ValueError) as refusal:
        glyph_alphabet(500, fine_grained)
    assert str(refusal.value) == (
        f"num_classes: expected 2..{most} {kind} glyphs, got 500"
    )


def test_fine_grained_families_stand_on_both_sides_of_the_thresholds() -> None:
    alphabet = glyph_alphabet(42, fine_grained=True)
    for family in ("aàáâãäåāăą", "eèéêëēĕėęě"):
        ranks = [rank for rank, character in enumerate(alphabet) if character in family]
        assert min(ranks) < 14
        assert max(ranks) >= 28


# --- draw_glyphs


@pytest.fixture(scope="module")
def alphabet() -> tuple[str, ...]:
    return glyph_alphabet(20, fine_grained=False)


def test_an_image_depends_on_its_seed_its_number_and_its_label_alone(alphabet) -> None:
    labels = np.arange(400) % 20
    changed = np.where(np.arange(400) % 7 == 0, labels, 19 - labels)
    generator = np.random.default_rng(7)
    one = draw_glyphs(labels, alphabet, 32, generator)
    assert one.shape == (400, 32, 32, 3) and one.dtype == np.uint8
    two = draw_glyphs(changed, alphabet, 32, np.random.default_rng(7))
    np.testing.assert_array_equal(one[::7], two[::7])
    for number in (1, 256, 257):
        part = draw_glyphs(labels[:number], alphabet, 32, np.random.default_rng(7))
        np.testing.assert_array_equal(part, one[:number])
    other = draw_glyphs(labels, alphabet, 32, generator)
    assert (one != other).any(axis=(1, 2, 3)).all()
    others = np.arange(400) % 7 != 0
    assert (one[others] != two[others]).any(axis=(1, 2, 3)).all()


@KINDS
def test_nearest_mean_is_better_than_chance_and_far_from_perfect(fine_grained) -> None:
    alphabet = glyph_alphabet(20, fine_grained)
    labels = np.arange(2400) % 20
    images = draw_glyphs(labels, alphabet, 32, np.random.default_rng(7))
    grey = images.mean(axis=3).reshape(len(images), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= grey.std(axis=1, keepdims=True)
    means = np.stack([grey[:1800][labels[:1800] == c].mean(axis=0) for c in range(20)])
    accuracy = ((grey[1800:] @ means.T).argmax(axis=1) == labels[1800:]).mean()
    assert 2 / 20 < accuracy < 0.7


# --- stand_in_counts


@pytest.mark.parametrize("benchmark", ["imagenet_lt", "places_lt", "inat18"])
def test_published_curves_keep_their_shot_shares(benchmark) -> None:
    num_classes, num_images = 48, 4000
    histogram = published_histogram(benchmark)
    counts = stand_in_counts(histogram, num_classes, num_images)
    classes = sum(histogram.values())
    published = [
        sum(k for n, k in histogram.items() if n > 100),
        sum(k for n, k in histogram.items() if 20 <= n <= 100),
        sum(k for n, k in histogram.items() if n < 20),
    ]
    assert counts.shape == (num_classes,)
    assert (np.diff(counts) <= 0).all()
    assert counts.sum() <= num_images + num_classes
    assert min(shot_sizes(counts)) >= 1
    for ours, theirs in zip(shot_sizes(counts), published, strict=True):
        assert abs(ours - num_classes * theirs / classes) < 1
    assert set(counts[counts <= 100].tolist()) <= set(histogram)


def test_only_many_classes_are_pressed_first() -> None:
    counts = stand_in_counts(TINY, 10, 900)
    assert counts[4:].tolist() == [100, 60, 40, 20, 19, 2]
    assert 101 <= counts[3] <= counts[2] < counts[1] < counts[0] < 1000
    assert 890 <= counts.sum() <= 900


def test_medium_then_few_are_pressed_when_many_cannot_give_more() -> None:
    assert stand_in_counts(TINY, 10, 4 * 101 + 150)[:4].tolist() == [101] * 4
    least = 4 * 101 + 4 * 20 + 2 * 2
    counts = stand_in_counts(TINY, 10, least)
    assert counts.tolist() == [101] * 4 + [20] * 4 + [2] * 2


@pytest.mark.parametrize(
    ("num_classes", "num_images", "message"),
    [
        (11, 900, "num_classes: expected 3..10, got 11"),
        (10, 487, "num_images: expected at least 488 for 10 classes, got 487"),
    ],
)
def test_impossible_counts_are_refused(num_classes, num_images, message) -> None:
    with pytest.raises(ValueError) as refusal:
        stand_in_counts(TINY, num_classes, num_images)
    assert str(refusal.value) == message
