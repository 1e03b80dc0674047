"""One way from a file's bytes to 8-bit RGB, for checking and for training alike."""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from replication.core.files import BadInput, first_line

Item, Got = TypeVar("Item"), TypeVar("Got")
_AT_ONCE = 64
_JPEG, _WEBP = b"\xff\xd8", b"RIFF"
_LEAST_OF_16 = 2**14  # what a sensor of 14 bits does not reach
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def from_disk(of: Callable[[Item], Got], items: Sequence[Item]) -> Iterator[Got]:
    """What a function makes of each item, in order, by threads that wait for a disk."""
    parts = [items[i : i + _AT_ONCE] for i in range(0, len(items), _AT_ONCE)]
    with ThreadPoolExecutor() as threads:
        for part in threads.map(lambda part: [of(item) for item in part], parts):
            yield from part


def read_image(place: Path) -> bytes:
    """An image file's content, or BadInput."""
    try:
        return place.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{place}: expected a whole image, got {error.strerror}"
        ) from None


def decode(content: bytes, place: Path) -> Image.Image:
    """Decode the content of `place` whole, to 8-bit RGB; of 16 bits the upper 8 count.

    Its EXIF orientation is not followed, as in the field's pipelines.

    Raises BadInput: not an image, truncated, too large to be one, or of values whose
    range nothing says: floating point, or more than 8 bits with the upper ones empty,
    as sensors of 10 to 14 bits leave them.
    """
    # Zeros in place of an end would be grey; a whole WebP may end with a few.
    whole = content.rstrip(b"\0")
    if content.startswith(_JPEG) or (
        content.startswith(_WEBP) and len(whole) < 7 / 8 * len(content)
    ):
        content = whole
    try:
        with Image.open(io.BytesIO(content)) as opened:
            colours_of_16 = ";16" in str(opened.tile)  # Pillow reads the upper 8
            opened.load()
            if opened.mode == "F" or opened.mode.startswith("I"):
                values = np.asarray(opened)
            else:
                image = opened.convert("RGB")
                if not colours_of_16:
                    return image
                values = np.asarray(image).astype(np.int64) << 8
            least, most = values.min(), values.max()
            if opened.mode == "F" or least < 0 or not _LEAST_OF_16 <= most < 2**16:
                raise BadInput(
                    f"{place}: expected 8 bits a colour, or 16 that are used, got "
                    f"values of {least} to {most}: their range is not said; scale them "
                    "to 8 bits"
                )
            upper = Image.fromarray((values.astype(np.int64) >> 8).astype(np.uint8))
            return upper.convert("RGB")
    except UnidentifiedImageError:
        raise BadInput(f"{place}: expected a whole image, got no image") from None
    except _BROKEN as error:
        reason = first_line(error)
        raise BadInput(f"{place}: expected a whole image, got {reason}") from None
