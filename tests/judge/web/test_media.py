"""media: made anew for a browser, ranges as RFC 9110 has them, series as lines."""

import io
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest

from polymodal.judge.web import media
from polymodal.judge.web.media import Gallery, encode, plot, ranged
from polymodal.media import Audio, Image, MediaError, Text, Video


def film(path: Path, size: tuple[int, int] = (34, 18), *, sound: bool) -> Video:
    """Two seconds of growing red, with a tone or without, under a title."""
    with av.open(str(path), "w") as box:
        box.metadata["title"] = "by secretauthor"
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        voice = box.add_stream("aac", rate=16000, layout="mono") if sound else None
        for n in range(20):
            frame = np.zeros((size[1], size[0], 3), np.uint8)
            frame[..., 0] = n * 12
            box.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(track.encode(None))
        if voice is not None:
            wave = np.sin(np.arange(32000) * 0.2).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(wave, format="flt", layout="mono")
            block.sample_rate = 16000
            box.mux(voice.encode(block))
            box.mux(voice.encode(None))
    return Video(path)


@pytest.mark.parametrize("sound", [True, False])
def test_a_video_keeps_its_pictures_times_and_sound_and_loses_its_title(tmp_path: Path, sound: bool) -> None:
    video = film(tmp_path / "film.mp4", sound=sound)
    mime, data = encode(video)
    made = Video(data)
    assert mime == "video/webm"
    assert b"secretauthor" not in data
    assert made.size() == (34, 18)
    assert made.seconds() == pytest.approx(2.0, abs=0.1)
    before, after = (list(each.frames()) for each in (video, made))
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=2e-3)
    reds = [[float(f.pixels[..., 0].mean()) for f in frames] for frames in (before, after)]
    assert np.abs(np.subtract(*reds)).max() < 12
    if sound:
        assert made.sound().seconds() == pytest.approx(2.0, abs=0.1)
        assert np.abs(made.sound().wave()).max() > 0.5
    else:
        assert made.sound() is None


def test_a_cut_is_all_that_is_sent(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", sound=True)
    _, data = encode(Video(tmp_path / "film.mp4", start=0.5, end=1.0))
    assert Video(data).seconds() == pytest.approx(0.5, abs=0.1)
    wave = np.linspace(-0.5, 0.5, 800).astype(np.float32)
    mime, data = encode(Audio(wave, rate=800, start=0.25, end=0.75))
    assert mime == "audio/wav"
    assert Audio(data).seconds() == pytest.approx(0.5)
    assert Audio(data).wave() == pytest.approx(wave[200:600], abs=1e-4)


def test_a_picture_stands_upright_without_its_metadata() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2] = 200
    stream, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "secretauthor"
    PIL.Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    mime, data = encode(Image(stream.getvalue()))
    assert mime == "image/png"
    assert b"secretauthor" in stream.getvalue()
    assert b"secretauthor" not in data
    assert np.array_equal(Image(data).pixels(), np.rot90(pixels, -1))


def test_what_is_broken_or_no_medium_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    for part in (Video(tmp_path / "film.mp4"), Image(b"no"), Audio(b"no"), Text("words")):
        with pytest.raises(MediaError):
            encode(part)


@pytest.mark.parametrize(
    ("asked", "status", "where", "data"),
    [
        ("", 200, None, b"0123456789"),
        ("bytes=0-", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-99", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=-99", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("bytes=5-2", 416, "bytes */10", b""),
        ("bytes=-0", 416, "bytes */10", b""),
        ("bytes=-", 200, None, b"0123456789"),
        ("bytes=0-1,3-4", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
    ],
)
def test_ranges(asked: str, status: int, where: str | None, data: bytes) -> None:
    reply = ranged("audio/wav", b"0123456789", asked)
    assert (reply.status, reply.headers.get("content-range"), reply.data) == (status, where, data)
    assert reply.headers["accept-ranges"] == "bytes"


def test_many_who_ask_at_once_make_one_and_the_longest_unused_goes_first(monkeypatch: Any) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(media, "KEPT", 100)
    monkeypatch.setattr(media, "encode", lambda part: calls.append(part) or ("image/png", bytes(60)))
    parts = [Image(np.full((2, 2, 3), n, np.uint8)) for n in range(3)]
    gallery = Gallery(lambda: [*parts, Text("words")], b"key")
    first = gallery.address(1, parts[0].digest())
    threads = [threading.Thread(target=gallery.find, args=(1, first)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    for part in parts[1:]:
        gallery.find(1, gallery.address(1, part.digest()))
    gallery.find(1, first)
    assert calls == [parts[0], parts[1], parts[2], parts[0]]
    monkeypatch.setattr(media, "KNOWN", 1)
    assert gallery.find(1, gallery.address(2, parts[0].digest())) is None


def test_long_series_are_thinned_and_flat_ones_drawn() -> None:
    lines = plot(np.sin(np.arange(5000)[:, None] * np.ones(12)))
    assert len(lines) == media.LINES
    assert all(len(line.split()) <= media.POINTS for line in lines)
    assert plot(np.full((3, 1), 2.0)) == ["0.0,195.0 300.0,195.0 600.0,195.0"]
    assert plot(np.array([[1.0]])) == ["300.0,195.0"]
    assert plot(np.array([[0.0], [np.nan], [1.0]])) == ["0.0,195.0", "600.0,5.0"]
