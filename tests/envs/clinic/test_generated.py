"""The pocket clinic has the structure that its page promises, and its patients follow the tables."""

import itertools

import numpy as np
import pytest

from polymodal.envs.clinic import UNSURE, Clinic
from polymodal.envs.clinic.generated import drawn, patients
from polymodal.envs.doctor import ladder
from polymodal.media import Image
from polymodal.systems.clinical_dialogue.data import NOISE, pocket

CLINIC = pocket()


def test_history_tells_all_but_the_pattern_and_artefacts_tell_the_pattern() -> None:
    yes = CLINIC.answers[0] / 0.9
    assert yes.shape == (18, 36)
    assert np.allclose(CLINIC.answers[2], 0.1)
    assert np.allclose(yes[:, -len(NOISE) :], 0.30)
    assert np.array_equal(yes[0::2], yes[1::2])  # diseases that differ in the pattern alone
    assert len({tuple(row) for row in yes}) == 9
    assert np.allclose(np.sort(yes[:, :18], axis=1)[:, [0, 15, 16, 17]], [0.08, 0.08, 0.85, 0.85])
    assert np.allclose(np.sort(yes[:, 18:24], axis=1), [0.1] * 4 + [0.8] * 2)
    for k, one in enumerate(CLINIC.artefacts):
        table = CLINIC.shows[one.kind]
        own = np.arange(18) // 6 == k
        assert np.allclose(table[~own], [0.92, 0.02, 0.02, 0.02, 0.02])
        assert np.allclose(table[own][0::2], [0.01, 0.48, 0.48, 0.015, 0.015])
        # the pattern, from a true class of the own department: closed form .965
        assert np.maximum(*table[own][:2]).sum() / 2 == pytest.approx(0.965, abs=0.006)


def test_patients_follow_the_tables() -> None:
    n = 6000
    some = drawn(CLINIC, n, seed=3)
    shares = np.stack(
        [[(some.answers[some.disease == d] == s).mean(axis=0) for d in range(18)] for s in range(3)]
    )
    worst = np.sqrt(CLINIC.answers * (1 - CLINIC.answers) / (n / 18))
    assert (np.abs(shares - CLINIC.answers) / worst).max() < 5
    assert (some.answers[np.arange(n), some.complaint] == 0).all()
    assert len(set(some.complaint.tolist())) == 36
    assert abs(some.poor.mean() - 0.3) < 0.01
    both = np.mean(some.poor[:, :, 0] & some.poor[:, :, 1])
    assert abs(both - 0.09) < 0.01  # a retake is poor anew
    for k, one in enumerate(CLINIC.artefacts):
        seen = np.stack([(some.classes[:, k] == c) for c in range(5)], axis=1)
        assert np.abs(seen.mean(axis=0) - CLINIC.shows[one.kind].mean(axis=0)).max() < 0.03


def test_who_has_none_of_the_findings_is_not_made_to_complain_of_one() -> None:
    small = Clinic(CLINIC.diseases, CLINIC.findings[:2], (), CLINIC.answers[:, :, :2], {})
    some, cases = drawn(small, 500, seed=0), patients(small, 500, seed=0)
    none = ~(some.answers == 0).any(axis=1)
    assert 0.5 < none.mean() < 0.95
    assert (some.complaint[none] == -1).all()
    assert (some.complaint[~none] >= 0).all()
    assert {cases[int(i)].initial for i in np.flatnonzero(none)} == {"I do not feel well."}
    assert {cases[int(i)].complaint for i in np.flatnonzero(none)} == {""}
    p = ladder(small, some, seed=0, policy="none").p
    assert np.allclose(p[none], small.prior)  # nothing was said, so nothing is known
    assert not np.allclose(p[~none][0], small.prior)
    sure = ladder(small, some, seed=0, policy="all").p
    brier = ((sure - np.eye(18)[some.disease]) ** 2).sum(axis=1).mean()
    assert brier == pytest.approx((1 - (sure**2).sum(axis=1)).mean(), abs=0.03)  # beliefs are calibrated


def test_a_patient_is_the_same_however_many_come() -> None:
    few, many = patients(CLINIC, 3, seed=5), patients(CLINIC, 1030, seed=5)
    arrays = drawn(CLINIC, 1030, seed=5)
    for i, case in enumerate(itertools.islice(many, 3)):
        assert case.findings == few[i].findings
        assert case.diagnosis == few[i].diagnosis == CLINIC.diseases[arrays.disease[i]].name
    case = many[1029]
    assert case.findings[case.complaint] == "yes"
    assert case.complaint in case.initial
    assert set(case.findings.values()) <= {"yes", "no", UNSURE}
    assert [shown.poor for shown in case.artefacts["trace"]] == arrays.poor[1029, 1].tolist()
    assert patients(CLINIC, 1, seed=6)[0].findings != few[0].findings
    with pytest.raises(IndexError, match="there are 3"):
        few[3]
    with pytest.raises(ValueError, match="n=0"):
        patients(CLINIC, 0, seed=0)


def test_pictures_are_drawn_when_they_are_looked_at() -> None:
    calls = []

    def draw(kind: str, cls: str, *, seed: int, poor: bool, take: int) -> Image:
        calls.append((kind, cls, seed, poor, take))
        return Image(np.full((16, 16, 3), seed % 256, np.uint8))

    case = patients(CLINIC, 2, seed=5, draw=draw)[1]
    assert not calls
    shown = case.artefacts["page"]
    assert case.artefacts["page"] is shown
    assert [call[3] for call in calls] == [one.poor for one in shown]
    assert {call[1] for call in calls} == {shown[0].truth}
    assert [call[4] for call in calls] == [0, 1, 2]
    assert len({call[2] for call in calls}) == 1  # takes of one artefact
    assert list(case.artefacts) == ["lesion", "trace", "page"]
    assert patients(CLINIC, 2, seed=5)[1].artefacts["page"][0].image is None
