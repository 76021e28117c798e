"""Simulated raters: straight into a store, or through the pages like a browser; never taken for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from polymodal.judge.people.store import Rater, Slot, Store
from polymodal.judge.people.study import READ, Unit
from polymodal.judge.question import Question

Answering = Callable[[Question, Unit | None, np.random.Generator], Any]
"""What a simulated rater answers: a value that the question takes, in letters as shown."""


def guess(question: Question, unit: Unit | None, rng: np.random.Generator) -> Any:
    """An answer drawn evenly from all that the question takes."""
    names = [level.value for level in question.levels]
    letters = [chr(97 + i) for i in range(len(unit.cases) if unit else 2)]
    low, high = (x if np.isfinite(x) else float(i) for i, x in enumerate(question.range))
    match question.kind:
        case "likert" | "ordinal" | "binary" | "choice":
            return names[rng.integers(len(names))]
        case "multi":
            return [name for name in names if rng.random() < 0.5]
        case "slider" | "number" | "probability":
            return round(float(rng.uniform(low, max(high, low))), 3)
        case "text":
            return f"word {rng.integers(1000)}"
        case "pair":
            return ["a", "b", "tie", "both_bad"][rng.integers(4)]
        case "rank":
            return [(names or letters)[i] for i in rng.permutation(len(names or letters))]
        case "best_worst":
            best, worst = rng.permutation(len(names or letters))[:2]
            return {"best": (names or letters)[best], "worst": (names or letters)[worst]}
        case "span":
            mark: dict[str, Any] = {"turn": 0, "start": 0, "end": int(rng.integers(1, 5))}
        case "interval":
            mark = {"start": 0.0, "end": float(rng.uniform(0.1, 1))}
        case "region":
            mark = {"shape": (names or ["point"])[0], "x": 0.25, "y": 0.25}
            return [mark | ({"width": 0.5, "height": 0.5} if mark["shape"] == "box" else {})]
    return [mark | ({"label": names[rng.integers(len(names))]} if names else {})]


def simulate(
    store: Store, raters: int, *, seed: int, answering: Answering = guess, threads: int = 8, stratum: str = ""
) -> int:
    """Let simulated raters work through a study, several at a time.

    Args:
        store: the study; marked by an event `simulated` for each of them.
        raters: how many come.
        seed: of their answers, which do not hang on the order in which they come to answer.
        answering: what they say.
        threads: how many at a time.
        stratum: they are of.

    Returns:
        How many places were submitted.
    """

    def one(number: int) -> int:
        token = store.enrol(stratum)
        rater = store.rater(token)
        assert rater is not None
        store.event(rater, None, "simulated", {"seed": seed, "number": number})
        return sum(1 for _ in walk(store, rater, seed=seed, answering=answering))

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(raters)))


def walk(store: Store, rater: Rater, *, seed: int, answering: Answering = guess) -> Iterator[Slot]:
    """One simulated rater from consent to the end; yields each place that was submitted."""
    study = store.study
    now = store.consent(rater, True)
    while True:
        if now.state == "active" and study.pages[now.page].kind not in READ:
            while (slot := store.lease(now)) is not None:
                fill(store, now, slot, seed=seed, answering=answering)
                yield slot
        if now.state != "active" or now.page + 1 == len(study.pages):
            return
        now = store.advance(now, now.page + 1)


def fill(store: Store, rater: Rater, slot: Slot, *, seed: int, answering: Answering = guess) -> None:
    """Answer all that is asked at a place, and submit it; what was answered before stays."""
    study, done = store.study, {name: one.value for name, one in store.answers(rater, slot.id).items()}
    first, seq = study.pages[slot.page].first, 1
    for staged in (True, False) if first else (False,):
        for question in study.asked(slot.page).items:
            shown = {one.id for one in study.asked(slot.page).shown(done)}
            if (
                question.id in done
                or question.id not in shown
                or (bool(first) and (question.id in first) != staged)
            ):
                continue
            rng = draws(seed, rater.pseudonym, slot.unit, question.id)
            value = answering(question, study.units.get(slot.unit), rng)
            done[question.id] = store.save(rater, slot.id, question.id, value, seq=seq, version=0).value
            seq += 1
        if staged:
            store.reveal(rater, slot.id)
    store.submit(rater, slot.id)


def draws(seed: int, *words: str) -> np.random.Generator:
    """A generator of its own for each rater, unit and question."""
    return np.random.default_rng([seed % 2**32, *"\0".join(words).encode()])
