"""Sound: WAV, FLAC, OGG, and what MP4, WebM and AVI sound like, as mono waves."""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from polymodal.media.part import (
    LIMITS,
    Kind,
    Limits,
    MediaError,
    Source,
    bytes_of,
    cut,
    digest_of,
    head_of,
    name_of,
    opened,
    refusing,
    size_of,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from soundfile import SoundFile

Wave = Float32[np.ndarray, " t"]
RATE = 768_000  # Hz; above it a header lies
FULL_RATE = 48_000  # Hz; limits.seconds at this rate are the most samples kept
ENDLESS = 2**60  # frames; libsndfile's word for a FLAC that was streamed and never learnt its length
STREAMED = 0x7FFF0000  # bytes; a WAV written into a pipe claims about 2 or 4 GiB
BLOCK = 2**18  # samples of all channels decoded at a time
BOXES = 200_000  # of an MP4; two for each fragment of a stream
PACKETS = 5_000_000  # of one track: the index of a day at 50 frames a second; more is a header that lies
WARM = 0.25  # seconds that Opus and AAC need after a seek until they sound as without one
DRIFT = 0.05  # seconds by which a packet's time may differ from the count of samples; WebM rounds to 1 ms
CODECS = (
    "h264,hevc,mpeg4,msmpeg4,msmpeg4v2,mjpeg,vp8,vp9,av1,libdav1d,libvpx,libvpx-vp9,"
    "aac,mp3,mp3float,opus,libopus,vorbis,libvorbis,flac,pcm_s16le,pcm_s16be,pcm_s24le,pcm_f32le,pcm_u8"
)


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Audio:
    """Sound, or a cut of it.

    Args:
        source: a file (told by content), its bytes, or an array "t" or "t c", floats in [-1, 1] or integers.
        rate: samples a second of an array, which cannot say so itself; ignored for the rest.
        start: where the cut begins, in seconds.
        end: where it ends, in seconds; the end of the sound when None.
        limits: what decoding may cost.
    """

    source: Source
    sampled: int | None
    start: float
    end: float | None
    limits: Limits
    kind: ClassVar[Kind] = "audio"

    def __init__(  # by hand, since `rate` is a question to ask of every sound and not only of arrays
        self,
        source: Source,
        rate: int | None = None,
        start: float = 0.0,
        end: float | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        for name, value in zip(self.__slots__, (source, rate, start, end, limits), strict=True):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Audio({name_of(self.source)})"

    def wave(self, rate: int | None = None) -> Wave:
        """Mono samples in [-1, 1]: the mean of the channels, resampled by a polyphase filter where asked.

        Args:
            rate: samples a second wanted; as recorded when None.

        Raises:
            MediaError: missing, empty, broken, unsupported, or longer than the limits.
        """
        with refusing(self.source, "sound"):
            own, wave = self._decoded()
            if not wave.size:
                raise MediaError("empty", name_of(self.source), "no samples")
            if not np.isfinite(wave).all():
                raise MediaError("broken", name_of(self.source), "samples that are not finite")
            if rate not in (None, own):
                wave = _resampled(wave, own, rate, name_of(self.source), self.limits)
            return np.asarray(np.clip(wave, -1.0, 1.0))

    def _decoded(self) -> tuple[int, Wave]:
        if isinstance(self.source, np.ndarray):
            rate = self.rate()
            first, last = _samples(self, rate, len(self.source))
            return rate, _mono(self.source[first:last])
        if _form(self.source) == "container":
            return _from_container(self, self.source)
        with _soundfile(self.source) as sound:
            first, last = _samples(self, sound.samplerate, sound.frames)
            if first:
                sound.seek(first)
            blocks = sound.blocks(
                max(BLOCK // sound.channels, 1), frames=last - first, dtype="float32", always_2d=True
            )
            wave = np.concatenate([np.zeros(0, np.float32), *(_mean(block, 1) for block in blocks)])
            if len(wave) < last - first:
                found = f"{len(wave):,} of {last - first:,} samples can be decoded"
                raise MediaError("broken", name_of(self.source), found)
            return sound.samplerate, wave

    def rate(self) -> int:
        """Samples a second as recorded, from the header. Raises MediaError."""
        where = name_of(self.source)
        if isinstance(self.source, np.ndarray):
            if self.sampled is None:
                raise MediaError("broken", where, "an array of sound needs its rate")
            return _check_rate(self.sampled, where)
        with refusing(self.source, "sound"):
            if _form(self.source) == "container":
                with container(self.source) as box:
                    return _check_rate(_track(box, where).rate, where)
            with _soundfile(self.source) as sound:
                return int(sound.samplerate)

    def seconds(self) -> float:
        """Length of the sound, or of the cut, from the header: nothing is decoded. Raises MediaError."""
        with refusing(self.source, "sound"):
            if isinstance(self.source, np.ndarray):
                total = len(self.source) / self.rate()
            elif _form(self.source) == "container":
                with container(self.source) as box:
                    total = length(box, _track(box, name_of(self.source)), name_of(self.source))
            else:
                with _soundfile(self.source) as sound:
                    total = sound.frames / sound.samplerate
            first, last = cut(self.start, self.end, total, name_of(self.source), Limits(seconds=math.inf))
            return last - first

    def suffix(self) -> str:
        """The file suffix that fits the encoded bytes. Raises MediaError where they are no sound."""
        return (
            ".wav"
            if isinstance(self.source, np.ndarray)
            else _suffix(head_of(self.source), name_of(self.source))
        )

    def encoded(self) -> bytes:
        """The bytes as they came, uncut; an array as a 16-bit WAV of its mono cut. Raises MediaError."""
        if not isinstance(self.source, np.ndarray):
            return bytes_of(self.source, self.limits)
        import soundfile

        stream = io.BytesIO()
        soundfile.write(stream, self.wave(), self.rate(), format="WAV", subtype="PCM_16")
        return stream.getvalue()

    def digest(self) -> str:
        """32 hex digits of the encoded bytes, or of array and rate, and of the cut. Raises MediaError."""
        rate = self.sampled if isinstance(self.source, np.ndarray) else None
        return digest_of("audio", self.source, self.start, self.end, rate)


def _check_rate(rate: int, where: str) -> int:
    if not 1 <= rate <= RATE:
        raise MediaError("broken", where, f"a rate of {rate} Hz, 1 to {RATE} are sounds")
    return int(rate)


def _check_samples(n: float, where: str, limits: Limits) -> None:
    most = limits.seconds * FULL_RATE
    if n > most:
        raise MediaError("too_large", where, f"{n:,.0f} samples, the limit is {most:,.0f}")


def _samples(audio: Audio, rate: int, total: int) -> tuple[int, int]:
    """First and last sample of the cut."""
    where = name_of(audio.source)
    first, last = cut(audio.start, audio.end, total / _check_rate(rate, where), where, audio.limits)
    _check_samples((last - first) * rate, where, audio.limits)
    return min(round(first * rate), total), min(round(last * rate), total)


def _mono(array: NDArray[Any]) -> Wave:
    """The mean of the channels of "t" or "t c"; integers by their range."""
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise MediaError(
            "unsupported", "<array>", f"sound is (t,) or (t, c) numbers, not {array.dtype} {array.shape}"
        )
    wave: Wave = array.astype(np.float32)
    if array.dtype.kind != "f":
        zero = np.iinfo(array.dtype).max // 2 + 1 if array.dtype.kind == "u" else 0
        wave = (wave - np.float32(zero)) / np.float32(np.iinfo(array.dtype).max - zero + 1)
    return wave if wave.ndim == 1 else _mean(wave, 1)


def _mean(block: Float32[np.ndarray, "n m"], axis: int) -> Wave:
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused once, at the end
        return np.asarray(block.mean(axis=axis, dtype=np.float32))


def _resampled(wave: Wave, own: int, wanted: int, where: str, limits: Limits) -> Wave:
    from scipy.signal import resample_poly

    _check_samples(len(wave) / own * _check_rate(wanted, where), where, limits)
    shared = math.gcd(own, wanted)
    out: Wave = resample_poly(wave, wanted // shared, own // shared).astype(np.float32)
    return out


def _suffix(head: bytes, where: str) -> str:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return ".wav"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if head[4:8] == b"ftyp":
        return ".mp4"
    for magic, suffix in ((b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"\x1aE\xdf\xa3", ".webm")):
        if head.startswith(magic):
            return suffix
    raise MediaError("unsupported", where, "neither WAV, FLAC, OGG, MP4, WebM nor AVI")


def _form(source: Path | bytes) -> str:
    suffix = _suffix(head_of(source), name_of(source))
    return "container" if suffix in DEMUXERS else "sound"


@contextmanager
def _soundfile(source: Path | bytes) -> Iterator["SoundFile"]:
    import soundfile

    with opened(source) as stream, soundfile.SoundFile(stream) as sound:
        _check_rate(sound.samplerate, name_of(source))
        if sound.frames >= ENDLESS:
            raise MediaError("unsupported", name_of(source), "the header does not say how long it is")
        short = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
        if short and int(short[2]) < int(short[1]) < STREAMED:  # libsndfile would read what is there
            found = f"the header says {int(short[1]):,} bytes of samples, {int(short[2]):,} follow"
            raise MediaError("broken", name_of(source), found)
        yield sound


DEMUXERS = {".mp4": "mp4", ".webm": "matroska", ".avi": "avi"}


def container_suffix(source: Path | bytes) -> str:
    """.mp4, .webm or .avi by content. Raises MediaError (unsupported) for anything else."""
    suffix = _suffix(head_of(source), name_of(source))
    if suffix not in DEMUXERS:
        raise MediaError("unsupported", name_of(source), "neither MP4, WebM nor AVI")
    return suffix


@contextmanager
def container(source: Path | bytes) -> Iterator["InputContainer"]:
    """The tracks of an MP4, WebM or AVI file, by PyAV. Raises MediaError and what PyAV raises.

    The stream is opened here and given with its one demuxer: libav sees no name, so no playlist, no address
    and no second file can be followed.
    """
    import av

    suffix = container_suffix(source)
    with opened(source) as stream:
        if suffix == ".mp4":
            _check_boxes(stream, size_of(source), name_of(source))
        options = {"codec_whitelist": CODECS}
        with av.open(
            stream, "r", format=DEMUXERS[suffix], container_options=options, metadata_errors="replace"
        ) as box:
            yield box


def _check_boxes(stream: BinaryIO, size: int, where: str) -> None:
    """Refuses an MP4 whose sample tables claim more than PACKETS: libav would take memory for each."""
    at = n = 0
    while at + 8 <= size:
        stream.seek(at)
        head = stream.read(16)
        step = int.from_bytes(head[:4])
        step = {0: size - at, 1: int.from_bytes(head[8:16])}.get(step, step)
        if step < 8:
            break
        if head[4:8] not in (b"mdat", b"free", b"skip"):
            _check_tables(stream, at, min(step, size - at), where)
        at, n = at + step, n + 1
        if n > BOXES:
            raise MediaError("too_large", where, f"more than {BOXES:,} boxes")
    stream.seek(0)


def _check_tables(stream: BinaryIO, at: int, length: int, where: str) -> None:
    if length > LIMITS.bytes:
        raise MediaError("too_large", where, f"an index of {length:,} bytes, the limit is {LIMITS.bytes:,}")
    stream.seek(at)
    data = stream.read(length)
    if b"cmov" in data:
        raise MediaError("unsupported", where, "a compressed index")
    for kind, offset in ((b"stsz", 12), (b"stz2", 12), (b"trun", 8)):
        for found in re.finditer(kind, data):
            n = int.from_bytes(data[found.start() + offset : found.start() + offset + 4])
            if n > PACKETS:
                raise MediaError("too_large", where, f"a track of {n:,} packets, the limit is {PACKETS:,}")


def _track(box: "InputContainer", where: str) -> Any:
    if not box.streams.audio:
        raise MediaError("unsupported", where, "no sound in it")
    return checked(box.streams.audio[0], where)


def checked(track: Any, where: str) -> Any:
    """The track, once its codec is known to be one of ours. Raises MediaError (unsupported)."""
    name = track.codec_context.name if track.codec_context else "of an unknown codec"
    if name not in CODECS.split(","):
        raise MediaError("unsupported", where, f"a track in {name}")
    return track


def length(box: "InputContainer", track: Any, where: str) -> float:
    """Seconds of the track by its header, else by the times of its packets; nothing is decoded."""
    if track.duration is not None and track.time_base:
        return float(track.duration * track.time_base)
    if box.duration is not None:
        return box.duration / 1e6
    last = 0.0
    for packet in packets(box, track, where):
        if packet.pts is not None:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    box.seek(0)
    return last


def packets(box: "InputContainer", track: Any, where: str) -> Iterator[Any]:
    """The packets of one track, PACKETS at most. Raises MediaError (too_large) and what PyAV raises."""
    for n, packet in enumerate(box.demux(track)):
        if n > PACKETS:
            raise MediaError("too_large", where, f"more than {PACKETS:,} packets")
        yield packet


def seek(box: "InputContainer", track: Any, seconds: float) -> None:
    """Goes to the key frame before `seconds` of the track, or stays where the file has no way to tell it."""
    import av

    with suppress(av.FFmpegError):
        box.seek(int(seconds / track.time_base) + (track.start_time or 0), stream=track)


def _from_container(audio: Audio, source: Path | bytes) -> tuple[int, Wave]:
    """Rate and cut of the first sound track."""
    where = name_of(source)
    with container(source) as box:
        track = _track(box, where)
        rate = _check_rate(track.rate, where)
        first, last = cut(audio.start, audio.end, length(box, track, where), where, audio.limits)
        if first > WARM:
            seek(box, track, first - WARM)
        kept, n = [np.zeros(0, np.float32)], 0
        for at, block in _blocks(box, track, rate, where):
            begin = max(round((first - at) * rate), 0)
            wave = block[begin : max(round((last - at) * rate), 0)]
            n += len(wave)
            _check_samples(n, where, audio.limits)
            kept.append(wave)
            if at >= last:
                break
        return rate, np.concatenate(kept)


def _blocks(box: "InputContainer", track: Any, rate: int, where: str) -> Iterator[tuple[float, Wave]]:
    """Decoded blocks with the second of the track at which each begins."""
    import av

    shaper = av.AudioResampler(format="flt", rate=rate)  # interleaved: planes beyond the seventh crash PyAV
    base = float((track.start_time or 0) * track.time_base)
    at = -math.inf
    for packet in packets(box, track, where):
        for frame in packet.decode():
            time = max(at, 0.0) if frame.time is None else frame.time - base
            at = time if abs(time - at) > DRIFT else at
            for shaped in shaper.resample(frame):
                block = _mean(shaped.to_ndarray().reshape(-1, shaped.layout.nb_channels), 1)
                yield at, block
                at += len(block) / rate
