"""Where images come from: image folders, CIFAR-100's download, the stand-in."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from replication.core.files import BadInput, read_json
from replication.core.settings import PUBLISHED, DataSettings
from replication.data.decoding import decode
from replication.data.glyphs import draw_glyphs, glyph_alphabet, stand_in_counts
from replication.data.layouts import list_official
from replication.data.listing import SPLITS, Listing, first_of
from replication.data.lists import Published, has_lists, read_published, wanted
from replication.samples.shots import class_counts, exponential_counts, thin

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
PACKED_SIDE = 64
SMALLEST_GLYPH = 16  # pixels a side
_FINE_GRAINED = frozenset({"inat18"})
_TWIN_STRAIN = 0.5
_AT_ONCE = 64

Tell = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Prepared:
    """A benchmark ready for use.

    Fields: `listing`; `hashes` (N,) of each image's content; `pixels` (N, H, W, 3)
    uint8 where the images are small enough to be kept decoded, else None.
    """

    listing: Listing
    hashes: np.ndarray
    pixels: np.ndarray | None


def untold(step: int, steps: int, metrics: Mapping[str, float]) -> None:
    """Progress that nobody wants to know."""


def prepare(settings: DataSettings, downloads: Path, tell: Tell = untold) -> Prepared:
    """Bring a benchmark into its index form, refusing what cannot be trained on.

    Args:
        settings: of the benchmark.
        downloads: folder for what is downloaded.
        tell: told (image from 0, images, nothing) as images are opened.

    Raises:
        BadInput: a line for each thing wrong with the images, all of them at once.
    """
    if settings.stand_in:
        return draw_stand_in(settings)
    listing = list_images(settings, downloads)
    hashes, pixels = read_images(listing, settings, tell)
    return Prepared(listing, hashes, pixels)


def list_images(settings: DataSettings, downloads: Path) -> Listing:
    """List a benchmark's images, thinned where an imbalance factor says so.

    By the field's lists where one is there, else as an image folder.
    """
    assert settings.images is not None
    thinned = settings.imbalance_factor is not None
    if settings.images == "torchvision":
        root = download_cifar100(downloads)
    else:
        root = Path(settings.images).expanduser()
    published = read_published(settings.benchmark)
    if published is not None and is_listed(root, published):
        listing = list_official(root, published, thinned)
    else:
        listing = list_folder(root)
    return thin_listing(listing, settings) if thinned else listing


def is_listed(root: Path, published: Published) -> bool:
    """Whether a root holds one of the field's lists, and is no plain image folder.

    Raises:
        BadInput: it is neither.
    """
    if has_lists(root, published):
        return True
    if (root / "train").is_dir() and (root / "test").is_dir():
        return False
    raise BadInput(
        f"{root}: expected {wanted(published)} there or in lists/, or folders "
        "train/<class>/ and test/<class>/, found neither"
    )


def list_folder(root: Path) -> Listing:
    """List an image folder `<split>/<class>/<image>` with splits train, test and val.

    Classes are numbered by the sorted names of train's folders.

    Raises:
        BadInput: a line for each: no train or test folder, a folder without images, a
            class without test images, a test or val class never trained, two classes
            that differ only in case.
    """
    problems = [
        f"{root}: expected a folder {split}/, found none"
        for split in ("train", "test")
        if not (root / split).is_dir()
    ]
    if problems:
        raise BadInput(problems)
    names = {split: _class_folders(root / split) for split in SPLITS}
    class_names = names["train"]
    if not class_names:
        raise BadInput(f"{root}/train: expected a folder a class, found none")
    problems += _case_twins(root / "train", class_names)
    problems += [
        f"{root}/test: expected images of class {name}, found no such folder"
        for name in class_names
        if name not in names["test"]
    ]
    problems += [
        f"{root}/{split}/{name}: expected a class of train/, found no such class there"
        for split in ("val", "test")
        for name in names[split]
        if name not in class_names
    ]
    number = {name: label for label, name in enumerate(class_names)}
    paths: list[str] = []
    labels: list[int] = []
    splits: list[str] = []
    for split in SPLITS:
        for name in names[split]:
            folder = root / split / name
            found = sorted(
                entry.name
                for entry in folder.iterdir()
                if entry.suffix.lower() in IMAGE_ENDINGS
            )
            if not found:
                problems.append(f"{folder}: expected images, found an empty folder")
            problems += [
                f"{folder}: expected file names in UTF-8, got {file!r}"
                for file in found
                if not _is_text(file)
            ]
            paths += [f"{split}/{name}/{file}" for file in found]
            labels += [number.get(name, -1)] * len(found)
            splits += [split] * len(found)
    if problems:
        raise BadInput(problems)
    return Listing(
        root, np.array(paths), np.array(labels), np.array(splits), tuple(class_names)
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _case_twins(folder: Path, names: Sequence[str]) -> list[str]:
    first: dict[str, str] = {}
    twins = []
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            twins.append(
                f"{folder}: expected class names that differ by more than case, "
                f"got {other} and {name}"
            )
    return twins


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
    splits = listing.splits.copy()
    splits[in_train[held_out]] = "val"
    others = np.flatnonzero(listing.splits != "train")
    kept = np.concatenate([in_train[train], in_train[held_out], others])
    return replace(
        listing,
        paths=listing.paths[kept],
        labels=listing.labels[kept],
        splits=splits[kept],
    )


def download_cifar100(folder: Path) -> Path:
    """Download CIFAR-100 with torchvision and lay it out as an image folder.

    Raises:
        BadInput: the download failed.
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
    listing: Listing, settings: DataSettings, tell: Tell = untold
) -> tuple[np.ndarray, np.ndarray | None]:
    """Open every image once: hash its content, prove it whole, keep it if it is small.

    Args:
        listing: what to open.
        settings: the size that the network sees.
        tell: told (image from 0, images, nothing) as images are opened.

    Returns:
        hashes: (N,) text, 16 hexadecimal digits of SHA-256 of the file.
        pixels: (N, H, W, 3) uint8 where the network's images are at most 64 pixels a
            side, shorter side resized and centre cropped; else None.

    Raises:
        BadInput: a line for each of the first ten images that do not decode, and how
            many more there are.
    """
    side = settings.image_size
    packed = side <= PACKED_SIDE

    def read(path: str) -> tuple[str, np.ndarray | None] | str:
        place = listing.root / path
        try:
            content = place.read_bytes()
            image = decode(content, place)
        except BadInput as error:
            return str(error)
        except OSError as error:
            return f"{place}: expected a whole image, got {error.strerror}"
        digest = hashlib.sha256(content).hexdigest()[:16]
        return digest, _centre(image, settings.resize, side) if packed else None

    results: list[tuple[str, np.ndarray | None] | str] = []
    paths = listing.paths.tolist()
    parts = [paths[i : i + _AT_ONCE] for i in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor() as threads:
        for part in threads.map(lambda part: [read(path) for path in part], parts):
            results += part
            tell(len(results) - 1, len(paths), {})
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise BadInput(first_of(problems, listing.root, "images"))
    hashes = np.array([result[0] for result in results])
    pixels = np.stack([result[1] for result in results]) if packed else None
    return hashes, pixels


def _centre(image: Image.Image, resize: int, side: int) -> np.ndarray:
    """Resize the shorter side, crop the centre; leave an image of that size alone."""
    if image.size != (side, side):
        scale = max(resize, side) / min(image.size)
        size = [max(round(length * scale), side) for length in image.size]
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = ((length - side) // 2 for length in size)
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image)


def draw_stand_in(settings: DataSettings) -> Prepared:
    """Draw the embedded stand-in: glyphs, with the benchmark's published class curve.

    Val and test are balanced. The hash of an image is that of its pixels.
    """
    published = read_json(PUBLISHED / "class_counts.json")
    histogram = _curve(settings.benchmark, published)
    num_classes, num_images = settings.num_classes, settings.num_images
    if settings.image_size < SMALLEST_GLYPH:
        raise BadInput(
            f"params.yaml: view.image_size: expected at least {SMALLEST_GLYPH} pixels, "
            f"to draw the stand-in, got {settings.image_size}"
        )
    try:
        alphabet = glyph_alphabet(num_classes, settings.benchmark in _FINE_GRAINED)
        counts = stand_in_counts(histogram, num_classes, num_images)
    except ValueError as error:
        raise BadInput(
            f"params.yaml: data.num_classes, data.num_images: {error}; "
            f"got {num_classes} and {num_images}"
        ) from None
    per_split = {
        "train": counts,
        "val": np.full(num_classes, settings.validation_per_class),
        "test": np.full(num_classes, settings.test_per_class),
    }
    classes = np.arange(num_classes)
    labels = {split: np.repeat(classes, number) for split, number in per_split.items()}
    strain = _TWIN_STRAIN if settings.benchmark in _FINE_GRAINED else 1.0
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
        labels=np.concatenate([labels[split] for split in SPLITS]),
        splits=np.repeat(SPLITS, [len(labels[split]) for split in SPLITS]),
        class_names=alphabet,
    )
    return Prepared(listing, np.array(list(_hashes(pixels))), pixels)


def _curve(benchmark: str, published: dict) -> dict[int, int]:
    if benchmark in published:
        histogram = published[benchmark]["histogram"]
        return {int(count): int(classes) for count, classes in histogram.items()}
    counts, classes = np.unique(exponential_counts(500, 100, 100), return_counts=True)
    return dict(zip(counts.tolist(), classes.tolist(), strict=True))


def _hashes(pixels: np.ndarray) -> Iterable[str]:
    return (hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels)
