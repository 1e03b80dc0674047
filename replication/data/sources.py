"""Where images come from: image folders, CIFAR-100's download, the stand-in."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from replication.core.files import BadInput, read_json
from replication.core.progress import Tell
from replication.core.settings import PUBLISHED, DataSettings
from replication.data.decoding import decode, from_disk, read_image
from replication.data.folders import has_splits, list_folder
from replication.data.glyphs import draw_glyphs, glyph_alphabet, stand_in_counts
from replication.data.layouts import list_official
from replication.data.listing import SPLITS, Listing, counted, first_of, one_level_down
from replication.data.lists import (
    has_lists,
    read_published,
    remarks,
    wanted,
)
from replication.data.repeats import find_repeats
from replication.samples.shots import class_counts, exponential_counts, thin

PACKED_SIDE = 64
SMALLEST_GLYPH = 16  # pixels a side
_FINE_GRAINED = frozenset({"inat18"})
_TWIN_STRAIN = 0.5
_DARK = 64  # of 256: what no pixel of a dark image reaches
_FEW = 0.01  # of the images: so many may be dark


@dataclass(frozen=True)
class Prepared:
    """A benchmark ready for use.

    Fields: `listing`; `hashes` (N,) of each image's content; `pixels` (N, H, W, 3)
    uint8 where the images are small enough to be kept decoded, else None; `notes`, what
    a reader of its numbers is told, a sentence each; `doubts`, what makes them partial.
    """

    listing: Listing
    hashes: np.ndarray
    pixels: np.ndarray | None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def prepare(
    settings: DataSettings, downloads: Path, tell: Tell = lambda *_: None
) -> Prepared:
    """Bring a benchmark into its index form, refusing what cannot be trained on.

    `downloads` is the folder for what is downloaded; `tell` is told (image from 0,
    images, nothing) as images are opened.

    Raises BadInput: a line for each thing wrong with the images, all of them at once.
    """
    if settings.stand_in:
        return draw_stand_in(settings)
    listing = list_images(settings, downloads)
    side = settings.image_size
    how = Image.Resampling[settings.interpolation.upper()]
    hashes, shown, pixels, notes = read_images(
        listing, settings.resize, side, how, tell
    )
    repeats = find_repeats(listing, shown)
    notes = (*listing.notes, *notes, *repeats.notes)
    return Prepared(listing, hashes, pixels, notes, repeats.doubts)


def list_images(settings: DataSettings, downloads: Path) -> Listing:
    """List a benchmark's images, thinned where an imbalance factor says so.

    By the field's lists where one is there, else as an image folder. Raises BadInput:
    it is neither, or of another benchmark.
    """
    assert settings.images is not None
    thinned = settings.imbalance_factor is not None
    if settings.images == "torchvision":
        root = download_cifar100(downloads)
    else:
        root = Path(settings.images).expanduser()
    published = read_published(settings.benchmark)
    if published is None:
        listing = list_folder(root)
        classes, expected = len(listing.class_names), settings.published_classes
        if classes != (expected or classes):
            raise BadInput(
                f"{root}: expected the {expected} classes of {settings.benchmark}, got "
                f"{classes}; images of your own belong under inputs.own"
            )
    elif has_lists(root, published):
        listing = list_official(root, published, thinned)
    elif has_splits(root):
        listing = list_folder(root, published)
    else:
        below = one_level_down(
            root, lambda at: has_lists(at, published) or has_splits(at)
        )
        raise BadInput(
            f"{root}: expected {wanted(published)} there or in lists/, or folders "
            f"train/<class>/ and test/<class>/, found neither{below}"
        )
    if published is not None:
        said = remarks(listing, published, thinned)
        listing = replace(listing, notes=(*listing.notes, *said))
    return thin_listing(listing, settings) if thinned else listing


def thin_listing(listing: Listing, settings: DataSettings) -> Listing:
    """Make the training split long-tailed and hold out validation images.

    A val split that the folder brings is kept as it is, and nothing more is held out.
    """
    assert settings.imbalance_factor is not None
    in_train = np.flatnonzero(listing.splits == "train")
    labels = listing.labels[in_train]
    num_classes = len(listing.class_names)
    largest = int(class_counts(labels, num_classes).max())
    counts = exponential_counts(largest, settings.imbalance_factor, num_classes)
    has_val = bool((listing.splits == "val").any())
    train, held_out = thin(
        labels,
        counts,
        0 if has_val else settings.validation_per_class,
        np.random.default_rng(settings.seed),
    )
    short = np.flatnonzero(class_counts(labels, num_classes) < counts)
    notes = list(listing.notes)
    if len(short):
        notes.append(
            f"An imbalance factor of {settings.imbalance_factor:g} leaves "
            f"{counts[short[0]]:,} images of class {listing.class_names[short[0]]}, "
            f"which has fewer ({len(short):,} of {num_classes:,} classes): is the "
            "folder long-tailed already?"
        )
    splits = listing.splits.copy()
    splits[in_train[held_out]] = "val"
    others = np.flatnonzero(listing.splits != "train")
    kept = np.concatenate([in_train[train], in_train[held_out], others])
    return replace(
        listing,
        paths=listing.paths[kept],
        labels=listing.labels[kept],
        splits=splits[kept],
        notes=tuple(notes),
    )


def download_cifar100(folder: Path) -> Path:
    """Download CIFAR-100 with torchvision and lay it out as an image folder.

    Raises BadInput: the download failed.
    """
    from torchvision.datasets import CIFAR100

    root = folder / "cifar100"
    if (root / "complete").is_file():
        return root
    for split, train in (("train", True), ("test", False)):
        try:
            images = CIFAR100(str(folder), train=train, download=True)
        except Exception as error:  # torchvision passes on whatever urllib raises
            raise BadInput(
                "inputs.cifar100_lt.images: torchvision could not download CIFAR-100 "
                f"({type(error).__name__}: {error}); give the path of a folder "
                "train/<class>/, test/<class>/ instead"
            ) from None
        for number, (image, label) in enumerate(
            zip(images.data, images.targets, strict=True)
        ):
            place = root / split / images.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number:05d}.png")
    (root / "complete").touch()
    return root


def read_images(
    listing: Listing,
    resize: int,
    side: int,
    how: Image.Resampling,
    tell: Tell = lambda *_: None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Open every image once: hash its content, prove it whole, keep it if it is small.

    Returns:
        hashes: (N,) text, 16 hexadecimal digits of SHA-256 of the file.
        shown: (N,) likewise, of what it shows, however it was saved.
        pixels: (N, side, side, 3) uint8, shorter side resized and centre cropped,
            where they are small; else None.
        notes: a sentence for each kind of image that shows next to nothing.

    Raises:
        BadInput: a line for each of the first ten images that do not decode, and how
            many more there are.
    """
    packed = side <= PACKED_SIDE

    def read(path: str) -> tuple[str, str, np.ndarray | None, int, int] | BadInput:
        try:
            content = read_image(listing.root / path)
            image = decode(content, listing.root / path)
        except BadInput as error:
            return error
        pixels = _centred(image, resize, side, how) if packed else None
        ends = image.getextrema()
        spread = max(high - low for low, high in ends)
        shown = _digest(b"%d %d " % image.size + image.tobytes())
        return _digest(content), shown, pixels, spread, max(high for _, high in ends)

    paths = listing.paths.tolist()
    results: list[tuple[str, str, np.ndarray | None, int, int] | BadInput] = []
    for number, result in enumerate(from_disk(read, paths)):
        results.append(result)
        tell(number, len(paths), {})
    problems = [str(result) for result in results if isinstance(result, BadInput)]
    if problems:
        raise BadInput(first_of(problems, listing.root, "images"))
    hashes, shown, pixels, spread, brightest = zip(*results, strict=True)
    constant, dark = np.array(spread) == 0, np.array(brightest) < _DARK
    dark &= ~constant & (dark.mean() > _FEW)
    notes = [
        note
        for are_so, words in (
            (constant, "are of one colour throughout"),
            (dark, "have no pixel brighter than a quarter of the range"),
        )
        for note in counted(listing.paths[are_so], len(paths), f"images {words}")
    ]
    packed_pixels = np.stack(pixels) if packed else None
    return np.array(hashes), np.array(shown), packed_pixels, tuple(notes)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _centred(
    image: Image.Image, resize: int, side: int, how: Image.Resampling
) -> np.ndarray:
    """Resize the shorter side, crop the centre; leave an image of that size alone."""
    if image.size != (side, side):
        scale = max(resize, side) / min(image.size)
        size = [max(round(length * scale), side) for length in image.size]
        image = image.resize(size, how)
        left, top = ((length - side) // 2 for length in size)
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image)


