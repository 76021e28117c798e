"""What looks, reads or sounds alike: near-duplicates of vectors, texts, pictures, sounds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
from jaxtyping import Float32, Num, UInt8, UInt64
from numpy.typing import NDArray

Pair = tuple[int, int, float]

MOST = 1_000_000  # pairs of one search: n equal rows are n² / 2 pairs, which no memory holds
SHINGLE, HASHES, BANDS, ROWS = 5, 128, 32, 4  # 32 bands of 4 rows find a Jaccard of .9 but for one in 10^14
RATE, WINDOW, HOP, NOTES, CELLS = 8000, 256, 64, 24, 64  # the sound print: 24 bands by 64 time cells
FLOOR = 50.0  # dB below the loudest cell; what is weaker is called silence
STEADY = 1.0  # dB; a sound whose bands move less than this is told by its strongest frequency


def near_vectors(
    x: Num[np.ndarray, "n d"], threshold: float = 0.9995, *, block: int = 1024, most: int = MOST
) -> list[Pair]:
    """Pairs of rows with cosine at or above `threshold`, each with i < j, in order.

    Products of blocks in float32, so memory is a few copies of x and never "n n". A block of pairs is first
    bounded on 64 directions (the products there plus the product of what is left of the two norms, by
    Cauchy and Schwarz) and computed whole only where that bound allows a pair; pairs are confirmed in
    float64. Nothing is missed.

    Args:
        x: one row a thing; rows that are zero or not finite are like no other.
        threshold: least cosine, above 0.
        block: rows of a block.
        most: the search ends with this many pairs.
    """
    return _near(_unit(x), threshold, block, most)


def _near(unit: Float32[np.ndarray, "n d"], threshold: float, block: int, most: int) -> list[Pair]:
    head = _head(unit, 64)
    bound = unit if head is None else head
    least = threshold - 1e-5  # room for rounding; the pairs found are confirmed in float64
    out: list[Pair] = []
    for i in range(0, len(unit), block):
        for j in range(i, len(unit), block):
            cosine = bound[i : i + block] @ bound[j : j + block].T
            if i == j:
                np.fill_diagonal(cosine, -1)
            if cosine.max() < least:
                continue
            if head is not None and np.count_nonzero(cosine >= least) > 4 * block:
                cosine = unit[i : i + block] @ unit[j : j + block].T
            a, b = np.nonzero(cosine >= least)
            rows = np.stack([a + i, b + j])[:, a + i < b + j]
            for at in range(0, rows.shape[1], 8192):
                out += _confirmed(unit, rows[:, at : at + 8192], threshold)
                if len(out) >= most:
                    return sorted(out)[:most]
    return sorted(out)


def _confirmed(unit: NDArray[np.float32], rows: NDArray[np.intp], threshold: float) -> Iterator[Pair]:
    a, b = rows
    cosine = np.einsum("nd,nd->n", unit[a], unit[b], dtype=np.float64)
    kept = cosine >= threshold - 1e-7  # the unit rows themselves are rounded to float32
    return zip(a[kept].tolist(), b[kept].tolist(), np.minimum(cosine[kept], 1).tolist(), strict=True)


def _unit(x: Num[np.ndarray, "n d"], centred: bool = False) -> Float32[np.ndarray, "n d"]:
    """Rows of length 1, or 0 where a row has no direction; scaled first, so that no square overflows."""
    out = np.empty(x.shape, np.float32)
    for at in range(0, len(x), 4096):
        rows = x[at : at + 4096].astype(np.float64)
        rows[~np.isfinite(rows).all(axis=1)] = 0
        if centred:
            rows -= rows.mean(axis=1, keepdims=True)
        rows /= np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), 1e-300)
        out[at : at + 4096] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return out


def _head(unit: Float32[np.ndarray, "n d"], k: int) -> Float32[np.ndarray, "n _"] | None:
    """Coordinates on k directions of large variance, and the norm of the rest; None where it saves nothing.

    The directions are one step of the randomised range finder (Halko, Martinsson and Tropp 2011).
    """
    n, d = unit.shape
    if d <= 2 * k or n <= k:
        return None
    start = np.random.default_rng(0).standard_normal((d, k), dtype=np.float32)
    base, _ = np.linalg.qr(unit.T @ (unit @ start))
    head = unit @ base
    rest = np.sqrt(np.maximum(0, 1 - np.sum(head * head, axis=1, keepdims=True)))
    return np.hstack([head, rest]).astype(np.float32)


def shingles(text: str) -> UInt64[np.ndarray, " s"]:
    """Hashes of all stretches of five characters, each once; a shorter text is one stretch, "" is none."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if not len(codes):
        return codes
    wide = min(SHINGLE, len(codes))
    mixed = np.full(len(codes) - wide + 1, wide, np.uint64)
    for at in range(wide):
        mixed = (mixed ^ codes[at : at + len(mixed)]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


def min_hashes(text: str) -> UInt64[np.ndarray, " 128"]:
    """The least of 128 hash functions over the shingles: a sketch of a text in 1 kB (Broder 1997)."""
    flip, odd = _functions()
    codes, least = shingles(text), np.full(HASHES, np.iinfo(np.uint64).max, np.uint64)
    for at in range(0, len(codes), 1024):
        hashed = codes[at : at + 1024, None] ^ flip
        hashed *= odd
        np.minimum(least, hashed.min(axis=0), out=least)
    return least


@cache
def _functions() -> tuple[UInt64[np.ndarray, " 128"], UInt64[np.ndarray, " 128"]]:
    """What is flipped, and an odd factor, for each hash; high bits decide the least, and mix all others."""
    rng = np.random.default_rng(0)
    flip, odd = rng.integers(0, 2**64, (2, HASHES), dtype=np.uint64)
    return flip, odd | np.uint64(1)


def bands_of(sketch: UInt64[np.ndarray, " 128"]) -> UInt64[np.ndarray, " 32"]:
    """A key for each 4 of the 128; two texts that share one are worth comparing."""
    mixed = np.arange(BANDS, dtype=np.uint64)
    for column in sketch.reshape(BANDS, ROWS).T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed


def candidates(keys: Sequence[UInt64[np.ndarray, " 32"]], *, most: int = MOST) -> list[tuple[int, int]]:
    """Pairs of positions that share a band, in order; the search ends with `most`."""
    out: set[tuple[int, int]] = set()
    table = np.array(keys, np.uint64).reshape(len(keys), BANDS)
    for band in table.T:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order[:1]] + np.uint64(1)))
        for members in np.split(order, starts[1:]):
            for pair in combinations(members.tolist(), 2) if len(members) > 1 else ():
                out.add(pair)
                if len(out) >= most:
                    return sorted(out)
    return sorted(out)


