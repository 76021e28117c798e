"""What stands on two sides: by hand, case by case."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polymodal.media import Audio, Part, Sample, Series, Text, Video
from polymodal.media.check import Finding
from polymodal.training.leaks import crossings

SIDES = ["train", "train", "val", "test"]


def four(*parts: dict[str, Part], **fields: Sequence[object]) -> list[Sample]:
    """s0 and s1 in train, s2 in val, s3 in test."""
    given = parts or tuple({"text": Text(f"{i} is a number")} for i in range(4))
    return [
        Sample(id=f"s{i}", parts=given[i], **{name: values[i] for name, values in fields.items()})  # type: ignore[arg-type]
        for i in range(4)
    ]


def told(found: list[Finding]) -> list[tuple[str, str, str, int]]:
    return [(finding.kind, finding.severity, finding.where, finding.n) for finding in found]


def test_groups_that_cross() -> None:
    found = crossings.groups(four(group=["a", "b", "a", "a"]), SIDES)
    assert told(found) == [("crossing group", "error", "group", 1)]
    assert found[0].evidence == ("a: 1 in test, 1 in train, 1 in val",)
    assert crossings.groups(four(group=["a", "a", "b", "c"]), SIDES) == []
    assert crossings.groups(four(group=[None, None, None, None]), SIDES) == []
    assert crossings.groups(four(group=["a", "b", "a", "a"]), ["train", "train", "", ""]) == []


def test_speakers_that_cross_while_groups_do_not() -> None:
    tags = [{"speaker": "Ross"}, {"speaker": "Joey"}, {"speaker": "Ross"}, {}]
    found = crossings.groups(four(group=["a", "b", "c", "d"], tags=tags), SIDES)
    assert told(found) == [("crossing speaker", "warning", "tag speaker", 1)]
    own = [{"speaker": name} for name in ("a", "b", "a", "a")]
    assert told(crossings.groups(four(group=["a", "b", "a", "a"], tags=own), SIDES)) == [
        ("crossing group", "error", "group", 1)
    ]


def test_copies_of_samples_and_of_parts() -> None:
    a, b, c = Text("one and two"), Text("three"), Series(np.arange(3.0))
    samples = four({"text": a, "x": c}, {"text": b, "x": c}, {"text": a, "x": c}, {"text": b})
    found = crossings.duplicates(samples, SIDES, crossings.prints(samples))
    assert told(found) == [
        ("duplicate", "error", "sample", 1),
        ("shared part", "error", "text", 1),
        ("shared part", "error", "x", 1),
    ]
    assert found[0].evidence == ("s0 (train) = s2 (val)",)
    assert found[1].evidence == ("s3 (test) = s1 (train)",)


def test_copies_on_one_side_are_no_leak_but_their_targets_may_disagree() -> None:
    same = {"text": Text("one and two")}
    samples = four(same, same, {"text": Text("x")}, {"text": Text("y")}, target=["a", "b", "a", "a"])
    found = crossings.duplicates(samples, SIDES, crossings.prints(samples))
    assert told(found) == [("conflicting targets", "warning", "sample", 1)]
    assert found[0].evidence == ("s0: a = s1: b",)
    unknown = four(same, same, {"text": Text("x")}, {"text": Text("y")}, target=["a", None, "a", "a"])
    assert crossings.duplicates(unknown, SIDES, crossings.prints(unknown)) == []


def test_what_is_empty_or_unreadable_is_a_copy_of_nothing(tmp_path: Path) -> None:
    gone = Text(tmp_path / "gone.txt")
    nothing: list[dict[str, Part]] = [{"text": Text(" "), "x": Series(np.zeros(4))} for _ in range(3)]
    samples = four(*nothing, {"text": gone, "x": Series(np.full(4, np.nan))})
    digests = crossings.prints(samples)
    assert digests == [{"text": "", "x": ""}] * 3 + [{"x": ""}]
    assert crossings.duplicates(samples, SIDES, digests) == []
    assert crossings.near_texts(samples, SIDES, digests) == []


def test_at_most_twenty_are_listed_and_all_are_counted() -> None:
    samples = [Sample(f"s{i}", {"text": Text(f"number {i % 30}")}) for i in range(60)]
    found = crossings.duplicates(samples, ["train"] * 30 + ["test"] * 30, crossings.prints(samples))
    assert (found[0].n, len(found[0].evidence)) == (30, 20)


def test_texts_that_differ_in_a_letter() -> None:
    words = "it was the best of times and it was the worst of times and so on and so forth"
    texts = [words, "quite another sentence", words + "!", words]
    samples = four(*[{"text": Text(text)} for text in texts])
    found = crossings.near_texts(samples, SIDES, crossings.prints(samples))
    assert told(found) == [("near-duplicate", "warning", "text", 2)]
    assert found[0].evidence[0].startswith("s0 (train) and s2 (val), Jaccard 0.9")
    assert all("s0 (train) and s3" not in line for line in found[0].evidence)


def near(x: np.ndarray, n_train: int, seed: int = 0) -> list[Finding]:
    samples = [Sample(f"s{i}", {"x": Series(row)}) for i, row in enumerate(x)]
    sides = ["train"] * n_train + ["test"] * (len(x) - n_train)
    return crossings.near_vectors("x", x, samples, sides, crossings.prints(samples), seed=seed)


def test_vectors_that_are_almost_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8))
    x[59] = 3 * x[0] + rng.normal(0, 1e-3, 8)
    x[1] = x[0] + rng.normal(0, 1e-3, 8)
    x[58] = 0
    found = near(x, 40)
    assert told(found) == [("near-duplicate", "warning", "x", 2)]
    assert "cosine 1" in found[0].evidence[0] or "cosine 0.9999" in found[0].evidence[0]


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_strangers_in_few_dimensions_are_no_copies(dim: int) -> None:
    """With .9995 alone 100 of 100 sets would ring below four dimensions."""
    alarms = sum(bool(near(np.random.default_rng(s).normal(size=(200, dim)), 120, s)) for s in range(100))
    assert alarms <= 5


def test_vectors_that_cannot_be_compared() -> None:
    assert near(np.zeros((20, 3)), 10) == []
    assert near(np.random.default_rng(0).normal(size=(20, 5)), 20) == []
    assert near(np.random.default_rng(0).integers(0, 2, (60, 2)) + 1.0, 30) == []


def spans(*given: tuple[str, float, float]) -> list[dict[str, str | float]]:
    return [{"recording": name, "start": start, "end": end} for name, start, end in given]


def test_spans_of_one_recording() -> None:
    tags = spans(("a", 0, 5), ("a", 4, 8), ("a", 8, 9), ("a", 7.5, 10))
    samples = four(tags=tags)
    found = crossings.overlaps(samples, SIDES, crossings.prints(samples))
    assert told(found) == [("overlap", "error", "recording", 2)]
    assert found[0].evidence[0] == "a: s1 (train) and s3 (test), 4-8 s and 7.5-10 s"
    apart = four(tags=spans(("a", 0, 5), ("a", 5, 8), ("b", 0, 5), ("c", 0, 5)))
    assert crossings.overlaps(apart, SIDES, crossings.prints(apart)) == []
    timeless = four(tags=[{"recording": "a"}] * 4)
    assert crossings.overlaps(timeless, SIDES, crossings.prints(timeless)) == []


def test_spans_of_cut_files_and_of_tagged_cuts(tmp_path: Path) -> None:
    talk, film = tmp_path / "talk.wav", tmp_path / "film.mp4"
    cuts: list[dict[str, Part]] = [
        {"sound": Audio(talk, start=0.0, end=5.0)},
        {"film": Video(film)},
        {"film": Video(film, start=3.0)},
        {"sound": Audio(talk, start=4.0, end=6.0)},
    ]
    samples = four(*cuts)
    found = crossings.overlaps(samples, SIDES, [{"x": str(i)} for i in range(4)])
    assert told(found) == [("overlap", "error", "recording", 2)]
    tagged = four(*cuts, tags=[{"recording": "r"}, {}, {"recording": "q"}, {"recording": "r"}])
    assert told(crossings.overlaps(tagged, SIDES, [{"x": str(i)} for i in range(4)])) == [
        ("overlap", "error", "recording", 1)
    ]


def test_the_same_cut_twice_is_a_copy_and_no_overlap() -> None:
    samples = four(tags=spans(("a", 0, 5), ("b", 0, 5), ("c", 0, 5), ("a", 0, 5)))
    assert crossings.overlaps(samples, SIDES, [{"x": name} for name in "abca"]) == []
