"""Media for a browser: made anew without names, under blind addresses, a range at a time."""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polymodal.media import Audio, Image, MediaError, Part, Video
from polymodal.media.part import refusing

KEPT = 256 * 2**20  # bytes of re-encoded media held in memory
KNOWN = 100_000  # addresses remembered, so that most need no search
POINTS, LINES = 600, 8  # of a series, as drawn
FREQUENCY = 48_000  # of Opus
INTO_MEMORY: Literal["w"] = "w"  # PyAV's mode for a container that is made; ours lies in a BytesIO
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class Reply(NamedTuple):
    """Status, headers and bytes of what a browser asked for."""

    status: int
    headers: dict[str, str]
    data: bytes


def encode(part: Part) -> tuple[str, bytes]:
    """A part made anew for a browser: no metadata, no name, one format a kind; sound and video cut.

    Returns:
        MIME type and bytes: PNG, WAV (16 bit, mono) or WebM (VP8 and Opus).

    Raises:
        MediaError: unreadable, over its limits, or of a kind that has no bytes.
    """
    match part:
        case Image():
            return "image/png", Image(part.pixels()).encoded()
        case Audio():
            return "audio/wav", Audio(part.wave(), rate=part.rate()).encoded()
        case Video():
            with refusing(part.source, "video"):
                return "video/webm", _webm(part)
        case _:
            raise MediaError("unsupported", "<part>", f"{part.kind} is not sent as a file")


def _webm(video: Video) -> bytes:
    """The video's frames at their times and its sound, side by side in the file, so that it can be sought."""
    import av

    made, sound = io.BytesIO(), video.sound()
    with av.open(made, INTO_MEMORY, format="webm") as box:
        width, height = (max(side - side % 2, 2) for side in video.size())
        track: Any = box.add_stream(
            "libvpx", rate=25, options={"deadline": "realtime", "cpu-used": "8", "crf": "8"}
        )
        track.width, track.height, track.pix_fmt, track.bit_rate = width, height, "yuv420p", 4_000_000
        track.codec_context.time_base, track.codec_context.gop_size = Fraction(1, 1000), 30
        voice: Any = None if sound is None else box.add_stream("libopus", rate=FREQUENCY, layout="mono")
        blocks = _blocks(sound.wave(FREQUENCY)) if sound is not None else iter(())
        ahead = next(blocks, None)
        for frame in video.frames():
            while ahead is not None and ahead.pts <= frame.time * FREQUENCY:
                box.mux(voice.encode(ahead))
                ahead = next(blocks, None)
            picture = av.VideoFrame.from_ndarray(frame.pixels[:height, :width], format="rgb24")
            picture.pts, picture.time_base = round(frame.time * 1000), Fraction(1, 1000)
            box.mux(track.encode(picture))
        while ahead is not None:
            box.mux(voice.encode(ahead))
            ahead = next(blocks, None)
        for stream in (track, voice) if voice is not None else (track,):
            box.mux(stream.encode(None))
    return made.getvalue()


def _blocks(wave: NDArray[np.float32]) -> Iterator[Any]:
    """A sound in blocks of a fifth of a second, as PyAV wants them."""
    import av

    for at in range(0, len(wave), FREQUENCY // 5):
        block: Any = av.AudioFrame.from_ndarray(
            wave[None, at : at + FREQUENCY // 5], format="flt", layout="mono"
        )
        block.sample_rate, block.pts, block.time_base = FREQUENCY, at, Fraction(1, FREQUENCY)
        yield block


class Gallery:
    """Media under addresses that tell nothing and differ from viewer to viewer.

    An address is `/m/HMAC(viewer, digest)`; with the same key it is the same after a restart.

    Args:
        parts: gives all media that there are; asked once, when the first one is needed.
        key: that only the server knows.
    """

    def __init__(self, parts: Callable[[], Iterable[Part]], key: bytes) -> None:
        self._given, self._key = parts, key
        self._made: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._digests: dict[Part, str] = {}
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()
        self._making: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @cached_property
    def _parts(self) -> dict[str, Part]:
        """All media by digest."""
        return {self.digest(part): part for part in self._given() if isinstance(part, Image | Audio | Video)}

    def digest(self, part: Part) -> str:
        """The part's digest; its file is read once. Raises MediaError."""
        if part not in self._digests:
            self._digests[part] = part.digest()
        return self._digests[part]

    def address(self, viewer: object, digest: str) -> str:
        """Where this viewer's browser finds a medium."""
        code = hmac.new(self._key, f"{viewer} {digest}".encode(), hashlib.sha256).hexdigest()
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[f"/m/{code}"] = digest
        return f"/m/{code}"

    def find(self, viewer: object, address: str) -> tuple[str, bytes] | None:
        """Type and bytes behind an address of this viewer, None for any other. Raises MediaError."""
        digest = self._known.get(address, "")
        if self.address(viewer, digest) != address:
            digest = next((d for d in self._parts if self.address(viewer, d) == address), "")
        return self._encoded(digest, self._parts[digest]) if digest in self._parts else None

    def _encoded(self, digest: str, part: Part) -> tuple[str, bytes]:
        """Made once, whoever asks for it meanwhile; the longest unused go first where memory is full."""
        with self._lock:
            making = self._making[digest]
        with making:
            made = self._made.get(digest) or encode(part)
            with self._lock:
                self._made[digest] = made
                self._made.move_to_end(digest)
                while len(self._made) > 1 and sum(len(data) for _, data in self._made.values()) > KEPT:
                    self._made.popitem(last=False)
        return made


def ranged(mime: str, data: bytes, asked: str) -> Reply:
    """Bytes, or the one range of them that was asked for (RFC 9110 §14), without which no player can seek."""
    headers = {"content-type": mime, "accept-ranges": "bytes", "cache-control": "private, max-age=3600"}
    match = RANGE.fullmatch(asked.strip())
    if match is None or match.groups() == ("", ""):
        return Reply(200, headers, data)
    first, last = match.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if start >= len(data) or start > end:
        return Reply(416, headers | {"content-range": f"bytes */{len(data)}"}, b"")
    headers["content-range"] = f"bytes {start}-{end}/{len(data)}"
    return Reply(206, headers, data[start : end + 1])


def plot(values: NDArray[np.float64]) -> list[str]:
    """A series as the points of polylines in a frame of 600 × 200; gaps where numbers are missing."""
    shown = values[:: max(1, -(-len(values) // POINTS)), :LINES]
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    x = np.linspace(0, 600, len(shown)) if len(shown) > 1 else np.array([300.0])
    lines = []
    for column in (195 - 190 * (shown - low) / ((high - low) or 1.0)).T:
        keep = np.isfinite(column)
        for piece in np.split(np.arange(len(column)), np.flatnonzero(np.diff(keep.astype(int))) + 1):
            if keep[piece[0]]:
                lines.append(" ".join(f"{x[i]:.1f},{column[i]:.1f}" for i in piece))
    return lines
