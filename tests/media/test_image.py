import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from polymodal.media import Image, Limits, MediaError
from polymodal.testing import check_part

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def encoded(form: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(PIXELS).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def reason(source: bytes, limits: Limits | None = None) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        Image(source, limits or Limits()).pixels()
    return caught.value.reason, caught.value.what


@pytest.mark.parametrize(
    ("form", "options", "suffix", "exact"),
    [
        ("PNG", {}, ".png", True),
        ("WEBP", {"lossless": True}, ".webp", True),
        ("WEBP", {}, ".webp", False),
        ("GIF", {}, ".gif", False),
        ("JPEG", {}, ".jpg", False),
        ("JPEG", {"progressive": True}, ".jpg", False),
    ],
)
def test_the_four_formats(
    tmp_path: Path, form: str, options: dict[str, object], suffix: str, exact: bool
) -> None:
    path = tmp_path / "picture.bin"  # content counts, not the name
    path.write_bytes(encoded(form, **options))
    picture = Image(path)
    with PIL.Image.open(path) as reference:
        np.testing.assert_array_equal(picture.pixels(), np.asarray(reference.convert("RGB")))
    assert not exact or (picture.pixels() == PIXELS).all()
    assert picture.size() == (6, 8)
    assert picture.suffix() == suffix
    assert picture.encoded() == path.read_bytes()
    assert picture.digest() == Image(path.read_bytes()).digest()
    check_part(picture)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_applies_it(form: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = Image(encoded(form, exif=exif))
    with PIL.Image.open(io.BytesIO(picture.encoded())) as reference:
        upright = PIL.ImageOps.exif_transpose(reference.convert("RGB"))
    np.testing.assert_array_equal(picture.pixels(), np.asarray(upright))
    assert picture.size() == upright.size


def test_damaged_exif_does_not_cost_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for exif in (b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\x01\x12", b"Exif\0\0junk"):
        assert Image(encoded("JPEG", exif=exif)).pixels().shape == (8, 6, 3)

    def refuse(picture: PIL.Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(PIL.Image.Image, "getexif", refuse)
    assert Image(encoded("JPEG")).size() == (6, 8)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_red_green_blue(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    data = encoded(form, mode)
    with PIL.Image.open(io.BytesIO(data)) as reference:
        np.testing.assert_array_equal(Image(data).pixels(), np.asarray(reference.convert("RGB")))


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.array([[0, 256, 65535]], dtype=np.uint16)).save(stream, "PNG")
    assert Image(stream.getvalue()).pixels()[0, :, 1].tolist() == [0, 1, 255]


def test_arrays() -> None:
    np.testing.assert_array_equal(Image(PIXELS).pixels(), PIXELS)
    assert Image(PIXELS).size() == (6, 8)
    assert Image(PIXELS).suffix() == ".png"
    np.testing.assert_array_equal(Image(Image(PIXELS).encoded()).pixels(), PIXELS)
    for grey in (PIXELS[..., 0], PIXELS[..., :1]):
        np.testing.assert_array_equal(Image(grey).pixels(), PIXELS[..., [0, 0, 0]])
    assert Image(PIXELS).digest() != Image(PIXELS[::-1]).digest()
    assert repr(Image(PIXELS)) == "Image(<array>)"
    for wrong in (PIXELS / 255, PIXELS[..., :2], PIXELS[None]):
        with pytest.raises(MediaError, match=r"uint8 \(h, w, 3\)") as caught:
            Image(wrong).pixels()
        assert caught.value.reason == "unsupported"
    with pytest.raises(MediaError, match="6 x 8 = 48 pixels, the limit is 40"):
        Image(PIXELS, Limits(pixels=40)).pixels()
    with pytest.raises(MediaError, match="0 x 8 pixels"):
        Image(PIXELS[:, :0]).pixels()


def test_a_huge_picture_is_refused_by_its_header() -> None:
    few = chunk(b"IDAT", zlib.compress(bytes(100)))
    assert reason(png(30_000, 30_000, few)) == ("too_large", "900,000,000 pixels, the limit is 64,000,000")
    found = "10,000 x 9,000 = 90,000,000 pixels, the limit is 64,000,000"  # where Pillow only warns
    assert reason(png(10_000, 9_000, few)) == ("too_large", found)
    assert reason(png(8_000, 8_000, few))[0] == "broken"
    with pytest.raises(MediaError, match="900,000,000"):
        Image(png(30_000, 30_000, few)).size()


def test_a_bomb_in_a_text_chunk_is_refused() -> None:
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    assert reason(png(8, 8, bomb, pixels))[0] == "broken"


def test_a_canvas_that_webp_or_gif_only_claims() -> None:
    frames = {"save_all": True, "append_images": [PIL.Image.new("RGB", (6, 8))]}
    webp = bytearray(encoded("WEBP", **frames))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = b"\xff\xff\xff\xff\0\0"
    assert reason(bytes(webp))[0] == "too_large"
    webp[12:16] = b"JUNK"
    assert reason(bytes(webp))[0] == "broken"
    gif = bytearray(encoded("GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    assert reason(bytes(gif))[0] == "too_large"


def test_an_animation_of_very_many_frames() -> None:
    second = PIL.Image.new("RGB", (6, 8))
    gif = encoded("GIF", save_all=True, append_images=[second])
    assert Image(gif).pixels().shape == (8, 6, 3)
    frame = gif[gif.rindex(b"\x21\xf9") : -1]
    many = gif[:-1] + frame * 98 + b";"
    with PIL.Image.open(io.BytesIO(many)) as reference:
        assert reference.n_frames == 100
    assert Image(many, Limits(frames=100)).pixels().shape == (8, 6, 3)
    assert reason(many, Limits(frames=99)) == ("too_large", "an animation of more than 99 frames")
    assert reason(gif[:-1] + frame * 100_000 + b";")[0] == "too_large"
    webp = encoded("WEBP", save_all=True, append_images=[second])
    assert reason(webp, Limits(frames=1))[0] == "too_large"


def test_a_jpeg_of_very_many_scans() -> None:
    jpeg = encoded("JPEG", progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert reason(jpeg[:-2] + scan * 1000 + b"\xff\xd9") == ("too_large", "a JPEG of more than 200 scans")


def test_what_is_no_picture() -> None:
    assert reason(b"BM" + bytes(100)) == ("unsupported", "neither PNG, JPEG, WebP nor GIF")
    assert reason(b"")[0] == "empty"
    assert reason(encoded("PNG")[:60])[0] == "broken"
    assert reason(encoded("JPEG")[:-200])[0] == "broken"
    assert reason(encoded("PNG"), Limits(bytes=10))[0] == "too_large"
    with pytest.raises(MediaError, match="neither"):
        Image(random.Random(0).randbytes(100)).suffix()
