"""One way from a file's bytes to 8-bit RGB, for checking and for training alike."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from replication.core.files import BadInput

BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def decode(content: bytes, place: Path) -> Image.Image:
    """Decode an image whole.

    Args:
        content: the file's bytes.
        place: the file, for the refusal.

    Returns:
        8-bit RGB; of 16 bits the upper 8 count.

    Raises:
        BadInput: not an image, truncated, or too large to be one.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            if opened.mode.startswith("I"):
                upper = np.asarray(opened).astype(np.int64) >> 8
                return Image.fromarray(upper.clip(0, 255).astype(np.uint8)).convert(
                    "RGB"
                )
            return opened.convert("RGB")
    except UnidentifiedImageError:
        raise BadInput(f"{place}: expected a whole image, got no image") from None
    except BROKEN as error:
        text = str(error).strip().splitlines()
        reason = text[0] if text else type(error).__name__
        raise BadInput(f"{place}: expected a whole image, got {reason}") from None
