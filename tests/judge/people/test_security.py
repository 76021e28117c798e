"""What an attacker or a curious rater tries: tokens, CSRF, paths, scripts, SQL, names, uploads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.pocket import ADMIN, PARTNERS, SCRIPT, SECRETS, Browser, study

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from polymodal.judge.people.app import app
from polymodal.judge.people.store import Store
from polymodal.judge.web.guard import SAFE

SQL = "'; DROP TABLE answer; --"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("study")
    places = {"ratings_per_case": 12, "cases_per_rater": 10}
    made = Store(f"sqlite:///{folder / 'study.db'}", study(folder, design=places))
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[Any]:
    made = app(store.study, store, PARTNERS, admin_token=ADMIN)
    yield made
    made.state.desk.rooms.close()


def at(site: Any, store: Store, kind: str) -> Browser:
    """A rater who has come as far as the first page of a kind, all before it answered."""
    rater = Browser(site, store.enrol())
    rater.form("/consent", agreed="yes")
    rater.form("/next", page=2)
    while (page := rater.now())["kind"] != kind:
        for field in page["questions"]:
            if field["required"] and not field["locked"] and not field["show_if"]:
                value = 5 if field["kind"] == "slider" else field["levels"][-1]["value"]
                rater.save(field["id"], value, version=field["version"], slot=page["slot"])
        rater.post(page["action"], slot=page["slot"])
    return rater


def test_a_token_that_is_wrong_forged_or_dead_gets_the_same_answer_and_no_hint(
    site: Any, store: Store
) -> None:
    dead = store.enrol()
    store.withdraw(store.rater(dead), keep=True)
    answers = set()
    for token in ("x", "a" * 43, dead, store.enrol()[:-1], "%00", "\u0644", SQL.replace("/", "")):
        stranger = TestClient(site)
        entered = stranger.get(f"/s/{token}")
        now = stranger.get("/now", headers={"cookie": f"rater={token}".encode()})
        answers |= {(entered.status_code, entered.text), (now.status_code, now.text)}
        assert "set-cookie" not in entered.headers
    assert {code for code, _ in answers} == {403}
    assert len(answers) == 1
    assert [row for row in store.rows("event") if row["kind"] == "refused"]
    assert all(dead not in str(row) for table in ("rater", "event") for row in store.rows(table))


@pytest.mark.parametrize(
    "path",
    [
        "/consent",
        "/next",
        "/language",
        "/withdraw",
        "/save",
        "/reveal",
        "/submit",
        "/event",
        "/say",
        "/upload",
    ],
)
def test_no_post_without_its_csrf_token(site: Any, store: Store, path: str) -> None:
    rater, other = (Browser(site, store.enrol()) for _ in range(2))
    for token in ("", "0" * 64, other.csrf, "\u0644"):
        reply = rater.client.post(path, json={"slot": 1}, headers={"x-csrf": token.encode()})
        assert (reply.status_code, reply.json()) == (403, {"detail": "refused"})
        assert rater.client.post(path, data={"slot": 1, "csrf": token}).status_code == 403


def test_every_reply_is_guarded_and_no_page_has_inline_script_or_style(site: Any, store: Store) -> None:
    rater = at(site, store, "block")
    pages = [
        rater.client.get(path) for path in ("/now", "/leave", "/static/study.js", "/nothing", "/s/x", "/m/x")
    ]
    for reply in pages:
        assert SAFE.items() <= dict(reply.headers).items()
        assert not re.search(
            r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", reply.text
        ) or ".js" in str(reply.url)
    assert pages[0].headers["cache-control"] == "no-store"
    cookie = TestClient(site).get(f"/s/{store.enrol()}").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    secure = (
        TestClient(site, base_url="https://study.example").get(f"/s/{store.enrol()}").headers["set-cookie"]
    )
    assert "Secure" in secure


@pytest.mark.parametrize(
    "name",
    ["..%2fapp.py", "..%2f..%2fcase.py", "%2e%2e/store.py", "study.css%00", "/etc/passwd", "words.json"],
)
@pytest.mark.parametrize("route", ["/static/", "/m/", "/s/", "/feedback/", "/room/"])
def test_no_path_leads_out(site: Any, store: Store, route: str, name: str) -> None:
    rater = Browser(site, store.enrol())
    reply = rater.client.get(route + name)
    assert reply.status_code in (403, 404, 422)
    assert "import" not in reply.text


def test_script_and_sql_are_stored_and_shown_as_text(site: Any, store: Store) -> None:
    rater = at(site, store, "block")
    slot = rater.now()["slot"]
    rater.save("fit", 1, note=SQL, slot=slot)
    rater.save("safe", 0, note=SCRIPT, slot=slot)
    assert rater.save("reason", f"{SCRIPT} {SQL} \0 \u202e {{{{ 7 * 7 }}}}", slot=slot).status_code == 200
    text = rater.client.get("/now").text
    assert SCRIPT not in text
    assert "{{ 7 * 7 }}" in text
    assert rater.save(SQL, SQL).status_code == 422
    assert rater.post("/event", kind=SQL, data={SQL: SQL}).status_code == 200
    kept = {row["field"]: row for row in store.rows("answer") if row["slot"] == slot}
    assert kept["fit"]["note"] == SQL
    assert kept["safe"]["note"] == SCRIPT
    assert kept["reason"]["value"].startswith(f"{SCRIPT} {SQL}")


def test_no_byte_that_is_served_names_a_subject_a_file_an_author_or_a_unit(site: Any, store: Store) -> None:
    rater = Browser(site, store.enrol())
    served: list[bytes] = []

    def fetch(path: str, **headers: str) -> bytes:
        reply = rater.client.get(path, headers=headers)
        served.append(reply.content + str(reply.headers).encode())
        return reply.content

    fetch("/now")
    rater.form("/consent", agreed="yes")
    rater.form("/next", page=2)
    seen = set()
    while "slot" in (page := rater.now()):
        html = fetch("/now").decode()
        fetch("/now", accept="application/json")
        for address in set(re.findall(r"/m/[0-9a-f]{64}", html)):
            data = fetch(address)
            seen.add(data[:4])
            part = rater.client.get(address, headers={"range": "bytes=2-5"})
            assert (part.status_code, part.content) == (206, data[2:6])
        if page["kind"] == "room":
            rater.post("/say", slot=page["slot"], text="Hello?")
            fetch(f"/room/{page['slot']}")
        for field in page["questions"]:
            if field["required"] and not field["locked"] and not field["show_if"]:
                value = 5 if field["kind"] == "slider" else field["levels"][-1]["value"]
                rater.save(field["id"], value, version=field["version"], slot=page["slot"])
        fetch(rater.post(page["action"], slot=page["slot"]).json()["to"])
    assert seen == {b"\x89PNG", b"RIFF", b"\x1aE\xdf\xa3"}
    everything = b"\n".join(served).lower()
    assert b"miaow" in everything  # the test sees the pages
    assert [name for name in SECRETS if name.encode() in everything] == []


def test_raters_reach_nothing_of_each_other(site: Any, store: Store) -> None:
    mine, theirs = (at(site, store, "block") for _ in range(2))
    slot = theirs.now()["slot"]
    change = [{"field": "fluent", "value": 1, "seq": 1, "version": 0}]
    assert mine.post("/save", slot=slot, changes=change).status_code == 404
    for path in ("/submit", "/reveal", "/say", "/event"):
        assert mine.post(path, slot=slot, text="x", kind="x").status_code == 404
    assert mine.client.get(f"/room/{slot}").status_code == 404
    addresses = [set(re.findall(r"/m/[0-9a-f]{64}", r.client.get("/now").text)) for r in (mine, theirs)]
    assert len(addresses[0]) == len(addresses[1]) == 1
    assert addresses[0] != addresses[1]
    assert mine.client.get(addresses[1].pop()).status_code == 404
    for path in ("/raters", "/answers", "/docs", "/openapi.json", "/admin", "/static/", "/room/", "/m/"):
        assert mine.client.get(path).status_code in (403, 404)


def test_bodies_that_are_too_large_are_not_read(site: Any, store: Store) -> None:
    rater = Browser(site, store.enrol())
    head = {"x-csrf": rater.csrf, "content-type": "application/json"}
    assert rater.client.post("/save", content=b" " * (2**20 + 1), headers=head).status_code == 413
    assert rater.client.post("/save", content=iter([b" " * 2**19] * 3), headers=head).status_code == 413
    assert (
        rater.client.post("/save", content=b"{}", headers={**head, "content-length": "-5"}).status_code == 413
    )


def test_uploads_are_decoded_under_limits_and_lose_their_names(site: Any, store: Store) -> None:
    rater = at(site, store, "room")
    slot = rater.now()["slot"]
    picture = (Path(store.study.units["unitsecret k"].cases[0].messages[0].parts[1].source)).read_bytes()

    def upload(data: bytes) -> Any:
        files = {"file": ("../../secretauthor.png", data, "text/html")}
        return rater.client.post("/upload", data={"slot": slot}, files=files, headers={"x-csrf": rater.csrf})

    for data in (
        b"",
        b"<svg onload=alert(1)>",
        b"\x89PNG\r\n\x1a\nbroken",
        picture[:200],
        b"GIF89a\xff\xff\xff\xff",
    ):
        reply = upload(data)
        assert reply.status_code == 422
        assert reply.json()["reason"] in ("empty", "unsupported", "broken", "too_large")
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4) * 2 + b"\x08\2\0\0\0"
    assert upload(header + bytes(40)).json()["reason"] in ("too_large", "broken", "unsupported")
    assert b"secretauthor" in picture
    kept = upload(picture).json()["blob"]
    assert rater.post("/say", slot=slot, text="Look", blobs=[kept]).status_code == 200
    assert rater.post("/say", slot=slot, text="Look", blobs=["0" * 64]).status_code == 422
    rows = [m for m in store.messages(slot) if m["role"] == "user"]
    assert "secretauthor" not in str(rows)
    clean = rater.client.get(re.findall(r"/m/[0-9a-f]{64}", rater.client.get("/now").text)[0])
    assert clean.content.startswith(b"\x89PNG")
    assert b"secretauthor" not in clean.content
    other = at(site, store, "block")
    assert other.client.get(str(clean.url.path)).status_code == 404
