"""What `data check` says of columns, names and tags before there is a split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.planted import small

from polymodal.media import Audio, Sample, Series, Text
from polymodal.media.check import Finding
from polymodal.training.leaks.columns import columns, group_codes, pooled


def told(found: list[Finding]) -> list[tuple[str, str, str, int]]:
    return [(finding.kind, finding.severity, finding.where, finding.n) for finding in found]


def test_clean_set_is_quiet() -> None:
    assert columns(small(0, text=True).samples) == []


def test_dead_columns_are_named() -> None:
    samples = small(0).samples
    x = np.random.default_rng(0).normal(size=(len(samples), 4))
    x[:, 0], x[:, 1], x[5, 2], x[6:8, 2] = 3.0, np.nan, np.inf, np.nan
    x[100:] = np.nan  # part absent: not the columns' fault
    found = columns(samples, {"face": x})
    assert told(found) == [
        ("empty column", "warning", "face", 1),
        ("constant column", "warning", "face", 1),
        ("non-finite cells", "warning", "face", 1),
    ]
    assert [finding.evidence for finding in found] == [
        ("column 1: no finite cell",),
        ("column 0: 3 in 100 rows",),
        ("column 2: 3 of 100",),
    ]
    assert told(columns(samples, {"face": np.full((len(samples), 2), np.nan)})) == [
        ("empty column", "warning", "face", 2)
    ]


def test_targets_missing_lone_and_rare() -> None:
    targets = ["a"] * 30 + ["b"] * 2 + ["c"] + [None]
    place = np.random.default_rng(0).permutation(34)
    samples = [Sample(f"s{place[i]:02d}", {}, target=target) for i, target in enumerate(targets)]
    assert told(columns(samples)) == [
        ("no target", "warning", "target", 1),
        ("lone class", "warning", "target", 1),
        ("class balance", "note", "target", 1),
    ]
    scores = [Sample(f"s{place[i]:02d}", {}, target=float(i % 5)) for i in range(34)]
    assert columns(scores) == []
    assert columns([]) == []


def test_official_split_that_shares_a_group() -> None:
    samples = small(0).samples
    samples = [replace(s, tags={"split": "train" if i < 85 else "test"}) for i, s in enumerate(samples)]
    found = columns(samples)
    assert told(found) == [("crossing group", "error", "group", 1)]
    assert found[0].evidence == ("g08: 5 in test, 5 in train",)


def test_label_in_one_column_of_a_series_part() -> None:
    samples = small(0).samples
    told_by = [
        replace(s, parts={"x": Series(np.array([i % 7, ord(str(s.target))]))}) for i, s in enumerate(samples)
    ]
    assert told(columns(told_by)) == [("label column", "error", "x", 1)]


def names(stems: list[str], *, targets: list[str], text: bool = False) -> list[Sample]:
    folder = Path("data")
    return [
        Sample(
            f"u{i * 37 % len(stems):04d}",
            {"text": Text(folder / f"{stem}.txt")}
            if text
            else {"sound": Audio(folder / target / f"{stem}.wav")},
            target=target,
            group=f"g{i % 9}",
        )
        for i, (stem, target) in enumerate(zip(stems, targets, strict=True))
    ]


@pytest.mark.parametrize("text", [True, False])
def test_file_names_that_tell(text: bool) -> None:
    rng = np.random.default_rng(0)
    targets = [str(t) for t in rng.choice(["angry", "sad", "calm"], 120)]
    order = rng.permutation(120)
    spoken = names(
        [f"{i}_{t[:2]}_x" for i, t in zip(order, targets, strict=True)], targets=targets, text=text
    )
    part = "text" if text else "sound"
    assert told(columns(spoken)) == [("label in name", "warning", f"file name of {part}", 3)]
    plain = names([f"take{i}" for i in order], targets=targets, text=text)
    assert columns(plain) == []
    place = np.argsort(np.argsort(targets, kind="stable"))
    numbered = names([f"take{i}" for i in place], targets=targets, text=text)
    assert told(columns(numbered)) == [("label in order", "warning", f"file name of {part}", 1)]


def test_a_file_named_after_its_id_is_reported_once() -> None:
    rng = np.random.default_rng(0)
    targets = [str(t) for t in rng.choice(["angry", "sad"], 100)]
    samples = [
        Sample(f"{i}_{t}", {"sound": Audio(Path(f"{i}_{t}.wav"))}, target=t)
        for i, t in zip(rng.permutation(100), targets, strict=True)
    ]
    assert [(finding.kind, finding.where) for finding in columns(samples)] == [("label in name", "id")]


def test_numbers_are_ordered_as_people_do() -> None:
    """As text, 10 stands before 2, and this order would be lost."""
    targets = ["a"] * 11 + ["b"] * 109
    samples = [Sample(f"u{i}", {}, target=t) for i, t in enumerate(targets)]
    assert told(columns(samples)) == [("label in order", "warning", "id", 1)]


def test_tags_that_tell() -> None:
    samples, rng = small(0).samples, np.random.default_rng(0)
    by_name = [
        replace(s, tags={"mood": str(s.target).upper(), "room": str(rng.integers(3))}) for s in samples
    ]
    assert told(columns(by_name)) == [("label in tag", "warning", "mood", 3)]
    arousal = [replace(s, tags={"arousal": ord(str(s.target)) + rng.normal(0, 0.1)}) for s in samples]
    assert told(columns(arousal)) == [("label in tag", "warning", "arousal", 1)]
    weak = [replace(s, tags={"arousal": ord(str(s.target)) + rng.normal(0, 1.5)}) for s in samples[:-1]]
    found = columns([*weak, samples[-1]])
    assert told(found) == [("label in tag", "warning", "arousal", 1)]
    assert "rank correlation" in found[0].evidence[0]


def test_series_are_pooled_over_time(tmp_path: Path) -> None:
    steps = np.array([[1.0, np.nan, np.inf], [3.0, np.nan, 5.0]])
    samples = [
        Sample("a", {"x": Series(steps), "y": Series(np.zeros(2))}),
        Sample("b", {"x": Series(tmp_path / "gone.npy"), "y": Series(np.zeros(3))}),
        Sample("c", {"text": Text("no series")}),
    ]
    found = pooled(samples)
    assert list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], [[2.0, np.nan, 5.0], [np.nan] * 3, [np.nan] * 3])


def test_samples_without_a_group_are_their_own() -> None:
    samples = [Sample(str(i), {}, group=group) for i, group in enumerate(["a", None, "a", None, "1"])]
    assert group_codes(samples).tolist() == [0, 1, 0, 2, 3]