def jaccard(a: str, b: str) -> float:
    """Shared shingles over all shingles of two texts, exactly; 0 where either has none."""
    left, right = shingles(a), shingles(b)
    both = len(np.intersect1d(left, right, assume_unique=True))
    return both / max(len(left) + len(right) - both, 1)


def near_texts(texts: Sequence[str], threshold: float = 0.9, *, most: int = MOST) -> list[Pair]:
    """Pairs of texts with a Jaccard index of their 5-character shingles at or above `threshold`.

    128 min-hashes in 32 bands of 4 rows choose the pairs to compare, which are then compared exactly.
    Equal texts are compared once for all of them.

    Args:
        texts: as they are: case and spaces count. An empty text is like no other.
        threshold: least Jaccard index; below .7 the bands begin to miss pairs.
        most: the search ends with this many pairs.
    """
    places: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        if text:
            places.setdefault(text, []).append(position)
    one = list(places)
    found = candidates([bands_of(min_hashes(text)) for text in one], most=most)
    alike = [(a, b, index) for a, b in found if (index := jaccard(one[a], one[b])) >= threshold]
    out: list[Pair] = []
    for i, j, index in _spread(alike, list(places.values())):
        out.append((min(i, j), max(i, j), index))
        if len(out) >= most:
            break
    return sorted(out)


def _spread(alike: list[Pair], places: list[list[int]]) -> Iterator[Pair]:
    for rows in places:
        yield from ((i, j, 1.0) for i, j in combinations(rows, 2))
    for a, b, index in alike:
        yield from ((i, j, index) for i, j in product(places[a], places[b]))


def picture_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """64 bits: whether each cell of an 8 by 9 grey reduction is brighter than its left neighbour."""
    grey = np.asarray(_reduced(pixels, 9, 8).convert("L"), np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes())


def picture_look(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, " 768"]:
    """The picture reduced to 16 by 16 by 3: what tells two pictures apart whose hashes are near."""
    return np.asarray(_reduced(pixels, 16, 16), np.uint8).reshape(-1)


def _reduced(pixels: UInt8[np.ndarray, "h w 3"], width: int, height: int) -> Any:
    import PIL.Image

    return PIL.Image.fromarray(pixels).resize((width, height), PIL.Image.Resampling.BOX)


