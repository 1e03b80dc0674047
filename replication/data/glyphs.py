"""The embedded stand-in: long-tailed glyph images, drawn from matplotlib's fonts.

Shapes: N samples, C classes, S image side in pixels, G clutter glyphs.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from replication.samples.shots import FEW_BELOW, MANY_ABOVE, shot_groups

# Sans, mono and serif in four styles each, and a second serif in two. matplotlib's
# other fonts lack glyphs of the alphabets below or place them at private codes.
_FONT_FILES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol",
)  # fmt: skip

# Kinds of character. Of letters that differ only in size (C c), and of twins across
# scripts (Latin, Greek and Cyrillic A), one is left out.
_DISTINCT_KINDS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "abdefghijmnqrtyæœþð",
    "23456789",
    "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπστφψω",
    "БДЖИЛУФЦЧШЩЫЭЮЯ",
    "!?&@#%$£€¥§¶†‡*+=±÷×<>^~/\\()[]{}¬©®«½",
    "←↑→↓↔∀∃∇∈√∞∫≈≠≡≤≥⊂⊃⊕⊗⊥◊∝∠",
)

# Near twins: one base letter each, with its accents.
_TWIN_FAMILIES = (
    "aàáâãäåāăą", "eèéêëēĕėęě", "oòóôõöøōŏő", "uùúûüũūŭůűų", "iìíîïĩīĭįı", "nñńņňŋ",
    "cçćĉċč", "sśŝşš", "zźżž", "yýÿŷ", "gĝğġģ", "rŕŗř", "tţťŧ", "lĺļľŀł", "AÀÁÂÃÄÅĀĂĄ",
    "EÈÉÊËĒĔĖĘĚ", "NÑŃŅŇ", "GĜĞĠĢ", "HĤĦ", "LĹĻĽĿŁ", "RŔŖŘ", "TŢŤŦ", "IÌÍÎÏĨĪĬĮİ",
    "DĎĐ", "YÝŶŸ", "kķ", "dďđ", "hĥħ",
)  # fmt: skip

# How far one drawing of a class strays from another; chosen so that a small residual
# network is right on 30% to 80% of a class-balanced test set.
_SIZE_RANGE = (0.8, 1.1)  # em, as a fraction of the image side
_MAX_SHIFT = 0.10  # of the image side, along each axis
_MAX_TURN = 0.25  # radians, either way
_MAX_SLANT = 0.25  # shear, either way
_STROKE_SHARE = 0.3  # of glyphs that are drawn heavier, by one pixel all round
_GROUND_RANGE = (0.42, 1.0)  # of each colour channel
_INK_RANGE = (0.0, 0.5)  # of each colour channel, at full contrast
_CONTRAST_RANGE = (0.45, 1.0)  # 0: ink as the ground, 1: ink at its own colour
_NUM_CLUTTER_GLYPHS = 2
_CLUTTER_RADIUS = (0.55, 0.75)  # of the image side, from the image's centre
_LINE_SHARE = 0.4  # of images that are crossed by a line
_BLOB_RANGE = (0.0, 0.3)  # amplitude of the smooth texture of the ground
_BLOB_SIDE = 4  # cells of that texture along each axis
_NOISE_RANGE = (0.02, 0.12)  # standard deviation of the pixel noise
_BLUR_SHARE = 0.3  # of images that are blurred

_SMALLEST_CLASS = 2  # images

# Samples composed at once: small enough for the arrays to stay in cache.
_CHUNK = 256


def glyph_alphabet(num_classes: int, fine_grained: bool) -> tuple[str, ...]:
    """The characters that stand for the classes, class c being the c-th.

    Kinds of character take turns, so that a character's kind says little about its
    class's rank, and so about its number of training images. Fine-grained, near twins
    (a à á â) stand on either side of the shot thresholds.

    Raises ValueError: there are not so many characters.
    """
    kinds = _TWIN_FAMILIES if fine_grained else _DISTINCT_KINDS
    available = sum(map(len, kinds))
    if not 2 <= num_classes <= available:
        raise ValueError(
            f"num_classes: expected 2..{available} "
            f"{'fine-grained' if fine_grained else 'distinct'} glyphs, "
            f"got {num_classes}"
        )
    if fine_grained:
        enough = np.searchsorted(np.cumsum([len(kind) for kind in kinds]), num_classes)
        kinds = kinds[: int(enough) + 1]
    return _taking_turns(kinds)[:num_classes]


def draw_glyphs(
    labels: np.ndarray,
    alphabet: tuple[str, ...],
    image_size: int,
    generator: np.random.Generator,
    strain: float = 1.0,
) -> np.ndarray:
    """Draw one image per label: its glyph, somewhere near the centre, on clutter.

    Image i is a function of the generator's seed, i and `labels[i]` alone: other
    labels, and how many follow, change nothing in it. The bytes also hang on the
    versions of Pillow (FreeType) and matplotlib (fonts).

    Args:
        labels: (N,) integers in 0..C-1, C = len(alphabet).
        alphabet: C characters, from `glyph_alphabet`.
        image_size: S, in pixels, at least 16.
        generator: its children are spawned: a second call draws other images.
        strain: how far drawings of a class stray from each other, in (0, 1].

    Returns (N, S, S, 3) uint8, RGB.
    """
    num_samples = len(labels)
    # One stream per array, filled row by row: row i never depends on N.
    layout_rng, clutter_rng, colour_rng, texture_rng, strength_rng, noise_rng = (
        generator.spawn(6)
    )
    layout = layout_rng.random((num_samples, 7))
    clutter = clutter_rng.random((num_samples, _NUM_CLUTTER_GLYPHS, 8))
    colours = colour_rng.random((num_samples, 3 + _NUM_CLUTTER_GLYPHS, 3))
    strengths = strength_rng.random((num_samples, 8))
    textures = texture_rng.random((num_samples, _BLOB_SIDE, _BLOB_SIDE, 3))

    images = np.empty((num_samples, image_size, image_size, 3), np.uint8)
    for start in range(0, num_samples, _CHUNK):
        part = slice(start, start + _CHUNK)
        glyphs = _target_masks(labels[part], alphabet, layout[part], image_size, strain)
        others = _clutter_masks(alphabet, clutter[part], image_size)
        noise = noise_rng.standard_normal(
            (len(glyphs), image_size, image_size, 3), np.float32
        )
        drawn = colours[part], strengths[part], textures[part]
        images[part] = _compose(glyphs, others, *drawn, noise, strain)
    return images


def stand_in_counts(
    histogram: Mapping[int, int], num_classes: int, num_images: int
) -> np.ndarray:
    """Class counts that follow a published class-count curve, for fewer classes.

    1. The classes are shared among Many, Medium and Few as the published classes are,
       by largest remainder, one each at least.
    2. A group's k classes take the published counts of that group at its quantiles
       (i + 1/2) / k; a class has two images at least.
    3. While the total exceeds `num_images`, counts are pressed towards the least count
       of their group, f, by n -> f (n / f)^t, rounded, with the largest t in [0, 1]
       that fits: Many (f = 101) first; Medium (f = 20) only once every Many class is
       at 101; Few (f = 2) only once every Medium class is at 20.

    Args:
        histogram: published {training images of a class: number of such classes}.
        num_classes: C, from 3 to the number of published classes.
        num_images: images that the counts may add up to; they come within about C of it
            where step 3 had to press.

    Returns (C,) int64 counts, descending. Raises ValueError: `num_classes` is out of
    range, or `num_images` is less than C classes need.
    """
    published = np.repeat([*histogram.keys()], [*histogram.values()])
    published = np.sort(published)[::-1]
    if not 3 <= num_classes <= len(published):
        raise ValueError(
            f"num_classes: expected 3..{len(published)}, got {num_classes}"
        )
    groups = [published[group] for group in shot_groups(published).values()]
    shares = _apportion([len(group) for group in groups], num_classes)
    thinned = [
        np.maximum(_quantiles(group, share), _SMALLEST_CLASS)
        for group, share in zip(groups, shares, strict=True)
    ]
    floors = (MANY_ABOVE + 1, FEW_BELOW, _SMALLEST_CLASS)
    least = int(np.dot(shares, floors))
    if num_images < least:
        raise ValueError(
            f"num_images: expected at least {least} for {num_classes} classes, "
            f"got {num_images}"
        )
    for g, floor in enumerate(floors):
        others = sum(int(group.sum()) for group in thinned) - int(thinned[g].sum())
        thinned[g] = _press(thinned[g], floor, num_images - others)
    return np.concatenate(thinned)


def _taking_turns(families: tuple[str, ...]) -> tuple[str, ...]:
    """All characters, spread evenly: the j-th of k sits at (j + 1/2) / k."""
    places = [
        ((j + 0.5) / len(family), f, character)
        for f, family in enumerate(families)
        for j, character in enumerate(family)
    ]
    return tuple(character for _, _, character in sorted(places))


@lru_cache(maxsize=64)
def _font(font_index: int, em_pixels: int) -> ImageFont.FreeTypeFont:
    """Font by its index in `_FONT_FILES`, at a size in pixels."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # The basic layout is the one that every build of Pillow has.
    return ImageFont.truetype(
        str(folder / f"{_FONT_FILES[font_index]}.ttf"),
        em_pixels,
        layout_engine=ImageFont.Layout.BASIC,
    )


