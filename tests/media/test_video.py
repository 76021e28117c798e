import functools
import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from polymodal.media import Audio, Limits, MediaError, Video, sound, verify
from polymodal.testing import check_part

KINDS = [("mp4", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("webm", "libvpx-vp9", "libopus")]
KINDS += [("avi", "mpeg4", "pcm_s16le"), ("mp4", "mpeg4", "aac")]


@functools.cache
def video(
    form: str = "mp4",
    codec: str | None = "libx264",
    voice: str | None = None,
    n: int = 30,
    rate: int = 10,
    shape: tuple[int, int] = (16, 16),
    options: tuple[tuple[str, str], ...] = (),
    layout: str = "mono",
) -> bytes:
    """Frame k is grey 8 k (modulo 240), a quarter of it white; the sound is a tone of 440 Hz."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska" if form == "mkv" else form, options=dict(options)) as box:
        track = tone = None
        if codec is not None:
            track = box.add_stream(codec, rate=rate)
            track.height, track.width = shape
            track.pix_fmt = "yuv420p"
            track.codec_context.thread_count = 1
            track.codec_context.gop_size = 5
            track.bit_rate = 4_000_000
        if voice is not None:
            tone = box.add_stream(voice, rate=48000, layout=layout)
        if track is not None:
            for k in range(n):
                pixels = np.full((*shape, 3), k * 8 % 240, np.uint8)
                pixels[: shape[0] // 2, : shape[1] // 2] = 255
                box.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            box.mux(track.encode())
        if tone is not None:
            context = tone.codec_context
            wave = np.sin(np.arange(n * 48000 // rate) * 2 * np.pi * 440 / 48000).astype(np.float32) / 2
            size = context.frame_size or 1024
            shaper = av.AudioResampler(context.format, layout, 48000)
            for at in range(0, len(wave), size):
                frame = av.AudioFrame.from_ndarray(wave[None, at : at + size], format="flt", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
                for piece in shaper.resample(frame):
                    box.mux(tone.encode(piece))
            box.mux(tone.encode())
    return stream.getvalue()


def grey(pixels: np.ndarray) -> int:
    return round(float(pixels[-4:, -4:].mean()) / 8)


def reason(source: bytes | Path, limits: Limits | None = None, **how: float) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        list(Video(source, limits=limits or Limits(), **how).frames())
    return caught.value.reason, caught.value.what


@pytest.mark.parametrize(("form", "codec", "voice"), KINDS)
def test_formats(tmp_path: Path, form: str, codec: str, voice: str) -> None:
    path = tmp_path / "video.bin"  # content counts, not the name
    path.write_bytes(video(form, codec, voice))
    film = Video(path)
    frames = list(film.frames())
    assert [grey(frame.pixels) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 10, atol=1e-3)
    assert frames[0].pixels.dtype == np.uint8
    assert frames[0].pixels[:4, :4].mean() > 240
    assert (film.size(), film.suffix(), film.encoded()) == ((16, 16), f".{form}", path.read_bytes())
    assert film.seconds() == pytest.approx(3, abs=0.05)
    assert film.digest() == Video(path.read_bytes()).digest() != Video(path, end=1.0).digest()
    assert repr(film) == f"Video({path})"
    check_part(film)


@pytest.mark.parametrize(("form", "codec", "voice"), KINDS)
def test_the_sound_of_a_video(form: str, codec: str, voice: str) -> None:
    film = Video(video(form, codec, voice), start=1.0, end=1.5)
    tone = film.sound()
    assert isinstance(tone, Audio)
    assert (tone.rate(), tone.suffix()) == (48000, f".{form}")
    assert tone.seconds() == pytest.approx(0.5)
    wave = tone.wave()
    assert len(wave) == 24_000
    spectrum = np.abs(np.fft.rfft(wave[2400:21600]))
    assert abs(np.argmax(spectrum) * 48000 / 19200 - 440) < 5
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(0.5**1.5, abs=0.02)
    whole = Audio(film.source)
    assert whole.seconds() == pytest.approx(3, abs=0.1)
    assert len(whole.wave(8000)) == pytest.approx(24_000, abs=800)


def test_channels_beyond_those_that_pyav_can_hold_apart() -> None:
    film = Video(video("mkv", "libvpx", "flac", layout="7.1"))
    assert film.suffix() == ".webm"
    assert len(film.sound().wave()) == pytest.approx(144_000, abs=2000)


def test_a_silent_video_and_sound_without_pictures() -> None:
    assert Video(video()).sound() is None
    only = video("mp4", None, "aac")
    assert reason(only) == ("unsupported", "no pictures in it")
    assert len(Audio(only).wave()) > 100_000
    for ask in (Audio.wave, Audio.rate, Audio.seconds):
        with pytest.raises(MediaError, match="no sound in it"):
            ask(Audio(video()))


def test_every_and_count() -> None:
    film = Video(video())
    assert [grey(frame.pixels) for frame in film.frames(every=0.5)] == [0, 5, 10, 15, 20, 25]
    assert [grey(frame.pixels) for frame in film.frames(every=0.01)] == list(range(30))
    assert [grey(frame.pixels) for frame in film.frames(count=3)] == [5, 15, 25]
    assert [grey(frame.pixels) for frame in film.frames(count=1)] == [15]
    assert len(list(film.frames(count=100))) == 100
    for wrong in ({"every": 0.0}, {"count": 0}, {"every": 1.0, "count": 1}, {"every": float("nan")}):
        with pytest.raises(ValueError, match="every or count"):
            film.frames(**wrong)


@pytest.mark.parametrize(("form", "codec"), [(form, codec) for form, codec, _ in KINDS])
def test_cuts(form: str, codec: str) -> None:
    film = Video(video(form, codec), start=1.2, end=1.6)
    frames = list(film.frames())
    assert [grey(frame.pixels) for frame in frames] == [12, 13, 14, 15]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2, 0.3], atol=2e-3)
    assert [grey(frame.pixels) for frame in film.frames(count=2)] == [13, 15]
    assert film.seconds() == pytest.approx(0.4)
    assert reason(film.source, start=60.0)[0] == "empty"


@pytest.mark.parametrize(("form", "codec"), [(form, codec) for form, codec, _ in KINDS])
def test_few_frames_of_a_long_video_are_sought(form: str, codec: str) -> None:
    """One frame a second: of 100 the middles of five spans, the same as by decoding all."""
    film = Video(video(form, codec, n=100, rate=1))
    chosen = list(film.frames(count=5))
    assert [round(frame.time) for frame in chosen] == [10, 30, 50, 70, 90]
    assert [grey(frame.pixels) for frame in chosen] == [10, 0, 20, 10, 0]
    assert [grey(frame.pixels) for frame in Video(film.source, start=64.0, end=67.0).frames()] == [4, 5, 6]


def test_a_stream_that_never_learnt_its_length() -> None:
    live = video("webm", "libvpx", "libopus", options=(("live", "1"),))
    film = Video(live)
    with av.open(io.BytesIO(live)) as box:
        assert box.duration is None
    assert film.seconds() == pytest.approx(3, abs=0.15)
    assert [grey(frame.pixels) for frame in film.frames(count=3)] == [5, 15, 25]
    assert len(list(film.frames())) == 30
    assert len(film.sound().wave()) == pytest.approx(144_000, abs=2000)


@pytest.mark.parametrize(
    ("turns", "matrix"), [(0, (1, 0, 0, 1)), (1, (0, -1, 1, 0)), (2, (-1, 0, 0, -1)), (3, (0, 1, -1, 0))]
)
def test_a_video_that_lies_on_its_side_is_turned_upright(
    turns: int, matrix: tuple[int, int, int, int]
) -> None:
    """The matrix of the track header (ISO 14496-12, 8.3.2), as telephones write it."""
    data = bytearray(video(shape=(16, 32), n=3))
    at = data.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    upright = next(Video(bytes(data)).frames()).pixels
    plain = next(Video(video(shape=(16, 32), n=3)).frames()).pixels
    np.testing.assert_array_equal(upright, np.rot90(plain, turns))
    assert Video(bytes(data)).size() == ((32, 16), (16, 32))[turns % 2]


def test_a_header_that_says_too_little() -> None:
    """The Duration of a WebM (4489, a float of 8 bytes, in ms) of three seconds set to one."""
    data = bytearray(video("webm", "libvpx", "libopus"))
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", 1000)
    assert Video(bytes(data)).seconds() == 1
    assert len(list(Video(bytes(data)).frames())) == 30
    assert reason(bytes(data), Limits(seconds=2.5)) == ("too_large", "longer than the limit of 2 s")


def test_a_cut_between_two_frames_has_none() -> None:
    film = Video(video(), start=2.92, end=2.98)
    assert reason(film.source, start=2.92, end=2.98) == ("empty", "no frames")
    assert len(list(film.frames(count=2))) == 2  # the frame that is seen meanwhile
    with pytest.raises(MediaError, match="no samples"):
        Audio(video("mp4", None, "aac"), start=1.0, end=1.000001).wave()


def test_verify_decodes_pictures_and_sound() -> None:
    verify(Video(video(voice="aac")))
    verify(Video(video()))


def test_limits() -> None:
    data = video()
    assert reason(data, Limits(pixels=255)) == ("too_large", "frames of 16 x 16 pixels, the limit is 255")
    assert reason(data, Limits(frames=29)) == ("too_large", "more than 29 frames")
    assert reason(data, Limits(seconds=2.5)) == ("too_large", "3 s, the limit is 2 s")
    assert len(list(Video(data, end=2.0, limits=Limits(seconds=2.5, frames=25)).frames())) == 20
    live = video("webm", "libvpx", "libopus", options=(("live", "1"),))
    assert reason(live, Limits(seconds=2.5))[0] == "too_large"
    with pytest.raises(MediaError, match="the limit is 10"):
        Video(data, limits=Limits(bytes=10)).encoded()
    with pytest.raises(MediaError, match="3 s, the limit is 2 s"):
        Audio(video("avi", "mpeg4", "pcm_s16le"), limits=Limits(seconds=2)).wave()


@pytest.mark.parametrize(
    ("kind", "offset", "body"),
    [
        (b"stsz", 8, struct.pack(">II", 1, 170_000_000)),
        (b"moov", 8, b"cmov"),
        (b"tkhd", 8, b"trun" + bytes(4) + b"\xff" * 4),
    ],
)
def test_tables_that_would_fill_the_memory(kind: bytes, offset: int, body: bytes) -> None:
    data = bytearray(video(voice="aac"))
    at = data.index(kind) + offset
    data[at : at + len(body)] = body
    assert reason(bytes(data))[0] in ("too_large", "unsupported")


def test_boxes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    box = struct.pack(">I", 16) + b"ftypisom" + bytes(4)
    assert reason(box + (struct.pack(">I", 8) + b"free") * 300_000) == (
        "too_large",
        "more than 200,000 boxes",
    )
    long = box + struct.pack(">I", 1) + b"moov" + struct.pack(">Q", 2**40) + bytes(100)
    assert reason(long)[0] in ("broken", "unsupported")
    monkeypatch.setattr(sound, "LIMITS", Limits(bytes=50))
    assert reason(long) == ("too_large", "an index of 116 bytes, the limit is 50")


def test_packets_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video("webm", "libvpx")
    monkeypatch.setattr(sound, "PACKETS", 20)
    with pytest.raises(MediaError, match="more than 20 packets"):
        list(Video(data).frames())


def test_what_is_no_video(tmp_path: Path) -> None:
    assert reason(b"RIFF\0\0\0\0WAVE" + bytes(100)) == ("unsupported", "neither MP4, WebM nor AVI")
    assert reason(b"#EXTM3U\nhttp://localhost/a.ts\n")[0] == "unsupported"
    assert reason(b"")[0] == "empty"
    assert reason(tmp_path / "none.mp4")[0] == "missing"
    assert reason(video()[:400])[0] == "broken"
    assert reason(video("mkv", "ffv1"))[0] in ("unsupported", "broken")
    with pytest.raises(MediaError, match="no such file"):
        Video(tmp_path / "none.mp4").sound()
