"""The doctor without a language model: information gain against pgmpy, at scale, and whole consultations.

Run from the project's root: `python bench/diagnosis.py`. It ends with 1 where a floor is missed. Where pgmpy
is not installed (`pip install pgmpy`), the peer is an enumeration of every answer in plain Python.
"""

import importlib.util
import math
import resource
import sys
import time
from typing import Any

import numpy as np
from clock import seconds

from polymodal.envs.clinic import Clinic, Reading
from polymodal.envs.clinic.generated import drawn, patients
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.doctor import BayesDoctor, Beds, Sight, gains, ladder, learned_stop
from polymodal.envs.play import play
from polymodal.media import Image
from polymodal.metrics import difference, mean
from polymodal.systems.clinical_dialogue.data import pocket

PATIENTS, CASES, SEEDS = 2_000, 1_500, 5
LARGE = (5_000, 300, 100)  # patients, findings, diseases


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def started(clinic: Clinic, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beliefs after a complaint and one answer, and both answers by patient: finding, row."""
    some = drawn(clinic, n, seed=0)
    beds = Beds(clinic, [Sight.ideal(5)] * 3, n)
    rows, other = np.arange(n), (some.complaint + 7) % len(clinic.findings)
    beds.answer(rows, some.complaint, np.zeros(n, dtype=int))
    beds.answer(rows, other, some.answers[rows, other])
    return beds.p, some.complaint, np.stack([other, some.answers[rows, other]], axis=1)


def enumerated(clinic: Clinic) -> Any:
    """`(evidence, j)` to the gain of finding j, by enumerating answers in plain Python."""
    prior, table = clinic.prior.tolist(), clinic.answers.tolist()

    def entropy(p: list[float]) -> float:
        return -sum(x * math.log(x) for x in p if x > 0)

    def posterior(evidence: dict[int, int]) -> list[float]:
        joint = [x * math.prod(table[s][d][j] for j, s in evidence.items()) for d, x in enumerate(prior)]
        return [x / sum(joint) for x in joint]

    def gain(evidence: dict[int, int], j: int) -> float:
        p = posterior(evidence)
        found = entropy(p)
        for s in range(len(table)):
            m = sum(x * table[s][d][j] for d, x in enumerate(p))
            found -= m * entropy(posterior({**evidence, j: s}))
        return found

    return gain


def eliminated(clinic: Clinic) -> Any:
    """The same by pgmpy's VariableElimination."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork

    names = [f"f{j}" for j in range(len(clinic.findings))]
    net = DiscreteBayesianNetwork([("d", name) for name in names])
    n = len(clinic.diseases)
    net.add_cpds(TabularCPD("d", n, clinic.prior[:, None]))
    for j, name in enumerate(names):
        net.add_cpds(TabularCPD(name, 3, clinic.answers[:, :, j], evidence=["d"], evidence_card=[n]))
    engine = VariableElimination(net)

    def entropy(p: np.ndarray) -> float:
        return float(-(p * np.log(p)).sum())

    def gain(evidence: dict[int, int], j: int) -> float:
        known = {names[i]: s for i, s in evidence.items()}
        found = entropy(engine.query(["d"], known, show_progress=False).values)
        shares = engine.query([names[j]], known, show_progress=False).values
        for s, m in enumerate(shares):
            told = {**known, names[j]: s}
            found -= m * entropy(engine.query(["d"], told, show_progress=False).values)
        return found

    return gain


def gain_of_all() -> bool:
    """One step of 2,000 patients on the pocket clinic against the peer, candidate by candidate."""
    clinic = pocket()
    p, complaint, other = started(clinic, PATIENTS)
    ours, found = seconds(lambda: gains(p, clinic.answers), 7), gains(p, clinic.answers)
    there = importlib.util.find_spec("pgmpy") is not None
    name, peer, few = ("pgmpy", eliminated(clinic), 4) if there else ("plain Python", enumerated(clinic), 20)
    if not there:
        print("pgmpy is not installed: the peer is an enumeration in plain Python")
    gap, asked, start = 0.0, 0, time.perf_counter()
    for i in range(few):
        evidence = {int(complaint[i]): 0, int(other[i, 0]): int(other[i, 1])}
        for j in set(range(len(clinic.findings))) - set(evidence):
            gap, asked = max(gap, abs(peer(evidence, j) - found[i, j])), asked + 1
    one = (time.perf_counter() - start) / asked
    ratio = one * found.size / ours
    floor = 200 if there else 50
    print(
        f"information gain, {PATIENTS:,} patients x 36 findings x 18 diseases x 3 answers: "
        f"{ours * 1e3:.1f} ms (floor 50 ms); {name} {one * 1e3:.2f} ms a candidate; {ratio:,.0f} x "
        f"(floor {floor} x), apart by {gap:.1e}"
    )
    return ours <= 0.05 and ratio >= floor and gap <= 1e-10


def large() -> bool:
    """One step of 5,000 patients, 300 findings, 100 diseases."""
    n, j, d = LARGE
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(d), n)
    answers = np.moveaxis(rng.dirichlet(np.ones(3), (d, j)), -1, 0)
    took = seconds(lambda: gains(p, answers), 2)
    print(f"{n:,} x {j} x {d}: {took:.2f} s a step (floor 1 s), at most {peak():,.0f} MB (floor 1,000 MB)")
    return took <= 1 and peak() < 1000