@lru_cache(maxsize=16384)
def _ink(character: str, font_index: int, em_pixels: int, stroke: int) -> Image.Image:
    """The glyph's coverage, 0..255, cut to its ink and framed by 1 empty pixel."""
    font = _font(font_index, em_pixels)
    left, top, right, bottom = font.getbbox(character, stroke_width=stroke)
    size = (int(right - left) + 2, int(bottom - top) + 2)
    ink = Image.new("L", size)
    ImageDraw.Draw(ink).text(
        (1 - left, 1 - top), character, fill=255, font=font, stroke_width=stroke
    )
    return ink


def _between(uniform: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Uniform numbers in [0, 1), moved to [low, high)."""
    return limits[0] + (limits[1] - limits[0]) * uniform


def _target_masks(
    labels: np.ndarray,
    alphabet: tuple[str, ...],
    layout: np.ndarray,
    image_size: int,
    strain: float,
) -> np.ndarray:
    """Masks (n, S, S) in [0, 1] of the labels' glyphs; layout (n, 7) in [0, 1)."""
    font, size, turn, slant, right, down, stroke = layout.T
    shift = strain * _MAX_SHIFT * (2 * np.stack([right, down], axis=1) - 1)
    return _masks(
        [alphabet[label] for label in labels],
        (font * len(_FONT_FILES)).astype(int),
        (stroke < _STROKE_SHARE).astype(int),
        _between(size, (1 - strain * (1 - _SIZE_RANGE[0]), _SIZE_RANGE[1])),
        strain * _MAX_TURN * (2 * turn - 1),
        strain * _MAX_SLANT * (2 * slant - 1),
        0.5 + shift,
        image_size,
    )


def _clutter_masks(
    alphabet: tuple[str, ...], clutter: np.ndarray, image_size: int
) -> np.ndarray:
    """Masks (n, G, S, S) of other glyphs, cut by the border; clutter (n, G, 8)."""
    num_samples, num_glyphs, _ = clutter.shape
    rows = clutter.reshape(num_samples * num_glyphs, -1)
    which, font, size, turn, slant, around, away, stroke = rows.T
    angle = 2 * np.pi * around
    radius = _between(away, _CLUTTER_RADIUS)
    centres = 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    masks = _masks(
        [alphabet[int(w * len(alphabet))] for w in which],
        (font * len(_FONT_FILES)).astype(int),
        (stroke < _STROKE_SHARE).astype(int),
        _between(size, _SIZE_RANGE),
        np.pi * (2 * turn - 1),
        _MAX_SLANT * (2 * slant - 1),
        centres,
        image_size,
    )
    return masks.reshape(num_samples, num_glyphs, image_size, image_size)


def _masks(
    characters: list[str],
    fonts: np.ndarray,
    strokes: np.ndarray,
    sizes: np.ndarray,
    turns: np.ndarray,
    slants: np.ndarray,
    centres: np.ndarray,
    image_size: int,
) -> np.ndarray:
    """Coverage (n, S, S) in [0, 1] of one sheared, scaled and turned glyph each.

    `sizes` is the em and `centres` (n, 2) the place of the ink's centre, both as
    fractions of the image side; `turns` is in radians.
    """
    cos, sin = np.cos(turns), np.sin(turns)
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    shear = np.broadcast_to(np.eye(2), turn.shape).copy()
    shear[:, 0, 1] = slants
    # Pillow asks where a pixel of the image comes from: the inverse map.
    inverse = np.linalg.inv(sizes[:, None, None] * turn @ shear)
    origins = -np.einsum("nij,nj->ni", inverse, centres * image_size)
    maps = np.concatenate([inverse, origins[:, :, None]], axis=2).reshape(-1, 6)

    masks = np.empty((len(characters), image_size, image_size), np.float32)
    for i, (character, affine) in enumerate(
        zip(characters, maps.tolist(), strict=True)
    ):
        ink = _ink(character, int(fonts[i]), image_size, int(strokes[i]))
        affine[2] += ink.width / 2
        affine[5] += ink.height / 2
        masks[i] = ink.transform(
            (image_size, image_size),
            Image.Transform.AFFINE,
            affine,
            Image.Resampling.BILINEAR,
        )
    masks /= 255
    return masks


def _compose(
    glyphs: np.ndarray,
    others: np.ndarray,
    colours: np.ndarray,
    strengths: np.ndarray,
    textures: np.ndarray,
    noise: np.ndarray,
    strain: float,
) -> np.ndarray:
    """Lay ground, clutter, line and glyph over each other; then blur, noise, 8 bits.

    Args:
        glyphs: (n, S, S) masks of the targets, in [0, 1].
        others: (n, G, S, S) masks of the clutter, in [0, 1].
        colours: (n, 3 + G, 3) in [0, 1): of ground, glyph, line and each clutter glyph.
        strengths: (n, 8) in [0, 1): how strong, and for the line where, each effect is.
        textures: (n, 4, 4, 3) in [0, 1): the ground's coarse texture.
        noise: (n, S, S, 3) standard normal.
        strain: of contrast, texture, line, blur and noise.
    """
    side = glyphs.shape[1]
    ground = _between(colours[:, 0], _GROUND_RANGE)
    contrast, blob, sigma, blur, has_line, angle, offset, width = strengths.T

    amplitude = strain * _between(blob, _BLOB_RANGE)[:, None, None, None]
    texture = _enlarged(amplitude * (textures - 0.5), side)
    canvas = (ground[:, None, None, :] + texture).astype(np.float32, order="C")

    contrast = 1 - strain * (1 - _between(contrast, _CONTRAST_RANGE))
    for g in range(_NUM_CLUTTER_GLYPHS):
        _lay(canvas, others[:, g], _darker(colours[:, 3 + g], ground, contrast))
    lines = _line_masks(angle, offset, width, side)
    lines *= (has_line < strain * _LINE_SHARE)[:, None, None]
    _lay(canvas, lines, colours[:, 2])
    _lay(canvas, glyphs, _darker(colours[:, 1], ground, contrast))

    blurred = blur < strain * _BLUR_SHARE
    canvas[blurred] = _blurred(canvas[blurred])
    deviation = strain * _between(sigma, _NOISE_RANGE).astype(np.float32)
    canvas += deviation[:, None, None, None] * noise
    canvas *= 255
    return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def _darker(inks: np.ndarray, grounds: np.ndarray, contrasts: np.ndarray) -> np.ndarray:
    """Ink colours (n, 3): from the ground's own to a dark one, by contrast (n,)."""
    dark = _between(inks, _INK_RANGE)
    return grounds + contrasts[:, None] * (dark - grounds)


def _lay(canvas: np.ndarray, masks: np.ndarray, inks: np.ndarray) -> None:
    """Paint (n, 3) inks over the canvas (n, S, S, 3), in place, where masks say."""
    colour = inks.astype(np.float32)[:, None, None, :]
    canvas += masks[..., None] * (colour - canvas)


def _line_masks(
    angle: np.ndarray, offset: np.ndarray, width: np.ndarray, side: int
) -> np.ndarray:
    """Straight strokes (n, S, S): direction, distance from the centre and width."""
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    cos = np.cos(np.pi * angle).astype(np.float32)[:, None, None]
    sin = np.sin(np.pi * angle).astype(np.float32)[:, None, None]
    level = (0.8 * offset - 0.4).astype(np.float32)[:, None, None]
    distance = np.abs(cos * place + sin * place[:, None] - level) * side
    half_width = (side / 32 * (0.5 + width)).astype(np.float32)[:, None, None]
    return np.clip(half_width - distance + 0.5, 0, 1)


def _enlarged(textures: np.ndarray, side: int) -> np.ndarray:
    """Coarse cells (n, k, k, 3), interpolated linearly to pixels (n, S, S, 3)."""
    cells = textures.shape[1]
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells)))
    for _ in range(2):  # the rows, then the columns
        # One product per image, of one shape: never rounded by the size of the batch.
        flat = textures.reshape(*textures.shape[:2], -1)
        textures = (weights @ flat).reshape(len(textures), side, -1, 3).swapaxes(1, 2)
    return textures


