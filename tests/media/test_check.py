import io
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import soundfile

from polymodal.media import Audio, Image, Invalid, MediaError, Pose, Sample, Series, Text, Video
from polymodal.media.check import check

RATE = 8000


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((60, 50), PIL.Image.Resampling.BICUBIC))


def jpeg(pixels: np.ndarray, quality: int = 60) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def sound(seed: int, seconds: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    waves = [
        np.exp(-(((t - rng.random() * seconds) * 12) ** 2)) * np.sin(2 * np.pi * rng.integers(150, 3000) * t)
        for _ in range(6)
    ]
    return (np.sum(waves, axis=0) / 6 + rng.normal(size=len(t)) * 1e-4).astype(np.float32)


def vorbis(wave: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, RATE, format="OGG", subtype="VORBIS")
    return stream.getvalue()


def film(seed: int, quality: int = 2_000_000, n: int = 12) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt, track.bit_rate = 64, 48, "yuv420p", quality
        for k in range(n):
            pixels = np.roll(picture(seed), 3 * k, axis=1)
            shown = PIL.Image.fromarray(pixels).resize((64, 48))
            box.mux(track.encode(av.VideoFrame.from_image(shown)))
        box.mux(track.encode())
    return stream.getvalue()


def sentence(seed: int, n: int = 12) -> str:
    rng = np.random.default_rng(seed)
    return " ".join("".join(map(chr, rng.integers(97, 123, 6))) for _ in range(n))


def clean(n: int = 6) -> list[Sample]:
    return [
        Sample(
            f"u{k}",
            {
                "text": Text(sentence(k)),
                "image": Image(picture(k)),
                "audio": Audio(sound(k), RATE),
                "series": Series(np.full((k + 1, 2), float(k))),
                "pose": Pose((k, 0, 0)),
            },
            ["joy", "grief"][k % 2],
            f"g{k // 2}",
        )
        for k in range(n)
    ]


def by_kind(findings):
    return {(finding.kind, finding.where): finding for finding in findings}


def test_a_clean_set_has_no_finding_and_a_summary():
    findings, summary = check(clean())
    assert findings == []
    assert (summary.n, summary.invalid, summary.scores) == (6, 0, None)
    assert summary.targets == Counter({"class": 6})
    assert summary.classes == Counter(joy=3, grief=3)
    assert summary.groups == Counter(g0=2, g1=2, g2=2)
    assert {name: part.kinds for name, part in summary.parts.items()} == {
        name: Counter({"audio": {"audio": 6}, "pose": {"pose": 6}}.get(name, {name: 6}))
        for name in ("text", "image", "audio", "series", "pose")
    }
    assert summary.parts["image"].low == {"width": 60, "height": 50}
    assert summary.parts["series"].high == {"rows": 6, "columns": 2}
    assert summary.parts["audio"].total == {"seconds": pytest.approx(3)}
    assert summary.parts["pose"].readable == 6


def test_exact_copies_are_told_from_shared_parts():
    samples = clean()
    samples.append(Sample("copy", samples[0].parts, "joy"))
    samples.append(Sample("torn", samples[1].parts, "joy"))
    samples.append(Sample("half", {**samples[2].parts, "text": Text(sentence(99))}, "joy"))
    found = by_kind(check(samples)[0])
    assert found["duplicate", "sample"].n == 2
    assert found["duplicate", "sample"].evidence == ("u0 = copy", "u1 = torn")
    assert found["conflicting targets", "sample"].evidence == ("u1: grief = torn: joy",)
    shared = {where for kind, where in found if kind == "shared part"}
    assert shared == {"image", "audio", "series", "pose"}
    assert found["shared part", "image"].evidence == ("u2 = half",)
    assert {finding.severity for kind, finding in found.items() if kind[0] == "shared part"} == {"note"}


def test_recoded_and_retouched_media_are_near_duplicates():
    samples = clean()
    samples.append(Sample("picture", {"image": Image(jpeg(picture(1)))}))
    samples.append(Sample("sound", {"audio": Audio(vorbis(sound(2) * 0.5))}))
    samples.append(Sample("words", {"text": Text(sentence(3, 12)[:-1])}))
    samples.append(Sample("film", {"film": Video(film(4))}))
    samples.append(Sample("small film", {"film": Video(film(4, 400_000))}))
    samples.append(Sample("other film", {"film": Video(film(5))}))
    samples.append(Sample("short film", {"film": Video(film(4, n=4))}))
    long = sentence(7, 400)
    samples.append(Sample("long", {"text": Text(long)}))
    samples.append(Sample("long too", {"text": Text(long[:-30])}))
    samples.append(Sample("just short", {"text": Text(long[:1990])}))
    samples.append(Sample("just long", {"text": Text(long[:2010])}))
    found = by_kind(check(samples)[0])
    near = {where: finding.evidence for (kind, where), finding in found.items() if kind == "near-duplicate"}
    pairs = {where: [line.split(",")[0] for line in lines] for where, lines in near.items()}
    assert pairs == {
        "image": ["u1 ~ picture"],
        "audio": ["u2 ~ sound"],
        "text": ["u3 ~ words", "long ~ long too", "just short ~ just long"],
        "film": ["film ~ small film"],
    }
    assert {kind for kind, _ in found} == {"near-duplicate", "absent part"}


def test_broken_missing_and_empty_media_are_errors_and_the_rest_goes_on(tmp_path):
    (tmp_path / "torn.png").write_bytes(jpeg(picture(0))[:200])
    (tmp_path / "empty.wav").write_bytes(b"")
    samples = [
        Sample("gone", {"image": Image(tmp_path / "none.png")}),
        Sample("torn", {"image": Image(tmp_path / "torn.png")}),
        Sample("empty", {"audio": Audio(tmp_path / "empty.wav")}),
        Sample("nan", {"pose": Pose((float("nan"), 0, 0))}),
        Invalid("bad", "samples.jsonl:4", "target", "the target is nan"),
        Invalid("", "samples.jsonl:5", "broken", "not JSON"),
        *clean(2),
    ]
    findings, summary = check(samples)
    found = by_kind(findings)
    assert found["missing media", "image"].evidence[0].startswith("gone: ")
    assert found["broken media", "image"].n == found["broken media", "audio"].n == 1
    assert "empty.wav" in found["broken media", "audio"].evidence[0]
    assert found["broken media", "pose"].n == 1
    assert found["invalid row", "target"].evidence == ("samples.jsonl:4: bad the target is nan",)
    assert found["invalid row", "broken"].evidence == ("samples.jsonl:5: not JSON",)
    assert [finding.severity for finding in findings[:6]] == ["error"] * 6
    assert (summary.n, summary.invalid) == (6, 2)
    assert (summary.parts["image"].n, summary.parts["image"].readable) == (4, 2)


def test_what_only_the_whole_set_shows():
    samples = [
        Sample("a", {"x": Text("words here"), "y": Text("always")}, "joy"),
        Sample("b", {"x": Series(np.ones(3)), "y": Text("present")}, 2.5),
        Sample("c", {"y": Text("and different")}, -1.0),
        Sample("d", {"y": Text("")}),
    ]
    findings, summary = check(samples)
    found = by_kind(findings)
    assert set(found) == {("mixed kinds", "x"), ("mixed targets", "target"), ("absent part", "x")}
    assert found["absent part", "x"].n == 2
    assert summary.scores == (-1.0, 2.5)
    assert summary.targets == Counter({"class": 1, "score": 2, "none": 1})
    (nothing,), _ = check([])
    assert (nothing.kind, nothing.severity) == ("no samples", "error")


def test_evidence_is_the_first_twenty():
    samples = [Sample(str(n), {"x": Text(f"said {n % 30} times")}, str(n)) for n in range(60)]
    found = by_kind(check(samples)[0])
    assert found["duplicate", "sample"].n == 30
    assert len(found["duplicate", "sample"].evidence) == 20


def test_classes_are_counted_up_to_a_bound():
    _, summary = check([Sample(str(n), {}, str(n)) for n in range(1500)])
    assert len(summary.classes) == 1000
    assert summary.targets["class"] == 1500


def test_a_folder_is_read_with_its_faults(tmp_path):
    PIL.Image.fromarray(picture(0)).save(tmp_path / "a.png")
    rows = [{"id": "a", "x": "a.png"}, {"id": "b", "x": "b.png"}, {"id": "b2", "x": "../c.png"}]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    findings, summary = check(tmp_path)
    assert [(finding.kind, finding.where) for finding in findings] == [
        ("missing media", "x"),
        ("invalid row", "path"),
    ]
    assert (summary.n, summary.invalid) == (2, 1)
    with pytest.raises(MediaError, match="not a data set"):
        check(Path(__file__).parent)


def voiced(pictures: bool) -> bytes:
    """A second of sound in a film, with ten pictures or none."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as box:
        track = box.add_stream("mpeg4", rate=10) if pictures else None
        if track is not None:
            track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        voice = box.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(10 if track is not None else 0):
            box.mux(track.encode(av.VideoFrame.from_image(PIL.Image.new("RGB", (64, 48)))))
        frame = av.AudioFrame.from_ndarray(sound(0, 1.0)[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        box.mux(voice.encode(frame))
        for each in (track, voice):
            box.mux(each.encode() if each is not None else [])
    return stream.getvalue()


def test_the_sound_of_a_film_is_decoded_too_and_a_film_without_pictures_is_broken():
    findings, summary = check(
        [Sample("whole", {"x": Video(voiced(True))}), Sample("b", {"x": Video(voiced(False))})]
    )
    assert [(finding.kind, finding.evidence[0][:2]) for finding in findings] == [("broken media", "b:")]
    assert summary.parts["x"].high["frames"] == 10
