import io
import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
from scipy.signal import resample_poly

from polymodal.media.likeness import (
    SoundPrint,
    candidates,
    jaccard,
    near_looks,
    near_pictures,
    near_sounds,
    near_texts,
    near_vectors,
    picture_hash,
    picture_look,
    shingles,
    sound_print,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def brute(x, threshold):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    return [(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if cosine[i, j] >= threshold]


def test_three_vectors_by_hand():
    x = np.array([[1.0, 0], [3, 0], [1, 1], [-1, 0]])
    assert near_vectors(x, 0.99) == [(0, 1, 1.0)]
    pairs = near_vectors(x, 0.7)
    assert [(i, j) for i, j, _ in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert pairs[1][2] == pytest.approx(0.5**0.5, abs=1e-6)


@pytest.mark.parametrize("d", [1, 3, 40, 300])
@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.9995])
def test_the_same_pairs_as_all_products(d, threshold):
    rng = np.random.default_rng(d)
    x = rng.normal(size=(150, d)) * 10.0 ** rng.integers(-3, 4, size=(150, 1))
    x[50:75] = x[:25] + rng.normal(size=(25, d)) * np.abs(x[:25]).mean(axis=1, keepdims=True) * 0.02
    x[75:80] = x[0] * np.arange(1, 6)[:, None]
    assert [(i, j) for i, j, _ in near_vectors(x, threshold, block=32)] == brute(x, threshold)


def test_sparse_rows_that_no_bound_tells_apart_are_compared_whole():
    hot = np.random.default_rng(0).integers(0, 400, 1200)
    x = np.eye(400, dtype=np.float32)[hot]
    pairs = np.argwhere(np.triu(hot[:, None] == hot, 1))
    assert [(i, j) for i, j, _ in near_vectors(x, 0.9, block=64)] == [tuple(pair) for pair in pairs.tolist()]


def test_rows_without_a_direction_are_like_no_other():
    x = np.ones((6, 200))
    x[1], x[2, 3], x[3, 0] = 0, np.nan, np.inf
    x[4], x[5] = 1e300, 1e-300
    assert [(i, j) for i, j, _ in near_vectors(x)] == [(0, 4), (0, 5), (4, 5)]
    assert near_vectors(np.zeros((0, 5))) == near_vectors(np.zeros((3, 0))) == []


def test_equal_rows_end_the_search_at_its_bound():
    assert len(near_vectors(np.ones((300, 3)), most=1000)) == 1000
    assert len(near_texts(["the same words"] * 300, most=1000)) == 1000
    assert len(candidates([np.zeros(32, np.uint64)] * 300, most=1000)) == 1000


def test_memory_is_a_few_copies_and_never_a_square():
    x = np.random.default_rng(0).normal(size=(6000, 100)).astype(np.float32)
    tracemalloc.start()
    near_vectors(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 2**20 < 6000**2 * 4


def words(rng, n):
    letters = rng.integers(ord("a"), ord("z") + 1, n * 6, dtype=np.uint8)
    letters[5::6] = ord(" ")
    return letters.tobytes().decode()


def test_shingles_and_jaccard_by_hand():
    assert len(shingles("abcdefg")) == 3
    assert len(shingles("abcabcabcabc")) == 3
    assert len(shingles("abc")) == len(shingles("a")) == 1
    assert len(shingles("")) == 0
    assert jaccard("abcdef", "bcdefg") == pytest.approx(1 / 3)
    assert jaccard("abc", "abc") == 1
    assert jaccard("abc", "abd") == jaccard("", "") == jaccard("abc", "") == 0
    assert jaccard("ab", "ab\0") == 0
    assert jaccard("\U0001f600bcde", "\U0001f600bcde") == 1


def test_near_texts_against_all_pairs():
    rng = np.random.default_rng(0)
    texts = [words(rng, 40) for _ in range(60)]
    for n in range(30):
        cut = rng.integers(5, 200)
        texts.append(texts[n][:cut] + words(rng, 1)[: n % 8] + texts[n][cut:])
    texts += [texts[0], "yes", "yes", "", "", "no", texts[5].upper()]

    def grams(text):
        return {text[at : at + 5] for at in range(max(len(text) - 4, 1))} if text else set()

    expected = {}
    for i, a in enumerate(map(grams, texts)):
        for j, b in enumerate(map(grams, texts[:i])):
            index = len(a & b) / max(len(a | b), 1)
            if index >= 0.9:
                expected[j, i] = index
    found = near_texts(texts)
    assert {(i, j): pytest.approx(index) for i, j, index in found} == expected
    assert found == sorted(found)
    assert len(found) > 30
    assert near_texts([]) == []


def test_long_texts_are_hashed_in_bounded_memory():
    text = words(np.random.default_rng(1), 40_000)
    tracemalloc.start()
    assert near_texts([text, text[:-9]])[0][2] > 0.99
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20


def scene(rng) -> PIL.Image.Image:
    """Blobs on a gradient: a picture with something in it."""
    y, x = np.mgrid[0:96, 0:128] / 128
    out = np.stack([x * rng.random() + y * rng.random() for _ in range(3)], axis=2)
    for _ in range(8):
        cx, cy, r = rng.random(3) * (1, 0.75, 0.25)
        out[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = rng.random(3)
    return PIL.Image.fromarray((np.clip(out, 0, 1) * 255).astype(np.uint8))


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return PIL.Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


CHANGES = {
    "jpeg": lambda picture: encoded(picture, "JPEG", quality=40),
    "webp": lambda picture: encoded(picture, "WEBP", quality=50),
    "half": lambda picture: picture.resize((64, 48), PIL.Image.Resampling.BICUBIC),
    "double": lambda picture: picture.resize((257, 191), PIL.Image.Resampling.BILINEAR),
    "brighter": lambda picture: picture.point(lambda level: min(255, int(level * 1.05 + 4))),
}


def test_the_difference_hash_by_hand():
    rising = np.repeat(np.repeat(np.arange(0, 180, 20, dtype=np.uint8)[None, :, None], 8, 0), 3, 2)
    assert picture_hash(rising) == 2**64 - 1
    assert picture_hash(rising[:, ::-1]) == 0
    step = np.zeros((8, 9, 3), np.uint8)
    step[0, 1:] = 255
    assert picture_hash(step) == 2**63


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found_and_different_ones_are_not(change):
    rng = np.random.default_rng(0)
    pictures = [scene(rng) for _ in range(40)]
    both = [np.asarray(picture) for picture in (*pictures, *map(CHANGES[change], pictures))]
    hashes, looks = (
        [picture_hash(pixels) for pixels in both],
        np.stack([picture_look(pixels) for pixels in both]),
    )
    twins = [(n, n + 40) for n in range(40)]
    assert [(i, j) for i, j, _ in near_pictures(hashes, 10, looks=looks)] == twins
    plain = near_pictures(hashes)
    assert len(set(twins) & {(i, j) for i, j, _ in plain}) >= 36
    for i, j, share in plain:
        assert share == 1 - (hashes[i] ^ hashes[j]).bit_count() / 64 >= 1 - 6 / 64
    assert {(i, j) for i, j, _ in plain} == {
        (i, j) for i in range(80) for j in range(i + 1, 80) if (hashes[i] ^ hashes[j]).bit_count() <= 6
    }


def test_pictures_of_one_colour_are_alike_only_by_hash():
    flat = [np.full((9, 9, 3), level, np.uint8) for level in (10, 200)]
    hashes = [picture_hash(pixels) for pixels in flat]
    assert near_pictures(hashes) == [(0, 1, 1.0)]
    assert near_pictures(hashes, looks=np.stack([picture_look(pixels) for pixels in flat])) == []
    assert near_pictures([]) == near_sounds([]) == []
    assert near_looks(np.zeros((3, 768), np.uint8)) == []


@pytest.mark.skipif(not (DATA / "nlvr_dev").is_dir(), reason="NLVR pictures are not here")
def test_drawings_on_one_background_raise_no_alarm():
    """Their hashes alone would pair hundreds of them."""
    files = sorted((DATA / "nlvr_dev/images").rglob("*.png"))[:150]
    pixels = [np.asarray(PIL.Image.open(file).convert("RGB")) for file in files]
    hashes, looks = [picture_hash(each) for each in pixels], np.stack([picture_look(each) for each in pixels])
    for i, j, _ in near_pictures(hashes, 10, looks=looks):
        assert np.abs(pixels[i].astype(int) - pixels[j]).mean() < 2
    assert len(near_pictures(hashes, 10)) > 100


def voiced(rng, seconds=0.6, rate=8000):
    """Syllables of gliding tones and noise."""
    t = np.arange(int(seconds * rate)) / rate
    out = rng.normal(size=len(t)) * 1e-3
    for _ in range(5):
        start, length = rng.random() * seconds, 0.05 + rng.random() * 0.2
        shape = np.exp(-(((t - start) / length) ** 2) * 4)
        glide = 120 + 2500 * rng.random() + rng.normal() * 400 * t
        out += shape * np.sin(2 * np.pi * glide * t) * rng.random()
    return (out / np.abs(out).max() * 0.7).astype(np.float32), rate


def recoded(wave, rate, form="OGG", subtype="VORBIS"):
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")


SOUNDS = {
    "quieter": lambda wave, rate: (wave * 0.2, rate),
    "vorbis": recoded,
    "16 kHz": lambda wave, rate: (resample_poly(wave, 2, 1).astype(np.float32), 2 * rate),
    "11.025 kHz": lambda wave, rate: (resample_poly(wave, 441, 320).astype(np.float32), 11025),
    "mu-law": lambda wave, rate: recoded(wave, rate, "WAV", "ULAW"),
}


@pytest.mark.parametrize("change", SOUNDS)
def test_changed_sounds_are_found_and_different_ones_are_not(change):
    rng = np.random.default_rng(0)
    sounds = [voiced(rng) for _ in range(25)]
    prints = [sound_print(*sound) for sound in (*sounds, *(SOUNDS[change](*sound) for sound in sounds))]
    assert [(i, j) for i, j, _ in near_sounds(prints)] == [(n, n + 25) for n in range(25)]


def test_tones_are_told_by_their_pitch_and_silence_is_like_nothing():
    t = np.arange(8000) / 8000
    tones = [np.sin(2 * np.pi * hz * t).astype(np.float32) for hz in (440, 450, 1000, 1020)]
    prints = [sound_print(tone, 8000) for tone in (*tones, *(tone * 0.3 for tone in tones))]
    assert prints[0].hz == pytest.approx(440, abs=1)
    assert [(i, j) for i, j, _ in near_sounds(prints)] == [(n, n + 4) for n in range(4)]
    silent = [sound_print(np.zeros(n, np.float32), 8000) for n in (10, 4000, 4000)]
    assert near_sounds(silent) == []


def test_length_counts():
    print_ = sound_print(*voiced(np.random.default_rng(0)))
    longer = SoundPrint(print_.seconds * 1.05, print_.hz, print_.levels)
    assert near_sounds([print_, longer]) == []
    assert len(near_sounds([print_, print_])) == 1


@pytest.mark.skipif(not (DATA / "fsdd").is_dir(), reason="spoken digits are not here")
def test_spoken_digits_are_all_different_and_found_when_recoded():
    files = sorted((DATA / "fsdd/recordings").glob("*_jackson_*.wav"))[:120]
    waves = [soundfile.read(file, dtype="float32") for file in files]
    prints = [sound_print(*wave) for wave in waves]
    assert near_sounds(prints) == []
    again = [sound_print(*recoded(wave * 0.4, rate)) for wave, rate in waves[:40]]
    found = {(i, j) for i, j, _ in near_sounds([*prints, *again])}
    assert found == {(n, n + 120) for n in range(40)}