def _blurred(canvas: np.ndarray) -> np.ndarray:
    """Smooth (n, S, S, 3) images by [1, 2, 1] / 4 along both axes, edges repeated."""
    for axis in (1, 2):
        edge = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        padded = np.moveaxis(np.pad(canvas, edge, mode="edge"), axis, 0)
        smooth = 0.25 * (padded[:-2] + padded[2:]) + 0.5 * padded[1:-1]
        canvas = np.moveaxis(smooth, 0, axis)
    return canvas


def _apportion(sizes: list[int], num_classes: int) -> list[int]:
    """Share out `num_classes` like `sizes`, by largest remainder, one each at least."""
    spare = num_classes - len(sizes)
    exact = np.maximum(num_classes * np.array(sizes) / sum(sizes) - 1, 0)
    exact *= spare / exact.sum() if exact.sum() > 0 else 0
    shares = np.floor(exact).astype(int)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: spare - shares.sum()]] += 1
    return [1 + int(share) for share in shares]


def _quantiles(counts: np.ndarray, num_classes: int) -> np.ndarray:
    """The counts at the quantiles (i + 1/2) / k of a sorted curve, i = 0..k-1."""
    places = (np.arange(num_classes) + 0.5) * len(counts) / num_classes
    return counts[places.astype(int)]


def _press(counts: np.ndarray, floor: int, budget: int) -> np.ndarray:
    """n -> floor (n / floor)^t, with the largest t in [0, 1] that fits, else 0."""
    if counts.sum() <= budget:
        return counts
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        fits = np.rint(floor * (counts / floor) ** middle).sum() <= budget
        low, high = (middle, high) if fits else (low, middle)
    return np.rint(floor * (counts / floor) ** low).astype(np.int64)
