"""A small study with a page of every kind and every kind of question and medium, and its server."""
# ruff: noqa: E501 - a study file in few lines

import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import soundfile
import uvicorn
from fastapi.testclient import TestClient

from polymodal.chat import ChatModel
from polymodal.chat.scripted import Scripted
from polymodal.judge.people.app import app
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import Study, parse
from polymodal.judge.web.guard import csrf_of

SUBJECTS = ("modelzeta", "modelomega")
SECRETS = (*SUBJECTS, "holdout_secret", "variantsecret", "secretauthor", "unitsecret")
SCRIPT = "<script>document.title='stolen'</script>"
ADMIN = "the operator's own word"
TEXT = "The cat 😺 sat on the mat.\r\nIt slept."


def media(folder: Path) -> None:
    """A picture with an author in its EXIF, a sound, a video of 6 s with a title, a series."""
    y, x = np.mgrid[0:240, 0:320]
    pixels = np.stack([x * 0.8, y, 160 - x * 0.4], -1).astype(np.uint8)
    pixels[60:140, 90:200] = (250, 240, 90)
    exif = PIL.Image.Exif()
    exif[0x013B] = "secretauthor"
    PIL.Image.fromarray(pixels).save(folder / "modelzeta_holdout_secret.jpg", exif=exif)
    tone = 0.3 * np.sin(np.arange(16000) * 0.15)
    with soundfile.SoundFile(folder / "modelomega.wav", "w", 8000, 1) as sound:
        sound.title = "secretauthor"
        sound.write(tone)
    with av.open(str(folder / "modelzeta.mp4"), "w") as box:
        box.metadata["title"] = "modelzeta by secretauthor"
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
        for n in range(60):
            frame = np.full((64, 96, 3), (n * 4, 80, 255 - n * 4), np.uint8)
            box.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(track.encode(None))
    wave = np.sin(np.arange(300)[:, None] * [0.05, 0.11])
    np.savetxt(folder / "modelzeta.csv", wave, delimiter=",", header="secretauthor,b", comments="")


def unit(name: str, page: str, *parts: Any, subject: str = SUBJECTS[0], **more: Any) -> dict[str, Any]:
    return {
        "id": f"unitsecret {name}", "item": f"unitsecret item {name}", "page": page, "subject": subject,
        "variant": "variantsecret", "messages": [{"role": "user", "parts": list(parts)}], **more,
    }  # fmt: skip


