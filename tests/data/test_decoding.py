"""Files that are not plain RGB: converted as the field does, or refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from replication.data.decoding import decode

SIDE = 32
RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
COLOURS = np.stack([RAMP // 4, 255 - RAMP // 4, RAMP % 256], axis=2).astype(np.uint8)


def written(image: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def photograph() -> Image.Image:
    return Image.fromarray(COLOURS)


def with_orientation(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return written(photograph(), kind, exif=exif)


def png_of_size(width: int, height: int, bits: int = 8, rows: bytes = b"") -> bytes:
    """A PNG of colours; without rows its head promises more pixels than it holds."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = (
        chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def colours_of_16_bits(values: np.ndarray) -> bytes:
    rows = (b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of_size(SIDE, SIDE, 16, b"".join(rows))


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2).astype(np.uint8)


def transparent() -> Image.Image:
    alpha = (RAMP % 256).astype(np.uint8)[:, :, None]
    return Image.fromarray(np.concatenate([COLOURS, alpha], axis=2))


def palette() -> Image.Image:
    image = Image.fromarray((RAMP % 4).astype(np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    return image


def animation() -> bytes:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
    return written(frames[0], "GIF", save_all=True, append_images=frames[1:])


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]])
CONVERTED = {
    "greyscale": (written(Image.fromarray(COLOURS[:, :, 2]), "PNG"), grey(RAMP % 256)),
    "16-bit PNG": (
        written(Image.fromarray((RAMP * 64).astype(np.uint16)), "PNG"),
        grey(RAMP * 64 >> 8),
    ),
    "16-bit colours": (colours_of_16_bits(COLOURS.astype(int) * 257), COLOURS),
    "JPEG and zeros": (written(photograph(), "JPEG") + bytes(99), None),
    "alpha is left out": (written(transparent(), "PNG"), COLOURS),
    "palette": (written(palette(), "PNG"), PALETTE[RAMP % 4]),
    "EXIF is not followed": (with_orientation("PNG"), COLOURS),
    "first frame": (animation(), np.full((SIDE, SIDE, 3), [255, 0, 0])),
    "WebP by another name": (written(photograph(), "WEBP", lossless=True), COLOURS),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_odd_file_becomes_rgb(case, tmp_path) -> None:
    content, expected = CONVERTED[case]
    image = decode(content, tmp_path / "odd.jpg")
    assert image.mode == "RGB"
    if expected is None:  # no more than what Pillow makes of it
        expected = Image.open(io.BytesIO(content))
    assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_values_without_a_known_range_are_refused(tmp_path, refused) -> None:
    """Whose upper bits are empty, a sensor's; and floating point."""
    path = tmp_path / "x"
    for values, got in (
        (RAMP.astype(np.uint16), "values of 0 to 1023"),
        ((RAMP * 15).astype(np.uint16), "values of 0 to 15345"),
        ((RAMP * 64).astype(np.int32) * 2, "values of 0 to 130944"),
        ((RAMP / 1023).astype(np.float32), "values of 0.0 to 1.0"),
    ):
        content = written(Image.fromarray(values), "TIFF")
        (line,) = refused(lambda content=content: decode(content, path))
        assert line == (
            f"{path}: expected 8 bits a colour, or 16 that are used, got {got}: their "
            "range is not said; scale them to 8 bits"
        )
    content = colours_of_16_bits(np.full((SIDE, SIDE, 3), 4000))
    (line,) = refused(lambda: decode(content, path))
    assert ", got values of 3840 to 3840: their range" in line  # of the upper 8 bits


def cut(content: bytes) -> bytes:
    return content[:-100]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2].ljust(len(content), b"\0")


REFUSED = {
    "empty": (b"", "no image"),
    "text": (b"<html>404 Not Found</html>", "no image"),
    "head alone": (written(photograph(), "JPEG")[:4], "no image"),
    "cut JPEG": (cut(written(photograph(), "JPEG", quality=100)), "truncated"),
    "zero-filled JPEG": (cut(written(photograph(), "JPEG")) + bytes(100), "truncated"),
    "zero-filled WebP": (half(written(photograph(), "WEBP")), ""),
    "cut PNG": (cut(written(photograph(), "PNG")), ""),
    "cut WebP": (cut(written(photograph(), "WEBP")), ""),
    "bomb": (png_of_size(20000, 20000), "exceeds limit"),
    "no pixels": (png_of_size(SIDE, SIDE), ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_broken_file_is_one_line(case, tmp_path, refused) -> None:
    content, reason = REFUSED[case]
    path = tmp_path / "broken.jpg"
    (line,) = refused(lambda: decode(content, path))
    assert line.startswith(f"{path}: expected a whole image, got ")
    assert reason in line.lower()
    assert not line.endswith("got ")
