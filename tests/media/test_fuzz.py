"""10,000 mutated files a decoder: each is decoded or refused with a MediaError; no crash, hang or hunger.

A decoder runs in a child process under a memory limit and an alarm. Case k of a decoder is the same file on
every machine with the same seed files: `python tests/media/test_fuzz.py png 1234 1` runs one case again.
"""

import collections
import faulthandler
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from polymodal.media import Audio, Image, Limits, MediaError, Part, Series, Video, verify

CASES = 10_000
ALARM = 400  # seconds for all cases of one decoder, some ten times what they take
MEMORY = 2 * 2**30  # bytes of data a child may ask for
PEAK = 500 * 2**20  # bytes it may have used: the libraries themselves, and a few times the limits below
LIMITS = Limits(bytes=2**20, pixels=500_000, seconds=20.0, frames=200, cells=500_000)


def pictures(form: str, **options: object) -> bytes:
    import PIL.Image

    rng = np.random.default_rng(0)
    first, *rest = [PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(3)]
    mode = options.pop("mode", None)
    if mode == "I;16":
        first = PIL.Image.fromarray(rng.integers(0, 65536, (8, 8), dtype=np.uint16))
    elif mode is not None:
        first = first.convert(str(mode))
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": rest, "duration": 40}
    stream = io.BytesIO()
    first.save(stream, form, **options)
    return stream.getvalue()


def turned() -> bytes:
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return pictures("JPEG", exif=exif)


