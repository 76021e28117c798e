"""Beliefs and information gain against plain enumeration, and their laws."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.envs.clinic import Artefact, Clinic, Disease, Finding
from polymodal.envs.doctor import (
    Beds,
    Sight,
    flagged,
    foreseen,
    gain_of,
    gains,
    inferred,
    scored,
    top,
    update,
)

NAMES = ("Orvane fever", "Telmic itch", "Brusk patch", "Ister lull")


def clinic_of(rng: np.random.Generator, guards: tuple[str, ...] = ()) -> Clinic:
    """Four diseases, five findings of three answers, one artefact of three classes."""
    answers = np.moveaxis(rng.dirichlet(np.ones(3), (4, 5)), -1, 0)
    answers[:, :, 4] = answers[:, :1, 4]  # the last finding is equal in all diseases
    prior = rng.dirichlet(np.ones(4))
    return Clinic(
        tuple(Disease(name, float(p)) for name, p in zip(NAMES, prior, strict=True)),
        tuple(Finding(f"sign {j}", f"Sign {j}?", guards=guards if j == 3 else ()) for j in range(5)),
        (Artefact("trace", ("normal", "slow", "fast")),),
        answers,
        {"trace": rng.dirichlet(np.ones(3), 4)},
    )


def entropy(p: list[float]) -> float:
    return -sum(x * math.log(x) for x in p if x > 0)


def expected(p: list[float], table: list[list[float]]) -> float:
    """H(p) - sum_s m_s H(p | s), one answer at a time; table is "s d"."""
    found = entropy(p)
    for row in table:
        joint = [x * y for x, y in zip(p, row, strict=True)]
        found -= sum(joint) * entropy([x / sum(joint) for x in joint])
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_information_gain_is_that_of_enumeration_and_obeys_its_laws(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clinic = clinic_of(rng)
    p = np.vstack([rng.dirichlet(np.ones(4), 3), np.eye(4)[:1]])
    found = gains(p, clinic.answers)
    for i, j in itertools.product(range(3), range(5)):
        assert found[i, j] == pytest.approx(
            expected(p[i].tolist(), clinic.answers[:, :, j].tolist()), abs=1e-10
        )
    bound = np.array([entropy(row) for row in p.tolist()])
    assert (found >= 0).all()
    assert (found <= bound[:, None] + 1e-12).all()
    assert found[:, 4].max() < 1e-12
    assert found[3].max() < 1e-12  # who is sure learns nothing
    # a table for each patient, as artefacts have it
    own = np.broadcast_to(clinic.answers[:, :, 1].T, (4, 4, 3))
    assert np.allclose(gain_of(p, own), found[:, 1], atol=1e-12)


def test_blocks_do_not_change_the_gain() -> None:
    rng = np.random.default_rng(0)
    clinic, p = clinic_of(rng), rng.dirichlet(np.ones(4), 2100)
    assert np.array_equal(gains(p, clinic.answers)[1500:1510], gains(p[1500:1510], clinic.answers))


def test_beliefs_with_retakes_are_those_of_the_joint_table() -> None:
    """Disease and class are enumerated; takes are independent given the class, not given the disease."""
    rng = np.random.default_rng(1)
    clinic = clinic_of(rng)
    sight = Sight(rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(3), 3), 0.25, rng.dirichlet(np.ones(3)))
    beds, row = Beds(clinic, [sight]), np.zeros(1, dtype=int)
    q = rng.dirichlet(np.ones(3), (2, 1))
    beds.answer(row, np.array([2]), np.array([0]))
    for i, worn in enumerate((True, False)):
        beds.show(row, 0, sight.soft(q[i]), np.array([worn]))
    beds.answer(row, np.array([0]), np.array([2]))

    def weight(d: int, c: int) -> float:
        told = (
            clinic.prior[d] * clinic.answers[0, d, 2] * clinic.answers[2, d, 0] * clinic.shows["trace"][d, c]
        )
        return float(told * (q[0, 0, c] / sight.prior[c]) * (q[1, 0, c] / sight.prior[c]))

    joint = np.array([[weight(d, c) for c in range(3)] for d in range(4)])
    assert np.allclose(beds.p[0], joint.sum(axis=1) / joint.sum(), atol=1e-10)
    answers = np.array([[2, -1, 0, -1, -1]])
    assert np.allclose(inferred(clinic, answers, beds.seen), beds.p, atol=1e-12)
    # what the next take would be taken for, by the quality-mixed confusion
    confusion = 0.75 * sight.good + 0.25 * sight.poor
    said = (joint / joint.sum(axis=1, keepdims=True)) @ confusion
    assert np.allclose(foreseen(clinic.shows["trace"], beds.seen[0], sight.mixed)[0], said, atol=1e-10)
    assert np.array_equal(
        sight.hard(np.array([2, 2]), np.array([True, False])), [sight.poor[:, 2], sight.good[:, 2]]
    )
    assert not beds.free(row)[0, [0, 2, 5]].any()  # asked, asked, and a good take is not made again
    assert beds.free(row)[0, [1, 3, 4]].all()


def test_impossible_evidence_is_flagged_and_floored() -> None:
    p = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    after, impossible = update(p, np.array([[0.0, 0.0, 1.0], [0.9, 0.0, 0.0]]))
    assert impossible.tolist() == [True, False]
    assert np.allclose(after[0], [0.5, 0.5, 0.0])
    assert after[1, 1] == pytest.approx(1e-6 / 0.9, rel=1e-3)
    assert np.allclose(after.sum(axis=1), 1)


def test_scores_of_the_policies() -> None:
    rng = np.random.default_rng(2)
    clinic, sight = clinic_of(rng), Sight.ideal(3)
    p, seen = rng.dirichlet(np.ones(4), 1), [np.ones((1, 3))]
    share = np.append(p @ clinic.answers[0], 1 - (p @ clinic.shows["trace"] @ sight.mixed)[0, 0])

    def score(policy: str, **options: float) -> np.ndarray:
        return scored(clinic, [sight], p, seen, policy=policy, **options).score[0]

    assert np.allclose(score("frequent"), share)
    assert np.allclose(score("half"), -np.abs(share - 0.5))
    bits = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert np.allclose(score("split"), bits / (1 + np.abs(2 * share - 1) / 0.4))
    assert np.allclose(score("eig", weight=0.01), score("eig") - 0.01)
    usual = np.argsort(-(clinic.prior @ clinic.answers[0])).tolist()
    assert np.argsort(-score("fixed")).tolist() == [*usual, 5]
    with pytest.raises(ValueError, match="one of eig"):
        score("best")
    assert np.allclose(top(np.array([[0.4, 0.1, 0.2, 0.3]])), [[4 / 9, 0, 2 / 9, 3 / 9]])


def test_stop_and_red_flags() -> None:
    clinic = clinic_of(np.random.default_rng(3), guards=("telmic itch",))
    beds, row = Beds(clinic, [Sight.ideal(3)]), np.zeros(1, dtype=int)
    beds.p[0] = [0.92, 0.06, 0.01, 0.01]
    assert flagged(clinic, beds.p)[0].tolist() == [0, 0, 0, 0.06, 0, 0]
    assert beds.choose(row).tolist() == [3]  # sure enough, but the flag comes first
    assert beds.choose(row, policy="half").tolist() == [3]
    beds.asked[0, 3] = True
    assert beds.choose(row).tolist() == [-1]
    assert beds.choose(row, tau=0.95)[0] in (0, 1, 2, 5)
    assert beds.choose(row, tau=0.95, weight=1.0).tolist() == [-1]  # nothing is worth its cost
    beds.asked[0, :] = True
    beds.takes[0, 0] = 1
    assert beds.choose(row, tau=None).tolist() == [-1]
    beds.worn[0, 0] = True
    assert beds.choose(row, tau=None).tolist() == [5]
    beds.takes[0, 0] = 3  # twice again is enough
    assert beds.choose(row, tau=None).tolist() == [-1]
