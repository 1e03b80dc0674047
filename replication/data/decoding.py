"""One way from a file's bytes to 8-bit RGB, for checking and for training alike."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from replication.core.files import BadInput

_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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

    Raises:
        BadInput: not an image, truncated, or too large to be one.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            if not opened.mode.startswith("I"):
                return opened.convert("RGB")
            upper = np.asarray(opened).astype(np.int64) >> 8
            grey = Image.fromarray(upper.clip(0, 255).astype(np.uint8))
            return grey.convert("RGB")
    except UnidentifiedImageError:
        raise BadInput(f"{place}: expected a whole image, got no image") from None
    except _BROKEN as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadInput(f"{place}: expected a whole image, got {reason}") from None
