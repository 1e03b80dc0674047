"""Files that are not plain RGB: converted as the field does, or refused by name."""

import io
import multiprocessing
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from replication.core.files import BadInput
from replication.data.decoding import decode
from replication.images import pixels
from replication.images.batches import ImageSplit, plain_batches
from replication.images.pixels import decode_pixels

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


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose head promises more pixels than it holds."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = (
        chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


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
    assert np.array_equal(np.asarray(image), expected)


def test_a_camera_turned_by_exif_is_not_followed(tmp_path) -> None:
    turned = decode(with_orientation("JPEG"), tmp_path / "turned.jpg")
    upright = decode(written(photograph(), "JPEG"), tmp_path / "upright.jpg")
    assert np.array_equal(np.asarray(turned), np.asarray(upright))


def cut(content: bytes) -> bytes:
    return content[:-100]


REFUSED = {
    "empty": (b"", "no image"),
    "text": (b"<html>404 Not Found</html>", "no image"),
    "head alone": (written(photograph(), "JPEG")[:4], "no image"),
    "cut JPEG": (cut(written(photograph(), "JPEG", quality=100)), "truncated"),
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


# --- two decoders, one result


def scene(width: int = 99, height: int = 70) -> Image.Image:
    """Smooth and rough in places, in colour; no side a multiple of a JPEG's block."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(256, size=(7, 9, 3), dtype=np.uint8))
    rough = generator.normal(0, 12, size=(height, width, 3))
    smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(smooth) + rough).clip(0, 255).astype(np.uint8))


def resampled(content: bytes, factors: int) -> bytes:
    """A JPEG that says of itself that its first channel has other sampling factors.

    Pillow writes neither 4:4:0 nor 4:1:1; blocks of the same number read as another,
    scrambled but whole image.
    """
    frame = content.index(b"\xff\xc0")
    return content[: frame + 11] + bytes([factors]) + content[frame + 12 :]


def jpegs() -> dict[str, bytes]:
    image, square = scene(), scene(128, 128)
    found = {
        f"{sampling} at {quality}, progressive {progressive}, {size}": written(
            image.crop((0, 0, *size)), "JPEG", quality=quality, subsampling=sampling,
            progressive=progressive,
        )
        for sampling in ("4:4:4", "4:2:2", "4:2:0")
        for quality in (30, 90, 100)
        for progressive in (False, True)
        for size in ((99, 70), (17, 9), (1, 1))
    }  # fmt: skip
    by_two = written(square, "JPEG", subsampling="4:2:2")
    by_four = written(square, "JPEG", subsampling="4:2:0")
    return found | {
        "4:4:0": resampled(by_two, 0x12),
        "4:1:1": resampled(by_four, 0x41),
        "restart markers": written(image, "JPEG", restart_marker_blocks=3),
        "restart markers by row": written(
            image, "JPEG", restart_marker_rows=1, progressive=True
        ),
        "greyscale": written(image.convert("L"), "JPEG"),
        "stored as RGB": written(image, "JPEG", keep_rgb=True),
        "tables of its own": written(image, "JPEG", optimize=True),
        "EXIF": with_orientation("JPEG"),
        "something after the end": written(image, "JPEG") + b"and more",
        "several pictures": written(
            image, "MPO", save_all=True, append_images=[image.rotate(90)]
        ),
    }


JPEGS = jpegs()
# Not for torchvision: it reads 16 bits in another way, and inks by rules of its own.
OTHERS = {
    "CMYK": written(scene().convert("CMYK"), "JPEG"),
    **{
        f"PNG {mode}": written(scene().convert(mode), "PNG")
        for mode in ("RGB", "RGBA", "L", "LA", "P", "1")
    },
    "PNG with a transparent colour": written(scene(), "PNG", transparency=(1, 2, 3)),
    **{name: content for name, (content, _) in CONVERTED.items()},
}


@pytest.mark.parametrize("case", [*JPEGS, *OTHERS])
def test_pixels_are_those_of_pillow(case, tmp_path) -> None:
    content = JPEGS.get(case) or OTHERS[case]
    found = decode_pixels(content, tmp_path / "a.jpg")
    expected = np.asarray(decode(content, tmp_path / "a.jpg"))
    assert found.dtype == torch.uint8
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_the_faster_decoder_is_the_one_that_is_compared(tmp_path, monkeypatch) -> None:
    """Every JPEG above passes through it, and nothing else does."""
    if pixels.decode_jpeg is None:
        pytest.skip("torchvision has no decoder any more")

    def refuse(content: bytes, place: Path) -> Image.Image:
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(pixels, "decode", refuse)
    for content in JPEGS.values():
        decode_pixels(content, tmp_path / "a.jpg")
    for content in OTHERS.values():
        with pytest.raises(AssertionError, match="Pillow was asked"):
            decode_pixels(content, tmp_path / "a.jpg")


@pytest.mark.parametrize("case", REFUSED)
def test_both_ways_refuse_in_the_same_words(case, tmp_path, refused) -> None:
    content, path = REFUSED[case][0], tmp_path / "broken.jpg"
    assert refused(lambda: decode_pixels(content, path)) == refused(
        lambda: decode(content, path)
    )


def pixels_or_refusal(content: bytes, place: Path, by_pillow: bool) -> Any:
    try:
        if by_pillow:
            return np.asarray(decode(content, place)).tobytes()
        return decode_pixels(content, place).permute(1, 2, 0).numpy().tobytes()
    except BadInput as error:
        return error.problems


@pytest.mark.parametrize("case", ["greyscale", "restart markers", "tables of its own"])
def test_a_damaged_jpeg_is_the_same_to_both(case, tmp_path) -> None:
    """Cut off anywhere, bytes changed anywhere: same pixels, or the same refusal."""
    generator, whole = np.random.default_rng(1), JPEGS[case]
    seen = set()
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3:
            for place in generator.integers(200, len(whole), size=number % 3):
                damaged[place] = generator.integers(256)
        else:
            del damaged[int(generator.integers(len(whole))) :]
        one, other = (
            pixels_or_refusal(bytes(damaged), tmp_path / "a.jpg", by_pillow)
            for by_pillow in (True, False)
        )
        assert one == other
        seen.add(type(one))
    assert seen == {bytes, list}


@pytest.mark.parametrize("case", ["cut JPEG", "bomb"])
def test_refusal_in_a_worker_leaves_no_process(
    case, tmp_path, refused, backbone_settings
) -> None:
    whole, broken = tmp_path / "whole.png", tmp_path / "broken.jpg"
    photograph().save(whole)
    broken.write_bytes(REFUSED[case][0])
    paths = (whole,) * 6 + (broken,) + (whole,) * 12
    images = ImageSplit(torch.zeros(len(paths), dtype=torch.int64), None, paths)
    before = set(multiprocessing.active_children())
    batches = plain_batches(images, 2, backbone_settings(), torch.device("cpu"), 1)
    (line,) = refused(lambda: list(batches))
    assert line.startswith(f"{broken}: expected a whole image, got ")
    assert set(multiprocessing.active_children()) <= before
