"""Simulated raters: straight into a store, or through the pages as a browser would."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import numpy as np

from polymodal.judge.people.store import Store
from polymodal.judge.people.study import READ, Study, Unit
from polymodal.judge.people.tables import Rater, Slot
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
            rng = draws(rater.pseudonym, slot.unit, question.id, seed=seed)
            value = answering(question, study.units.get(slot.unit), rng)
            done[question.id] = store.save(rater, slot.id, question.id, value, seq=seq, version=0).value
            seq += 1
        if staged:
            store.reveal(rater, slot.id)
    store.submit(rater, slot.id)


def draws(*words: str, seed: int) -> np.random.Generator:
    """A generator of its own for each rater, unit and question."""
    return np.random.default_rng([seed % 2**32, *"\0".join(words).encode()])


class Step(NamedTuple):
    """One request of a visit: what it was, how long it took, and the answers that it acknowledged."""

    what: str
    seconds: float
    saved: tuple[tuple[int, str, int], ...] = ()


def visit(link: str, study: Study, *, seed: int, answering: Answering = guess) -> Iterator[Step]:
    """One simulated rater through the pages of a served study, over HTTP, from its link to the end.

    Args:
        link: `http://HOST:PORT/s/TOKEN`.
        study: that is served; says what the fields take.
        seed: of the answers.
        answering: what is answered.

    Yields:
        Each request; a change counts as saved when the server has said so.

    Raises:
        ConnectionError: a reply that a browser would not get, such as 403 or 503.
    """
    browser = _Browser(link)
    try:
        yield browser.ask("enter", "GET", urlsplit(link).path)
        while True:
            yield browser.ask("page", "GET", "/now")
            page = browser.page
            if page.get("slot"):
                yield from _work(browser, page, study, answering, seed=seed)
            elif page.get("kind") == "consent":
                yield browser.post("/consent", {"agreed": "yes"}, page["csrf"])
            elif page.get("onward") is not None:
                yield browser.post("/next", {"page": page["onward"]}, page["csrf"])
            else:
                return
    finally:
        browser.connection.close()


def _work(
    browser: _Browser, page: Mapping[str, Any], study: Study, answering: Answering, *, seed: int
) -> Iterator[Step]:
    """The questions of a place, one save each, as a page saves them; then the button."""
    slot, seq = int(page["slot"]), int(page["seq"])
    asked = next(p for p in range(len(study.pages)) if study.pages[p].id == page["place"])
    sides = len(page["cases"])  # which unit it is, no browser learns: any with as many cases will do
    unit = next((one for one in study.units.values() if len(one.cases) == sides), None)
    done: dict[str, Any] = {q["id"]: q["value"] for q in page["questions"] if q.get("version")}
    for question in study.asked(asked).items:
        fields = {q["id"]: q for q in page["questions"]}
        shown = {one.id for one in study.asked(asked).shown(done)}
        if question.id not in fields or question.id in done or question.id not in shown:
            continue
        seq += 1
        value = answering(question, unit, draws(str(slot), question.id, seed=seed))
        change = {"field": question.id, "value": value, "seq": seq, "version": 0, "ms": float(seq)}
        yield browser.post("/save", {"slot": slot, "changes": [change]}, page["csrf"], code=True)
        done[question.id] = value
    yield browser.post(str(page["action"]), {"slot": slot}, page["csrf"], code=True)


class _Browser:
    """One connection with its cookie."""

    def __init__(self, link: str) -> None:
        place = urlsplit(link)
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(place.hostname or "", place.port, timeout=60)
        self.cookie, self.page = "", dict[str, Any]()

    def ask(self, what: str, method: str, path: str, body: str | None = None, **headers: str) -> Step:
        """A request; JSON replies are kept as `page`."""
        start = time.perf_counter()
        self.connection.request(
            method, path, body, {"accept": "application/json", "cookie": self.cookie, **headers}
        )
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status >= 400:
            raise ConnectionError(f"{method} {path.partition('/s/')[0]}: {reply.status} {text[:200]!r}")
        for name, morsel in SimpleCookie(reply.getheader("set-cookie", "")).items():
            self.cookie = f"{name}={morsel.value}"
        if reply.getheader("content-type", "").startswith("application/json"):
            self.page = json.loads(text)
        return Step(what, time.perf_counter() - start)

    def post(self, path: str, said: Mapping[str, Any], csrf: str, *, code: bool = False) -> Step:
        """A form or, with `code`, what the page's script sends."""
        kind = "application/json" if code else "application/x-www-form-urlencoded"
        body = json.dumps(said) if code else urlencode(said)
        step = self.ask(path[1:], "POST", path, body, **{"content-type": kind, "x-csrf": csrf})
        results = self.page.get("results", ()) if path == "/save" else ()
        saved = tuple((int(said["slot"]), str(one["field"]), int(one["version"])) for one in results)
        return step._replace(saved=saved)
