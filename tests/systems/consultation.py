"""A small clinic of six invented diseases, its patients and their pictures, for the tests of a dialogue."""

import numpy as np

from polymodal.chat.scripted import uniform
from polymodal.envs.clinic import (
    Action,
    Artefact,
    Case,
    Clinic,
    Disease,
    Finding,
    Heard,
    Reading,
    Shown,
)  # fmt: skip
from polymodal.envs.clinic.patient import Consultation
from polymodal.media import Image

NAMES = ("Orvane fever", "Telmic cough", "Brask rash", "Quill palsy", "Noma chill", "Varrow ache")
CLASSES = ("plain", "ringed", "spotted")


def clinic() -> Clinic:
    """Pairs of diseases share their findings; only the lesion tells the two of a pair apart."""
    chances = np.full((6, 9), 0.1)
    for pair in range(3):
        chances[2 * pair : 2 * pair + 2, 3 * pair : 3 * pair + 3] = 0.85
    answers = np.stack([0.9 * chances, 0.9 * (1 - chances), np.full((6, 9), 0.1)])
    shows = np.tile([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9]], (3, 1))
    return Clinic(
        tuple(Disease(name, 1 / 6) for name in NAMES),
        tuple(Finding(f"sign {j}", f"Do you have sign {j}?") for j in range(9)),
        (Artefact("lesion", CLASSES),),
        answers,
        {"lesion": shows},
    )


def patients(n: int, *, seed: int = 0) -> list[Case]:
    """Cases drawn from the tables; the lesion's class is in its first pixel, with its quality beside it."""
    tables, cases = clinic(), []
    for i in range(n):
        d, told = int(6 * uniform("d", seed, i)), {}
        for j, one in enumerate(tables.findings):
            draw = uniform("f", seed, i, j)
            steps = np.cumsum(tables.answers[:, d, j])
            told[one.name] = ("yes", "no", "not sure")[min(int(np.searchsorted(steps, draw)), 2)]
        c = int(np.searchsorted(np.cumsum(tables.shows["lesion"][d]), uniform("c", seed, i)))
        takes = []
        for take in range(3):
            poor = uniform("poor", seed, i, take) < 0.3
            pixels = np.zeros((4, 4, 3), np.uint8)
            pixels[0, 0] = c, poor, i % 256
            pixels[0, 1, 0] = take
            takes.append(Shown(Image(pixels), CLASSES[c], poor))
        first = next((name for name, value in told.items() if value == "yes"), "sign 0")
        cases.append(Case(f"c{i}", NAMES[d], f"I have {first}.", first, told, {"lesion": tuple(takes)}))
    return cases


def reader(image: np.ndarray) -> Reading:
    """Reads the class off the first pixel: right .97 of good takes, .60 of poor ones."""
    c, poor, i = (int(x) for x in image[0, 0])
    right = 0.6 if poor else 0.97
    said = c if uniform("read", i, c, poor, int(image[0, 1, 0])) < right else (c + 1) % 3
    q = [(1 - right) / 2] * 3
    q[said] = right
    return Reading("lesion", CLASSES, tuple(q), float(poor))


def talk(env: Consultation, doctor, case: str, *, seed: int = 0, limit: int = 60):
    """One consultation: heard lines, actions, states after each turn; and the reward."""
    observation, _ = env.reset(seed=seed, options={"case": case})
    doctor.start(seed=seed)
    heard: list[Heard] = []
    actions: list[Action] = []
    states, total = [], 0.0
    for _ in range(limit):
        heard.append(observation)
        actions.append(doctor(observation))
        states.append(doctor.state)
        observation, reward, ended, _, _ = env.step(actions[-1])
        total += reward
        if ended:
            break
    return heard, actions, states, total