def near_pictures(
    hashes: Sequence[int],
    bits: int = 6,
    *,
    looks: UInt8[np.ndarray, "n 768"] | None = None,
    threshold: float = 0.985,
    most: int = MOST,
) -> list[Pair]:
    """Pairs of pictures whose hashes differ in at most `bits` bits, with 1 - bits differing / 64.

    Drawings on one background share their hashes without being alike. Given the looks, a pair must also
    correlate at `threshold` or more, and a picture of one colour is like no other; the correlation is then
    the third number. Re-encoded and rescaled pictures correlate above .99.
    """
    if not hashes:
        return []
    rows = np.frombuffer(b"".join(value.to_bytes(8) for value in hashes), np.uint8).reshape(-1, 8)
    signs = np.unpackbits(rows, axis=1)
    if looks is None:
        found = near_vectors(signs.astype(np.int8) * 2 - 1, 1 - 2 * bits / 64, most=most)
        return [(i, j, (1 + cosine) / 2) for i, j, cosine in found]
    found = near_looks(looks, threshold, most=most)
    return [(i, j, cosine) for i, j, cosine in found if np.count_nonzero(signs[i] != signs[j]) <= bits]


def near_looks(looks: UInt8[np.ndarray, "n d"], threshold: float = 0.985, *, most: int = MOST) -> list[Pair]:
    """Pairs of looks, or of several in a row, that correlate at `threshold` or more."""
    return _near(_unit(looks, centred=True), threshold, 1024, most)


@dataclass(frozen=True, slots=True, eq=False)
class SoundPrint:
    """What is kept of a sound to know it again.

    Args:
        seconds: its length.
        hz: the strongest frequency of a steady sound, 0 for any other.
        levels: 64 time cells by 24 bands from 100 to 3,500 Hz, in fifths of a dB above 50 dB below the peak.
    """

    seconds: float
    hz: float
    levels: UInt8[np.ndarray, " 1536"]


def sound_print(wave: Float32[np.ndarray, " t"], rate: int) -> SoundPrint:
    """A print that gain, resampling and lossy codecs hardly change.

    Args:
        wave: mono; not empty.
        rate: samples a second, at least 8,000 for the upper bands to say anything.
    """
    seconds = len(wave) / rate
    if rate != RATE:
        from scipy.signal import resample_poly

        shared = np.gcd(rate, RATE)
        wave = resample_poly(wave, RATE // shared, rate // shared).astype(np.float32)
    padded = np.pad(wave, (0, max(0, WINDOW - len(wave))))
    cells = _cells(padded)
    peak = cells.max(initial=0)
    if peak <= 0:
        return SoundPrint(seconds, 0.0, np.zeros(CELLS * NOTES, np.uint8))
    decibels = np.maximum(10 * np.log10(np.maximum(cells / peak, 1e-9)), -FLOOR) + FLOOR
    steady = float(np.sqrt(np.mean((decibels - decibels.mean(axis=0)) ** 2))) < STEADY
    return SoundPrint(
        seconds, _strongest(padded) if steady else 0.0, (decibels * 5).astype(np.uint8).reshape(-1)
    )


def _cells(wave: Float32[np.ndarray, " t"]) -> NDArray[np.float64]:
    """Mean power in equal stretches of time and of the logarithm of frequency, "64 24"."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    edges = np.round(np.geomspace(100, 3500, NOTES + 1) / RATE * WINDOW).astype(int)
    edges = np.maximum.accumulate(np.maximum(edges, edges[0] + np.arange(NOTES + 1)))
    window = np.hanning(WINDOW).astype(np.float32)
    total = np.zeros((len(frames) + 1, NOTES))
    for at in range(0, len(frames), 1024):
        power = np.abs(np.fft.rfft(frames[at : at + 1024] * window, axis=1)) ** 2
        total[at + 1 : at + 1 + len(power)] = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    total = np.cumsum(total, axis=0)
    ends = np.linspace(0, len(frames), CELLS + 1)
    steps = np.stack([np.interp(ends, np.arange(len(total)), column) for column in total.T], axis=1)
    return np.diff(steps, axis=0)


def _strongest(wave: Float32[np.ndarray, " t"]) -> float:
    part = wave[: 8 * RATE] * np.hanning(min(len(wave), 8 * RATE))
    return float(np.argmax(np.abs(np.fft.rfft(part))[1:]) + 1) * RATE / len(part)


def near_sounds(prints: Sequence[SoundPrint], threshold: float = 0.977, *, most: int = MOST) -> list[Pair]:
    """Pairs of sounds whose prints correlate at `threshold` or more and whose lengths agree within 2 %.

    Two steady sounds (tones, hums) must share their strongest frequency within 1 % too. Silence is like no
    other sound. Among 3,000 spoken digits two recordings reach .973 at most; the same one in Ogg Vorbis, .980
    at least.
    """
    if not prints:
        return []
    found = near_looks(np.stack([print_.levels for print_ in prints]), threshold, most=most)
    return [(i, j, cosine) for i, j, cosine in found if _fits(prints[i], prints[j])]


def _fits(a: SoundPrint, b: SoundPrint) -> bool:
    length = abs(a.seconds - b.seconds) <= 0.02 * max(a.seconds, b.seconds) + 0.01
    return length and (a.hz * b.hz == 0 or abs(a.hz - b.hz) <= 0.01 * max(a.hz, b.hz) + 1)
