"""Video: the frames and the sound of MP4, WebM and AVI, read as a stream and held to limits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from polymodal.media import sound
from polymodal.media.part import LIMITS, Kind, Limits, MediaError, bytes_of, cut, digest_of, name_of, refusing

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter

HOP = 5.0  # seconds to the next frame wanted from which seeking is cheaper than decoding all between


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video: seconds since the start of the cut, and uint8 "h w 3"."""

    time: float
    pixels: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Video:
    """A video, or a cut of it.

    Args:
        source: an MP4, WebM or AVI file (told by content), or its bytes.
        start: where the cut begins, in seconds.
        end: where it ends, in seconds; the end of the video when None.
        limits: what decoding may cost.
    """

    source: Path | bytes
    start: float = 0.0
    end: float | None = None
    limits: Limits = LIMITS
    kind: ClassVar[Kind] = "video"

    def __repr__(self) -> str:
        return f"Video({name_of(self.source)})"

    def frames(self, every: float | None = None, count: int | None = None) -> Iterator[Frame]:
        """Frames in order, upright, decoded as they are asked for.

        Args:
            every: seconds from one frame to the next; all frames when None.
            count: so many frames in all, in the middles of as many equal spans; a short video repeats some.

        Raises:
            ValueError: both are given, or one is not above 0.
            MediaError: missing, empty, broken, unsupported, or larger than the limits.
        """
        given = [value for value in (every, count) if value is not None]
        if len(given) > 1 or any(not value > 0 for value in given):
            raise ValueError(f"every or count, above 0; not every={every} and count={count}")
        return self._frames(every, count)

    def _frames(self, every: float | None, count: int | None) -> Iterator[Frame]:
        from av.video.reformatter import VideoReformatter

        with refusing(self.source, "video"), sound.container(self.source) as box:
            track = _track(box, self.source, self.limits)
            first, last = self._cut(box, track)
            reel = _Reel(box, track, self)
            if count is not None:
                spans = (first + (n + 0.5) * (last - first) / count for n in range(count))
                chosen = reel.nearest(spans)
            else:
                chosen = reel.every(first, last if self.end is not None else math.inf, every or 0.0)
            empty, shaper = True, VideoReformatter()  # one for all frames: each has to begin threads
            for time, frame in chosen:
                empty = False
                yield Frame(time - first, _pixels(frame, shaper, name_of(self.source), self.limits))
            if empty:
                raise MediaError("empty", name_of(self.source), "no frames")

    def _cut(self, box: "InputContainer", track: Any, limits: Limits | None = None) -> tuple[float, float]:
        where = name_of(self.source)
        return cut(self.start, self.end, sound.length(box, track, where), where, limits or self.limits)

    def size(self) -> tuple[int, int]:
        """Width and height of the first frame, upright. Raises MediaError."""
        height, width = next(iter(self.frames())).pixels.shape[:2]
        return width, height

    def seconds(self) -> float:
        """Length of the video, or of the cut, from the header: nothing is decoded. Raises MediaError."""
        with refusing(self.source, "video"), sound.container(self.source) as box:
            first, last = self._cut(box, _track(box, self.source, self.limits), Limits(seconds=math.inf))
            return last - first

    def sound(self) -> sound.Audio | None:
        """The sound of the same cut, None for a silent video. Raises MediaError."""
        with refusing(self.source, "video"), sound.container(self.source) as box:
            if not box.streams.audio:
                return None
        return sound.Audio(self.source, start=self.start, end=self.end, limits=self.limits)

    def suffix(self) -> str:
        """The file suffix that fits the encoded bytes. Raises MediaError where they are no video."""
        return sound.container_suffix(self.source)

    def encoded(self) -> bytes:
        """The bytes as they came, uncut. Raises MediaError when they are more than `limits.bytes`."""
        return bytes_of(self.source, self.limits)

    def digest(self) -> str:
        """32 hex digits of the encoded bytes and of the cut. Raises MediaError."""
        return digest_of("video", self.source, self.start, self.end)


@dataclass(slots=True)
class _Reel:
    """Decodes one track forward, counting what it decodes against the limits."""

    box: "InputContainer"
    track: Any
    video: Video

    def _decoded(self, start: float) -> Iterator[tuple[float, "VideoFrame"]]:
        """Frames with their seconds, from the key frame before `start`."""
        where, limits = name_of(self.video.source), self.video.limits
        if start > 0:
            sound.seek(self.box, self.track, start)
        base = float((self.track.start_time or 0) * self.track.time_base)
        step = float(1 / (self.track.average_rate or 25))
        time, n = -step, 0
        for packet in sound.packets(self.box, self.track, where):
            for frame in packet.decode():
                time = time + step if frame.time is None else frame.time - base
                n += 1
                if n > limits.frames:
                    raise MediaError("too_large", where, f"more than {limits.frames:,} frames")
                if time - start > limits.seconds:
                    raise MediaError("too_large", where, f"longer than the limit of {limits.seconds:,.0f} s")
                yield time, frame

    def every(self, start: float, end: float, step: float) -> Iterator[tuple[float, "VideoFrame"]]:
        """The first frame at or after start, start + step, start + 2 step ...; every frame for step 0."""
        wanted = start
        for time, frame in self._decoded(start):
            if time >= end:
                return
            if time >= wanted:
                yield time, frame
                wanted = time + 1e-9 if step == 0 else start + step * (math.floor((time - start) / step) + 1)

    def nearest(self, times: Iterator[float]) -> Iterator[tuple[float, "VideoFrame"]]:
        """For each of the rising times the last frame at or before it, else the first after it."""
        here: tuple[float, VideoFrame] | None = None
        ahead: tuple[float, VideoFrame] | None = None
        reel: Iterator[tuple[float, VideoFrame]] | None = None
        for wanted in times:
            if reel is None or (ahead is not None and wanted - ahead[0] > HOP):
                reel = self._decoded(wanted if wanted > HOP else 0.0)
                ahead = next(reel, None)
            while ahead is not None and ahead[0] <= wanted:
                here, ahead = ahead, next(reel, None)
            found = here or ahead
            if found is None:
                return
            yield found


def _track(box: "InputContainer", source: Path | bytes, limits: Limits) -> Any:
    where = name_of(source)
    if not box.streams.video:
        raise MediaError("unsupported", where, "no pictures in it")
    track = sound.checked(box.streams.video[0], where)
    context = track.codec_context
    _check_pixels(context.width, context.height, where, limits)
    context.options = {"max_pixels": str(limits.pixels)}  # a stream may grow its frames later on
    context.thread_count = 1
    return track


def _check_pixels(width: int, height: int, where: str, limits: Limits) -> None:
    if width * height > limits.pixels:
        found = f"frames of {width:,} x {height:,} pixels"
        raise MediaError("too_large", where, f"{found}, the limit is {limits.pixels:,}")


def _pixels(
    frame: "VideoFrame", shaper: "VideoReformatter", where: str, limits: Limits
) -> UInt8[np.ndarray, "h w 3"]:
    _check_pixels(frame.width, frame.height, where, limits)
    pixels = shaper.reformat(frame, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