def q(name: str, kind: str, text: str = "", **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": kind, "text": text or f"Question {name}?", **more}


def rubric(name: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "version": "1",
        "source": "ours",
        "licence": "CC0",
        "rater": "person",
        "items": list(items),
    }


KINDS = (
    q("fluent", "likert", "How natural does the text sound?", levels=5, na=True),
    q("fit", "ordinal", "How well do picture and text fit?", levels=["Not at all", "In part", "Fully"]),
    q("safe", "binary", "Is it safe to show?"),
    q("reason", "text", "Why is it not safe?", show_if={"item": "safe", "in": [0]}),
    q("topic", "choice", "What is it about?", levels=["animals", "plants", "something else"], required=False),
    q("faults", "multi", "Which faults does it have?", levels=["spelling", "facts", "tone"], required=False),
    q("effort", "slider", "How much effort was it?", low=0, high=100, step=1.0, required=False),
    q("count", "number", "How many animals are there?", low=0, high=50, required=False),
    q("sure", "probability", "How sure are you?", required=False),
    q("order", "rank", "Which fault is worst?", levels=["spelling", "facts", "tone"], required=False),
    q("ends", "best_worst", "What is best and worst?", levels=["spelling", "facts", "tone"], required=False),
    q("words", "span", "Which words are wrong?", required=False),
    q("part", "interval", "Which part is loud?", levels=["loud", "soft"], required=False),
    q("place", "region", "Where is the box?", required=False),
)  # fmt: skip


def raw(**changes: Any) -> dict[str, Any]:
    """The study file."""
    advice = [
        {"role": "user", "parts": ["Is a whale a fish?"]},
        {"role": "assistant", "parts": ["Advice: it is no fish."]},
    ]
    return {
        "id": "pocket", "version": "1", "title": "Pictures and words", "language": "en", "seed": 3,
        "consent": "We ask what you think.\n\nYou may stop at any time.",
        "rubrics": [
            rubric("taught", q("kind", "choice", "Which animal is it?", levels=["cat", "dog"])),
            rubric("kinds", *KINDS),
            rubric("heard", q("clear", "likert", "How clear is it?", levels=7)),
            rubric("pair", q("better", "pair", "Which reply is better?")),
            rubric("advice", q("initial", "binary", "Is it a fish?"), q("confidence_initial", "slider", "How sure are you?", low=0, high=100),
                   q("final", "binary", "And now: is it a fish?")),
            rubric("talk", q("helpful", "likert", "How helpful was the talk?", levels=5)),
            rubric("trust", q("trust", "likert", "I trust the system.", levels=7)),
        ],
        "units": [
            unit("t", "training", "It says miaow.", gold={"kind": "cat"}),
            unit("k", "rate", TEXT, {"image": "modelzeta_holdout_secret.jpg"}, SCRIPT),
            unit("a", "hear", {"audio": "modelomega.wav"}, {"series": "modelzeta.csv"}, subject=SUBJECTS[1]),
            unit("v", "hear", {"video": "modelzeta.mp4"}),
            {"id": "unitsecret p", "page": "compare", "sides": [
                {"subject": s, "messages": [{"role": "user", "parts": ["Say hello."]}, {"role": "assistant", "parts": [text]}]}
                for s, text in zip(SUBJECTS, ("Hello!", "Good day to you."), strict=True)]},
            {"id": "unitsecret w", "page": "advice", "subject": SUBJECTS[0], "messages": advice},
            {**unit("r", "talk", "Ask about the weather."), "subject": SUBJECTS[1]},
        ],
        "pages": [
            {"kind": "consent", "id": "consent", "title": "Before we begin"},
            {"kind": "instructions", "id": "read", "title": "What to do", "text": "Look first.\n\nThen answer."},
            {"kind": "training", "id": "training", "rubric": "taught", "title": "A trial run"},
            {"kind": "block", "id": "rate", "rubric": "kinds"},
            {"kind": "block", "id": "hear", "rubric": "heard"},
            {"kind": "block", "id": "compare", "rubric": "pair"},
            {"kind": "advice", "id": "advice", "rubric": "advice"},
            {"kind": "room", "id": "talk", "rubric": "talk",
             "options": {"turns": 2, "delay": [0.0, 0.05], "uploads": True, "card": "You want to know the weather."}},
            {"kind": "instrument", "id": "trust", "rubric": "trust"},
            {"kind": "debrief", "id": "end", "title": "Thank you", "text": "That was all."},
        ],
        "design": {"ratings_per_case": 2, "cases_per_rater": 10},
        **changes,
    }  # fmt: skip


def study(folder: Path, **changes: Any) -> Study:
    if not (folder / "modelzeta.mp4").exists():
        media(folder)
    return parse(raw(**changes), folder)


def only(folder: Path, *pages: str, **changes: Any) -> Study:
    """The study with some of its pages."""
    whole = raw()
    kept = [page for page in whole["pages"] if page["id"] in pages]
    rubrics = {page.get("rubric") for page in kept}
    return study(folder, **{
        "pages": kept, "units": [u for u in whole["units"] if u["page"] in pages],
        "rubrics": [r for r in whole["rubrics"] if r["id"] in rubrics], **changes,
    })  # fmt: skip


def weather() -> ChatModel:
    def answer(messages: Any, seed: int) -> str:
        return f"It rains. {sum(m.role == 'user' for m in messages)} {SCRIPT}"

    return Scripted("scripted:weather", answer)


PARTNERS: Mapping[str, ChatModel] = {name: weather() for name in SUBJECTS}


class Browser:
    """A rater's browser as a program: cookie, page as JSON, CSRF token."""

    def __init__(self, site: Any, token: str) -> None:
        self.client = TestClient(site, base_url="http://localhost", client=("127.0.0.1", 5000))
        assert self.client.get(f"/s/{token}").status_code == 200
        self.csrf = csrf_of(token)

    def now(self) -> dict[str, Any]:
        return dict(self.client.get("/now", headers={"accept": "application/json"}).json())

    def post(self, path: str, **said: Any) -> Any:
        return self.client.post(path, json=said, headers={"x-csrf": self.csrf})

    def form(self, path: str, **said: Any) -> Any:
        return self.client.post(path, data={**said, "csrf": self.csrf})

    def save(self, field: str, value: Any, seq: int = 1, version: int = 0, slot: int = 0, **more: Any) -> Any:
        change = {"field": field, "value": value, "seq": seq, "version": version, "ms": 5, **more}
        return self.post("/save", slot=slot or self.now()["slot"], changes=[change])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def served(study: Study, store: Store, partners: Mapping[str, ChatModel] = PARTNERS) -> Iterator[str]:
    """The study on a free port of this machine, in a thread; its URL."""
    made = app(study, store, partners, admin_token=ADMIN)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(made, port=port, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        thread.join(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        made.state.desk.rooms.close()


def main(folder: str, port: str, pages: str) -> None:
    """A server of its own, to be killed."""
    place = Path(folder)
    found = only(place, *pages.split(","))
    made = app(found, Store(f"sqlite:///{place / 'study.db'}", found), PARTNERS, admin_token=ADMIN)
    uvicorn.run(made, port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
