import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polymodal.media import Audio, Limits, MediaError
from polymodal.testing import check_part

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
DIGITS = Path(__file__).parents[2] / "../shared/data/fsdd"


def encoded(wave: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    return stream.getvalue()


def wav(n: int, data: bytes, rate: int = 1000) -> bytes:
    """Eight bits, one channel, with a header that claims n bytes of samples."""
    size = (36 + n) % 2**32
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8)
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", n) + data


def reason(audio: Audio) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        audio.wave()
    return caught.value.reason, caught.value.what


@pytest.mark.parametrize(
    ("form", "subtype", "suffix", "error"),
    [
        ("WAV", "PCM_16", ".wav", 1e-4),
        ("WAV", "PCM_U8", ".wav", 1e-2),
        ("WAV", "FLOAT", ".wav", 0),
        ("WAVEX", "PCM_24", ".wav", 1e-6),
        ("RF64", "PCM_16", ".wav", 1e-4),
        ("FLAC", "PCM_16", ".flac", 1e-4),
        ("OGG", "VORBIS", ".ogg", 0.1),
        ("OGG", "OPUS", ".ogg", 0.1),
    ],
)
def test_formats(tmp_path: Path, form: str, subtype: str, suffix: str, error: float) -> None:
    path = tmp_path / "sound.bin"  # content counts, not the name
    path.write_bytes(encoded(TONE, form=form, subtype=subtype))
    audio = Audio(path)
    np.testing.assert_allclose(audio.wave(), TONE, atol=error)
    assert audio.wave().dtype == np.float32
    assert (audio.rate(), audio.seconds(), audio.suffix()) == (RATE, 1.0, suffix)
    assert audio.encoded() == path.read_bytes()
    assert audio.digest() == Audio(path.read_bytes()).digest()
    assert repr(audio) == f"Audio({path})"
    check_part(audio)


def test_channels_are_averaged_and_what_is_too_loud_is_clipped() -> None:
    stereo = np.stack([TONE, -TONE / 2], axis=1)
    np.testing.assert_allclose(Audio(encoded(stereo)).wave(), TONE / 4, atol=1e-4)
    np.testing.assert_allclose(Audio(stereo, rate=RATE).wave(), TONE / 4, atol=1e-6)
    assert np.abs(Audio(encoded(TONE * 4, subtype="FLOAT")).wave()).max() == 1.0


def test_a_long_sound_is_decoded_block_by_block() -> None:
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (400_000, 2)).astype(np.float32)
    np.testing.assert_allclose(Audio(encoded(noise, subtype="FLOAT")).wave(), noise.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_cuts(form: str) -> None:
    data = encoded(TONE, form=form, subtype="VORBIS" if form == "OGG" else "PCM_16")
    whole, part = Audio(data), Audio(data, start=0.25, end=0.5)
    np.testing.assert_allclose(part.wave(), whole.wave()[2000:4000], atol=1e-3)
    assert part.seconds() == 0.25
    assert part.digest() != whole.digest()
    assert len(Audio(data, start=0.9, end=9.0).wave()) == 800
    assert reason(Audio(data, start=2.0)) == ("empty", "a cut from 2 s of what is 1 s long")


def test_resampling_keeps_the_tone() -> None:
    wave = Audio(encoded(TONE)).wave(16_000)
    np.testing.assert_allclose(
        wave[200:-200], (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000))[200:-200], atol=2e-3
    )
    assert len(Audio(encoded(TONE)).wave(11_025)) == 11_025
    np.testing.assert_array_equal(Audio(encoded(TONE)).wave(RATE), Audio(encoded(TONE)).wave())
    for rate in (0, -1, 10**6):
        with pytest.raises(MediaError, match="Hz"):
            Audio(encoded(TONE)).wave(rate)
    with pytest.raises(MediaError, match=r"16,000 samples, the limit is 14,400"):
        Audio(encoded(TONE[:800]), limits=Limits(seconds=0.3)).wave(160_000)


