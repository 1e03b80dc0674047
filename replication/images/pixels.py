"""From a file's bytes to pixels as training reads them: the faster of two decoders."""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from replication.data.decoding import BROKEN, decode

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # torchvision means to give it up, from 0.29 on
    decode_jpeg = None


def decode_pixels(content: bytes, place: Path) -> Tensor:
    """Decode an image whole, as `decode` does, by the faster of two decoders.

    Pillow says what a file is. A JPEG of one or three colours goes to torchvision's
    decoder: the same library's, the same bytes (a test compares them for every way to
    sample colours), a third sooner. Whatever else it is, and whatever torchvision
    refuses, such as a file that is cut off, is for Pillow to decode or refuse; so is
    everything where torchvision has no decoder any more.

    Args:
        content: the file's bytes.
        place: the file, for the refusal.

    Returns:
        (3, H, W) uint8, channels innermost in memory.

    Raises:
        BadInput: not an image, truncated, or too large to be one.
    """
    if decode_jpeg is not None and _is_plain_jpeg(content):
        try:
            encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            return decode_jpeg(encoded, mode=ImageReadMode.RGB)
        except RuntimeError:
            pass
    return pil_to_tensor(decode(content, place))


def _is_plain_jpeg(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return opened.format in ("JPEG", "MPO") and opened.mode in ("L", "RGB")
    except BROKEN:
        return False