CODES = {one.kind: one.classes for one in pocket().artefacts}


def coded(kind: str, cls: str, *, seed: int, poor: bool, take: int) -> Image:
    """A picture of two pixels that an ideal reader reads: class, quality, and its error by chance."""
    noise = np.random.default_rng((seed, take)).integers(256, size=3)
    return Image(np.array([[[CODES[kind].index(cls), poor, 0], noise]], dtype=np.uint8))


def ideal(kind: str) -> Any:
    """Reads coded pictures, right .97 where good and .60 where poor."""
    sight = Sight.ideal(5)

    def read(image: np.ndarray) -> Reading:
        (c, poor, _), noise = image[0, 0].tolist(), int.from_bytes(image[0, 1].tobytes())
        confusion = sight.poor if poor else sight.good
        said = int((noise / 2**24 >= confusion[c].cumsum()[:-1]).sum())
        return Reading(kind, CODES[kind], tuple(confusion[:, said].tolist()), float(poor))

    return read


def consultations() -> bool:
    """1,500 generated patients through the environment, one after another."""
    clinic = pocket()
    cases = patients(clinic, CASES, seed=0, draw=coded)
    env, doctor = (
        Consultation(cases, clinic=clinic),
        BayesDoctor(clinic, {kind: ideal(kind) for kind in CODES}),
    )
    right, turns, early, start = [], 0, 0.0, time.perf_counter()
    for i in range(CASES):
        episode = list(play(env, doctor, seed=0, limit=40, options={"case": i}))
        right.append(sum(turn.reward for turn in episode))
        turns += len(episode) - 2
        if i == CASES // 5:
            early = peak()
    took, told = time.perf_counter() - start, mean(right)
    print(
        f"{CASES:,} consultations by the Bayesian doctor: {took:.1f} s (floor 60 s), "
        f"{turns / CASES:.1f} turns, top-1 {told.mean:.3f} [{told.low:.3f}, {told.high:.3f}]; "
        f"memory grew by {peak() - early:.1f} MB after the first fifth (floor 20 MB)"
    )
    return took <= 60 and peak() - early < 20


def bars() -> bool:
    """The order of the policies and what stopping saves, on 5 seeds of 4,000 patients with ideal readers."""
    clinic = pocket()

    def run(**options: Any) -> tuple[np.ndarray, np.ndarray]:
        found = [ladder(clinic, drawn(clinic, 4000, seed=s), seed=s, **options) for s in range(SEEDS)]
        return np.concatenate([one.right for one in found]), np.concatenate([one.turns for one in found])

    def gap(name: str, a: np.ndarray, b: np.ndarray) -> float:
        told = difference(None, a.astype(float), b.astype(float))
        seeds = (a.astype(float) - b).reshape(SEEDS, -1).mean(axis=1).round(3).tolist()
        print(f"  {name}: {told.mean:+.3f} [{told.low:+.3f}, {told.high:+.3f}], by seed {seeds}")
        return float(told.low)

    good = True
    for turns in (6, 10, 14):
        kinds = ("eig", "frequent", "random", "fixed", "split", "half")
        by = {name: run(policy=name, turns=turns)[0] for name in kinds}
        for show in ("text", "artefacts", "shuffled"):
            by[show] = run(show=show, turns=turns)[0]
        print(f"T = {turns}: " + ", ".join(f"{name} {right.mean():.3f}" for name, right in by.items()))
        good &= gap("frequent - random", by["frequent"], by["random"]) > 0
        good &= gap("eig - frequent", by["eig"], by["frequent"]) > 0
        good &= gap("multimodal - text", by["eig"], by["text"]) > 0
        good &= gap("multimodal - artefacts", by["eig"], by["artefacts"]) > 0
    print(f"everything asked: {run(policy='all')[0].mean():.3f}, nothing: {run(policy='none')[0].mean():.3f}")
    for turns in (6, 10, 14, 20):
        for retakes in (0, 2):
            learned = learned_stop(clinic, turns=turns, seed=0, retakes=retakes)
            b, whole = run(turns=turns, retakes=retakes, tau=None)
            for how in ({"tau": 0.9}, learned._asdict()):
                a, stopped = run(turns=turns, retakes=retakes, **how)
                saved = 1 - stopped.mean() / whole.mean()
                print(f"stop {how}, T = {turns}, {retakes} retakes: {saved:.1%} of the turns saved")
                low = gap("with - without", a, b)
            good &= turns < 10 or (saved >= 0.4 and low > -0.02)
    return good


def main() -> int:
    """Print the lines; 1 where a floor is missed."""
    return 0 if all([gain_of_all(), large(), consultations(), bars()]) else 1


if __name__ == "__main__":
    sys.exit(main())
