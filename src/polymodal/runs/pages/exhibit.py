"""Parts as files that a browser can show, and back again for the report."""

import math
from collections.abc import Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def read_back(folder: Path, example: dict[str, Any]) -> dict[str, Any]:
    """Make an example of the `examples` section ready to show.

    Args:
        folder: the run's folder, which the paths of media are relative to.
        example: id, target, prediction and parts by name, each {kind, path or text}.

    Returns:
        The example; texts and series are read, and a part whose file is missing says so as its `lost`.
    """
    parts = {}
    for name, part in example.get("parts", {}).items():
        path = folder / part.get("path", "")
        inside = path.resolve().is_relative_to(folder.resolve())
        if "path" not in part:
            parts[name] = dict(part)
        elif not inside or not path.is_file():
            parts[name] = {"kind": part["kind"], "lost": f"{part['path']} is missing"}
        elif part["kind"] == "text":
            parts[name] = {"kind": "text", "text": path.read_text(encoding="utf-8", errors="replace")}
        elif part["kind"] in ("series", "pose"):
            values = np.loadtxt(path, delimiter=",", ndmin=2)
            parts[name] = {"kind": part["kind"], "lines": spark(values.tolist()), "shape": values.shape}
        else:
            parts[name] = dict(part)
    return {**example, "parts": parts}


def spark(values: Sequence[Sequence[float]], *, points: int = 120) -> list[str]:
    """Polylines of a series in a box of 100 by 28, one a column (the first three), as SVG point lists."""
    step = max(1, math.ceil(len(values) / points))
    lines = []
    for column in list(zip(*values[::step], strict=True))[:3]:
        known = [(i, v) for i, v in enumerate(column) if math.isfinite(v)]
        if len(known) < 2:
            continue
        low, high = min(v for _, v in known), max(v for _, v in known)
        reach, last = (high - low) or 1.0, max(1, len(column) - 1)
        lines.append(" ".join(f"{100 * i / last:.1f},{26 - 24 * (v - low) / reach:.1f}" for i, v in known))
    return lines