def sounds(form: str, subtype: str, rate: int = 8000, channels: int = 1) -> bytes:
    import soundfile

    wave = np.sin(np.arange(rate // 20)[:, None] * 0.3) * np.full((1, channels), 0.5)
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    return stream.getvalue()


def videos(form: str, codec: str, sound: str | None) -> bytes:
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as box:
        track = box.add_stream(codec, rate=10)
        track.width, track.height, track.pix_fmt = 16, 16, "yuv420p"
        track.codec_context.thread_count = 1
        voice = None
        if sound is not None:
            voice = box.add_stream(sound, rate=48000, layout="mono")
        for n in range(3):
            pixels = np.full((16, 16, 3), 60 * n, np.uint8)
            box.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        box.mux(track.encode())
        if voice is not None:
            wave = np.sin(np.arange(2880, dtype=np.float32)[None] * 0.1) / 2
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            context = voice.codec_context
            shaper = av.AudioResampler(
                context.format.name, "mono", 48000, frame_size=context.frame_size or 960
            )
            for piece in shaper.resample(frame):
                box.mux(voice.encode(piece))
            box.mux(voice.encode())
    return stream.getvalue()


def arrays(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def tables(**options: object) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = {"a": [1.0, None, 3.0] * 4, "b": list(range(12)), "c": [True, False, True] * 4}
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream, **options)
    return stream.getvalue()


SEEDS: dict[str, tuple[type, Callable[[], list[bytes]]]] = {
    "png": (
        Image,
        lambda: (
            [pictures("PNG", mode=m) for m in (None, "P", "L", "RGBA", "1", "I;16")]
            + [pictures("PNG", animated=True)]
        ),
    ),
    "jpeg": (
        Image,
        lambda: [
            pictures("JPEG"),
            pictures("JPEG", progressive=True),
            pictures("JPEG", mode="L"),
            pictures("JPEG", mode="CMYK"),
            turned(),
        ],
    ),
    "webp": (
        Image,
        lambda: [
            pictures("WEBP"),
            pictures("WEBP", lossless=True),
            pictures("WEBP", mode="RGBA"),
            pictures("WEBP", animated=True),
        ],
    ),
    "gif": (Image, lambda: [pictures("GIF"), pictures("GIF", animated=True)]),
    "wav": (
        Audio,
        lambda: (
            [sounds("WAV", s) for s in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM")]
            + [sounds("WAVEX", "PCM_16", channels=2)]
        ),
    ),
    "flac": (Audio, lambda: [sounds("FLAC", "PCM_16"), sounds("FLAC", "PCM_24", channels=2)]),
    "ogg": (Audio, lambda: [sounds("OGG", "VORBIS"), sounds("OGG", "OPUS", 48000)]),
    "mp4": (Video, lambda: [videos("mp4", "libx264", "aac"), videos("mp4", "mpeg4", None)]),
    "webm": (Video, lambda: [videos("webm", "libvpx", "libopus"), videos("webm", "libvpx-vp9", None)]),
    "avi": (Video, lambda: [videos("avi", "mpeg4", "pcm_s16le")]),
    "npy": (
        Series,
        lambda: [
            arrays(np.arange(12.0).reshape(4, 3)),
            arrays(np.arange(5, dtype=np.int16)),
            arrays(np.asfortranarray(np.ones((3, 4), np.float32)), (2, 0)),
        ],
    ),
    "csv": (
        Series,
        lambda: [b"a,b,c\n" + b"1,2.5,-3e4\n,nan,inf\n" * 4, b"1,2\n3,4\n", b'"x","y, z"\r\n"1",2\r\n'],
    ),
    "parquet": (
        Series,
        lambda: [
            tables(),
            tables(use_dictionary=False, compression="none"),
            tables(compression="gzip", data_page_version="2.0"),
        ],
    ),
}
PEAKS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """One to four injuries to one of the seeds: bits, numbers, cuts, splices, and ends that never come."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1) if rng.random() < 0.6 else rng.randrange(min(len(data), 64) + 1)
        n = rng.randint(1, 16)
        match rng.randrange(7):
            case 0:
                for _ in range(n):
                    if data:
                        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1 | 2:
                width = rng.choice((1, 2, 4, 8))
                value = rng.choice((*PEAKS, rng.getrandbits(64))) % 2 ** (8 * width)
                data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
            case 3:
                del data[at : len(data) if rng.random() < 0.3 else at + n]
            case 4:
                other = rng.choice(seeds)
                begin = rng.randrange(len(other))
                data[at : at + rng.choice((0, n))] = other[begin : begin + rng.randint(1, 64)]
            case 5:
                data[at:at] = data[at : at + n] * rng.choice((1, 2, 50))
            case 6:
                data[at:at] = rng.randbytes(n)
    return bytes(data)


def png_mended(data: bytes) -> bytes:
    """With right check sums, so that what lies behind them is met as well."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        n = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + n]
        out += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + n
    return bytes(out)


def ogg_mended(data: bytes) -> bytes:
    pages = data.split(b"OggS")
    for n, page in enumerate(pages[1:], 1):
        whole = b"OggS" + page[:18] + bytes(4) + page[22:]
        crc = 0
        for byte in whole:
            crc = (crc << 8 & 0xFFFFFFFF) ^ OGG_CRC[crc >> 24 ^ byte]
        pages[n] = page[:18] + crc.to_bytes(4, "little") + page[22:]
    return b"OggS".join(pages)


def _ogg_crc(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc


OGG_CRC = [_ogg_crc(byte) for byte in range(256)]
MENDED = {"png": png_mended, "ogg": ogg_mended}


def part(name: str, data: bytes) -> Part:
    return SEEDS[name][0](data, limits=LIMITS)


def child(name: str, first: int, n: int) -> None:
    """Decodes cases first … first + n − 1, one line of output each, then a line of counts."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(ALARM)  # its default action ends the child, even one lost inside a library
    seeds = SEEDS[name][1]()
    for seed in seeds:
        verify(part(name, seed))
    counts: collections.Counter[str] = collections.Counter()
    for case in range(first, first + n):
        os.write(1, f"{case}\n".encode())
        rng = random.Random(f"{name} {case}")
        data = mutated(seeds, rng)
        if name in MENDED and rng.random() < 0.7:
            data = MENDED[name](data)
        try:
            verify(part(name, data))
            counts["decoded"] += 1
        except MediaError as error:
            counts[error.reason] += 1
    # not ru_maxrss: that one starts from what the parent had used when it forked
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    os.write(1, json.dumps({"counts": counts, "peak": peak}).encode())


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.exit()

import pytest  # noqa: E402 - the child has no need of it


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_are_decoded_or_refused(name: str) -> None:
    command = [sys.executable, __file__, name, "0", str(CASES)]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}  # at full speed
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=plain)
    lines = done.stdout.splitlines()
    last = lines[-1] if lines else "none"
    assert done.returncode == 0, (
        f"{name}: case {last} ended the child ({done.returncode})\n{done.stderr[-3000:]}"
    )
    assert done.stderr == ""
    assert len(lines) == CASES + 1
    found = json.loads(last)
    assert sum(found["counts"].values()) == CASES
    assert found["counts"]["decoded"] > CASES // 200
    assert CASES - found["counts"]["decoded"] > CASES // 20
    assert found["peak"] < PEAK
