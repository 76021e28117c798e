"""Pictures: PNG, JPEG, WebP and GIF, measured by their headers before a pixel is decoded."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from polymodal.media.part import (
    LIMITS,
    Kind,
    Limits,
    MediaError,
    Source,
    bytes_of,
    digest_of,
    name_of,
    refusing,
)

Form = Literal["PNG", "JPEG", "WEBP", "GIF"]
SUFFIX: dict[Form, str] = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif"}
SCANS = 200  # a progressive JPEG holds about ten; thousands of empty ones would keep a decoder busy for hours
ORIENTATION = 0x0112
TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Image:
    """A still picture; of an animation, its first frame.

    Args:
        source: a file, encoded bytes, or an array of uint8, "h w 3", "h w 1" or "h w".
        limits: what decoding may cost.
    """

    source: Source
    limits: Limits = LIMITS
    kind: ClassVar[Kind] = "image"

    def __repr__(self) -> str:
        return f"Image({name_of(self.source)})"

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """Red, green, blue, upright (EXIF orientation applied), transparency dropped.

        Raises:
            MediaError: missing, empty, broken, unsupported, or larger than the limits.
        """
        if isinstance(self.source, np.ndarray):
            return _from_array(self.source, self.limits)
        with _open(self.source, self.limits) as picture:
            turn = TURNS.get(_orientation(picture))
            picture.load()
            if picture.mode.startswith("I"):  # 16 bits of grey: the upper eight are the picture
                deep = np.asarray(picture)
                picture = PIL.Image.fromarray((np.clip(deep, 0, 65535) >> 8).astype(np.uint8))
            upright = picture if picture.mode == "RGB" else picture.convert("RGB")
            return np.array(upright if turn is None else upright.transpose(turn), dtype=np.uint8)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels as `pixels` would give them, from the header. Raises MediaError."""
        if isinstance(self.source, np.ndarray):
            height, width = _from_array(self.source, self.limits).shape[:2]
            return width, height
        with _open(self.source, self.limits) as picture:
            width, height = picture.size
            return (height, width) if _orientation(picture) >= 5 else (width, height)

    def suffix(self) -> str:
        """The file suffix that fits the encoded bytes. Raises MediaError where they are no picture."""
        if isinstance(self.source, np.ndarray):
            return ".png"
        return SUFFIX[_form(self.encoded()[:16], name_of(self.source))]

    def encoded(self) -> bytes:
        """The bytes as they came; an array as PNG. Raises MediaError."""
        if not isinstance(self.source, np.ndarray):
            return bytes_of(self.source, self.limits)
        stream = io.BytesIO()
        PIL.Image.fromarray(_from_array(self.source, self.limits)).save(stream, "PNG")
        return stream.getvalue()

    def digest(self) -> str:
        """32 hex digits of the encoded bytes, or of the array. Raises MediaError."""
        return digest_of("image", self.source)


def _from_array(array: np.ndarray, limits: Limits) -> UInt8[np.ndarray, "h w 3"]:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        found = f"{array.dtype} {array.shape}"
        raise MediaError(
            "unsupported", "<array>", f"a picture is uint8 (h, w, 3), (h, w, 1) or (h, w), not {found}"
        )
    _check_size(array.shape[1], array.shape[0], "<array>", limits)
    grey = array[..., None] if array.ndim == 2 else array
    return np.ascontiguousarray(np.broadcast_to(grey, (*array.shape[:2], 3)))


def _check_size(width: int, height: int, where: str, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise MediaError("empty", where, f"{width} x {height} pixels")
    if width * height > limits.pixels:
        found = f"{width:,} x {height:,} = {width * height:,} pixels"
        raise MediaError("too_large", where, f"{found}, the limit is {limits.pixels:,}")


def _form(head: bytes, where: str) -> Form:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    raise MediaError("unsupported", where, "neither PNG, JPEG, WebP nor GIF")


@contextmanager
def _open(source: Source, limits: Limits) -> Iterator[PIL.Image.Image]:
    """The picture with its header read and found within the limits; nothing decoded yet."""
    assert not isinstance(source, np.ndarray)
    data, where = bytes_of(source, limits), name_of(source)
    form = _form(data[:16], where)
    # Pillow's warnings speak of bytes, not of files. Filtered by module, so a race of threads loses no other.
    with refusing(source, f"{form} picture"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        if form == "WEBP":
            _check_size(*_webp_size(data), where, limits)
        if form == "JPEG" and data.count(b"\xff\xda") > SCANS:
            raise MediaError("too_large", where, f"a JPEG of more than {SCANS} scans")
        try:
            picture = PIL.Image.open(io.BytesIO(data), formats=[form])
        except PIL.Image.DecompressionBombError as error:
            n = int(re.findall(r"\d+", str(error))[0])
            raise MediaError("too_large", where, f"{n:,} pixels, the limit is {limits.pixels:,}") from error
        with picture:
            _check_size(*picture.size, where, limits)
            frames = _gif_frames(data, limits.frames) if form == "GIF" else getattr(picture, "n_frames", 1)
            if frames > limits.frames:
                raise MediaError("too_large", where, f"an animation of more than {limits.frames:,} frames")
            yield picture


def _orientation(picture: PIL.Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it is damaged.

    By the base class's `getexif`, since that of PNG would decode the whole picture.
    """
    try:
        value = PIL.Image.Image.getexif(picture).get(ORIENTATION)
    except Exception:  # damaged EXIF does not make a picture unreadable
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk (RFC 9649); libwebp takes its canvas when it opens a file."""
    first = data[12:16]
    if first == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if first == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if first == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise ValueError(f"first chunk {first!r}")


def _gif_frames(data: bytes, most: int) -> int:
    """Frames of a GIF counted by its blocks, no further than `most` + 1; Pillow would walk to the end."""

    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def past_blocks(at: int) -> int:
        while at < len(data) and data[at]:
            at += data[at] + 1
        return at + 1

    at, frames = 13 + table(data[10]), 0
    while at + 10 < len(data) and frames <= most:
        if data[at] == 0x21:  # an extension
            at = past_blocks(at + 2)
        elif data[at] == 0x2C:  # a frame
            frames += 1
            at = past_blocks(at + 11 + table(data[at + 9]))
        else:
            break
    return frames
