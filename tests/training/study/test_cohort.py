"""From samples to a study: ways, folds, the audit's veto, and everything that the book says."""

from dataclasses import replace

import numpy as np
import pytest
from tests.training.study.people import people
from tests.training.study.test_trial import FITTING, network

from polymodal.media import Audio, Image, Sample, Text
from polymodal.runs import Run
from polymodal.training.study import Arm, Book, gathered, splits_of, study, ways_of
from polymodal.training.study.cohort import audited

SHORT = replace(FITTING, steps=20)


def test_ways_follow_the_kind_of_each_part():
    samples = [
        Sample("a", {"said": Text("x"), "face": Image(np.zeros((4, 4, 3), np.uint8))}),
        Sample("b", {"voice": Audio(np.zeros(100), rate=8000)}),
    ]
    assert ways_of(samples, {"text": "letters", "audio": "auto"}) == {
        "face": ("image", "pixels"),
        "said": ("text", "letters"),
        "voice": ("audio", "describe"),
    }


def test_protocols():
    samples = people()
    assert len(splits_of(samples, "auto", seed=0)) == 12  # one a speaker
    assert len(splits_of(samples, "speaker", seed=0)) == 12
    assert len(splits_of(samples, "city", seed=0)) == 4
    assert len(splits_of(people(speakers=13), "group", seed=0)) == 5
    assert splits_of(samples, "random", seed=0)[0].by == "sample"
    sides = ["train", "train", "dev", "test"]
    tagged = [replace(s, tags={"split": sides[int(s.tags["city"][1])]}) for s in samples]
    (official,) = splits_of(tagged, "auto", seed=0)
    assert official.by == "official:split"
    assert len(splits_of(tagged, "group", seed=0)) == 12


def test_protocols_that_cannot_be_kept():
    with pytest.raises(ValueError, match=r"at least 3 groups .group., found 2"):
        splits_of(people(speakers=2), "group", seed=0)
    with pytest.raises(ValueError, match=r"no tag 'session' to group by; it has .'city', 'start'."):
        splits_of(people(), "session", seed=0)
    alone = [replace(sample, group=None) for sample in people()]
    splits = splits_of(alone, "auto", seed=0)
    assert [split.stamp for split in splits] == [("ungrouped",)] * 5


def test_parts_are_read_in_jobs_and_once(tmp_path):
    rng = np.random.default_rng(0)
    waves = [Audio(rng.normal(0, 0.1, 4000), rate=8000) for _ in range(6)]
    samples = [Sample(f"{i}", {"voice": wave}, "ab"[i % 2], f"g{i // 2}") for i, wave in enumerate(waves)]
    samples.append(Sample("6", {"voice": Audio(b"RIFFno sound")}, "a", "g0"))
    run = Run.create("toy", {}, root=tmp_path)
    cohort = gathered(run, samples, {"voice": ("audio", "describe")}, protocol="auto", seed=0)
    assert cohort.table.columns["voice"].values.shape[-1] == 56
    assert cohort.table.invalid() == [{"reason": "voice: unsupported", "n": 1, "first": "6"}]
    assert len(cohort.fingerprint()) == 32
    last = cohort.last()
    assert not {samples[i].group for i in last.train} & {samples[i].group for i in last.val}
    run.close()


def test_an_audit_error_stops_unless_it_is_accepted(tmp_path):
    samples = people()
    samples.append(replace(samples[0], id="again", group="p05"))
    run = Run.create("toy", {}, root=tmp_path)
    cohort = gathered(run, samples, ways_of(samples, {}), protocol="auto", seed=0)
    with pytest.raises(ValueError, match=r"makes scores worthless:(.|\n)*duplicate(.|\n)*--accept") as caught:
        audited(run, cohort)
    kinds = [word for word in ("duplicate", "shared part") if f'--accept "{word}"' in str(caught.value)]
    run.accept = tuple(kinds)
    assert {found["kind"] for found in audited(run, cohort)} >= set(kinds)
    run.close()


def told(samples, tmp_path, plan, **options):
    run, book = Run.create("toy", {}, root=tmp_path), Book(seed=0)
    cohort = gathered(run, samples, ways_of(samples, {}), protocol="city", seed=0)
    study(run, book, network, cohort, plan, SHORT, seeds=1)
    run.close()
    return book


PLAN = [
    Arm("concat", absent=0.3, probed=True),
    Arm("plain", probed=True),
    Arm("late", probed=True),
    Arm("only:face", condition="only:face"),
    Arm("only:voice", condition="only:voice"),
    Arm("shuffled targets", condition="shuffled targets"),
]


def test_the_book_of_a_classification(tmp_path):
    book = told(people(), tmp_path, PLAN)
    found = book.estimates
    assert found["concat"].n == 120
    assert found["concat"].n_groups == 12
    for name in ("balanced accuracy", "macro-F1", "ECE", "ECE before temperature", "accuracy where answered"):
        assert 0 <= found[name].mean <= 1
    assert found["missing:0.5 (concat)"].mean < found["concat"].mean
    assert "effective robustness against late fusion" in found
    assert "all - best single part" in found
    assert "random folds - grouped, only:face" in found
    assert {book.legend[name]["role"] for name in ("only:face", "shuffle:voice", "shuffled targets")} == {
        "control"
    }
    assert book.legend["forest"]["role"] == "baseline"
    sections = book.sections
    assert {row["group"] for row in sections["groups"]} >= {"p00", "city c0", "class a"}
    assert sum(map(sum, sections["confusion"]["matrix"])) == 120
    assert len(sections["examples"]) == 12
    assert {row["p"] for row in sections["missing"]} == {i / 10 for i in range(11)}
    assert sections["notes"][0] == "4 folds by city"
    assert {len(column) for column in book.predictions.values()} == {120 * len(PLAN)}
    row = book.predictions["arm"].index("only:face")
    assert book.predictions["present"][row] == ["face"]
    assert len(book.predictions["probabilities"][row]) == 3
    assert {"difference mean", "difference p", "low", "n_groups"} <= set(book.lines()[0])


def test_the_book_of_scores(tmp_path):
    book = told(people(scores=True), tmp_path, PLAN[:4])
    assert book.estimates["concat"].better == "lower"
    assert book.estimates["Pearson"].mean > 0.3
    assert {"acc7", "has0", "non0"} <= set(book.estimates)
    assert "ECE" not in book.estimates
    assert "confusion" not in book.sections
    assert book.sections["examples"][0]["probability"] is None
    assert book.predictions["probabilities"][0] == []