def test_arrays() -> None:
    audio = Audio(TONE, rate=RATE, start=0.5)
    np.testing.assert_array_equal(audio.wave(), TONE[4000:])
    assert (audio.seconds(), audio.rate(), audio.suffix()) == (0.5, RATE, ".wav")
    np.testing.assert_allclose(Audio(audio.encoded()).wave(), TONE[4000:], atol=1e-4)
    assert audio.digest() != Audio(TONE, rate=RATE * 2, start=0.5).digest()
    for integers, zero in ((np.int16, 0), (np.int32, 0), (np.uint8, 128)):
        half = np.full(10, zero + (np.iinfo(integers).max - zero + 1) // 2, integers)
        np.testing.assert_allclose(Audio(half, rate=RATE).wave(), 0.5)
    assert reason(Audio(TONE)) == ("broken", "an array of sound needs its rate")
    assert reason(Audio(TONE > 0, rate=RATE))[0] == "unsupported"
    assert reason(Audio(TONE[:0], rate=RATE))[0] == "empty"
    assert reason(Audio(np.full(9, np.nan), rate=RATE)) == ("broken", "samples that are not finite")
    check_part(audio)


def test_no_seconds_and_two_hours() -> None:
    assert reason(Audio(wav(0, b""))) == ("empty", "a cut from 0 s of what is 0 s long")
    long = wav(7_200_000, bytes(7_200_000))
    assert reason(Audio(long)) == ("too_large", "7,200 s, the limit is 3,600 s")
    assert Audio(long).seconds() == 7200
    assert len(Audio(long, start=7000, end=7010).wave()) == 10_000


def test_the_second_limit_holds_samples_too() -> None:
    fast = encoded(np.zeros(70_000), rate=700_000)  # a tenth of a second, and more than one at 48 kHz
    assert len(Audio(fast).wave()) == 70_000
    assert reason(Audio(fast, limits=Limits(seconds=1))) == (
        "too_large",
        "70,000 samples, the limit is 48,000",
    )


def test_headers_that_lie() -> None:
    found = "the header says 5,000 bytes of samples, 100 follow"
    assert reason(Audio(wav(5000, bytes(100)))) == ("broken", found)
    assert len(Audio(wav(2**32 - 37, bytes(100))).wave()) == 100  # written into a pipe
    assert reason(Audio(wav(100, bytes(100), rate=0)))[0] == "broken"
    assert reason(Audio(wav(100, bytes(100), rate=10**6)))[0] == "broken"
    flac = bytearray(encoded(TONE, form="FLAC"))
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    assert reason(Audio(bytes(flac)))[0] == "too_large"
    flac[21] &= 0xF0
    flac[22:26] = struct.pack(">I", 2 * RATE)
    assert reason(Audio(bytes(flac)))[0] == "broken"
    flac[22:26] = bytes(4)
    assert reason(Audio(bytes(flac))) == ("unsupported", "the header does not say how long it is")


def test_fewer_samples_than_the_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    nine = np.zeros((9, 1), np.float32)
    monkeypatch.setattr(soundfile.SoundFile, "blocks", lambda *args, **options: iter([nine]))
    assert reason(Audio(encoded(TONE))) == ("broken", "9 of 8,000 samples can be decoded")


def test_what_is_no_sound() -> None:
    assert reason(Audio(b"ID3" + bytes(100)))[0] == "unsupported"
    assert reason(Audio(b""))[0] == "empty"
    assert reason(Audio(encoded(TONE, form="FLAC")[:2000])) == (
        "broken",
        "not a readable sound: Error : flac decoder lost sync.",
    )
    assert reason(Audio(encoded(np.full(100, np.inf), subtype="FLOAT"))) == (
        "broken",
        "samples that are not finite",
    )
    for ask in (Audio.seconds, Audio.rate, Audio.suffix):
        with pytest.raises(MediaError, match="neither WAV"):
            ask(Audio(bytes(100)))
    with pytest.raises(MediaError, match="the limit is 10"):
        Audio(encoded(TONE), limits=Limits(bytes=10)).encoded()


@pytest.mark.skipif(not DIGITS.is_dir(), reason="the spoken digits are not beside this checkout")
def test_spoken_digits() -> None:
    for path in sorted(DIGITS.rglob("*.wav"))[::300]:
        reference, rate = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(Audio(path).wave(), reference)
        assert Audio(path).rate() == rate == 8000