def draw_stand_in(settings: DataSettings) -> Prepared:
    """Draw the embedded stand-in: glyphs, with the benchmark's published class curve.

    Val and test are balanced. The hash of an image is that of its pixels.
    """
    num_classes, num_images = settings.num_classes, settings.num_images
    twins = settings.benchmark in _FINE_GRAINED
    if settings.image_size < SMALLEST_GLYPH:
        raise BadInput(
            f"params.yaml: view.image_size: expected at least {SMALLEST_GLYPH} pixels, "
            f"to draw the stand-in, got {settings.image_size}"
        )
    try:
        alphabet = glyph_alphabet(num_classes, twins)
        counts = stand_in_counts(_curve(settings.benchmark), num_classes, num_images)
    except ValueError as error:
        raise BadInput(
            f"params.yaml: data.num_classes, data.num_images: {error}; "
            f"got {num_classes} and {num_images}"
        ) from None
    per_class = {
        "train": counts,
        "val": settings.validation_per_class,
        "test": settings.test_per_class,
    }
    labels = {s: np.repeat(np.arange(num_classes), per_class[s]) for s in SPLITS}
    strain = _TWIN_STRAIN if twins else 1.0
    generators = np.random.default_rng(settings.seed).spawn(len(SPLITS))
    pixels = np.concatenate(
        [
            draw_glyphs(labels[split], alphabet, settings.image_size, generator, strain)
            for split, generator in zip(SPLITS, generators, strict=True)
        ]
    )
    listing = Listing(
        root=Path("."),
        paths=np.array(
            [
                f"{split}/{label}/{number}"
                for split in SPLITS
                for number, label in enumerate(labels[split])
            ]
        ),
        labels=np.concatenate(list(labels.values())),
        splits=np.repeat(SPLITS, [len(part) for part in labels.values()]),
        class_names=alphabet,
    )
    hashes = np.array([_digest(image.tobytes()) for image in pixels])
    return Prepared(listing, hashes, pixels)


def _curve(benchmark: str) -> dict[int, int]:
    """Published training images of a class -> classes that have so many."""
    published = read_json(PUBLISHED / "class_counts.json")
    if benchmark in published:
        histogram = published[benchmark]["histogram"]
        return {int(count): classes for count, classes in histogram.items()}
    return dict(Counter(exponential_counts(500, 100, 100).tolist()))
