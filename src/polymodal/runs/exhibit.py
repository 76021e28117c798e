"""Parts as files a browser can show: the original bytes where it can, else a plain re-encoding."""

from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from polymodal.media import Part

SHOWN = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif"),
    "audio": (".wav", ".flac", ".ogg", ".mp3"),
    "video": (".mp4", ".webm"),
}
"""Suffixes that browsers play as they are, by kind of part."""


def exhibit(part: "Part") -> tuple[str, bytes]:
    """Give a part's file suffix and bytes.

    Whole media files keep their bytes; arrays, cut pieces and rare formats become PNG, 16-bit WAV, CSV or
    text. A video in memory is taken to be MP4.

    Raises:
        MediaError: the part is missing or broken.
    """
    from polymodal.media import Audio, Image, Pose, Series, Text

    if isinstance(part, Text):
        return ".txt", part.read().encode()
    if isinstance(part, Pose):
        return ".csv", _csv(part.matrix())
    if isinstance(part, Series):
        return ".csv", _csv(part.values())
    source = part.source
    whole = getattr(part, "start", 0.0) == 0.0 and getattr(part, "end", None) is None
    if isinstance(source, Path) and whole and source.suffix.lower() in SHOWN[part.kind]:
        return source.suffix.lower(), source.read_bytes()
    if isinstance(part, Image):
        return ".png", part.encoded()
    if isinstance(part, Audio):
        return ".wav", _wav(part.wave(), part.rate())
    return ".mp4", source.read_bytes() if isinstance(source, Path) else bytes(source)


def _csv(values: np.ndarray) -> bytes:
    text = StringIO()
    np.savetxt(text, values, delimiter=",", fmt="%.7g")
    return text.getvalue().encode()


def _wav(wave: np.ndarray, rate: int) -> bytes:
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, wave, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
