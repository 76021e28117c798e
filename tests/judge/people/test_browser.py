"""The study in a real browser: every page and question, reload, no network, a killed server, keys alone."""
# ruff: noqa: E501 - JavaScript in few lines

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.browsing import agree, opened, pick, said, saved, send
from tests.judge.people.pocket import SCRIPT, free_port, only, served, study

from polymodal.judge.people.store import Store
from polymodal.judge.people.verdicts import given

ROOT = Path(__file__).parents[3]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


def mark(tab: Any) -> None:
    """Select `cat 😺` by the mouse's own means, and press the button."""
    tab.evaluate("""() => {
        const node = document.querySelector('.marked').firstChild, range = new Range();
        range.setStart(node, 4); range.setEnd(node, 10);
        getSelection().removeAllRanges(); getSelection().addRange(range);
    }""")
    tab.click("[data-field=words] [data-mark]")


def rate(tab: Any) -> None:
    """Answer each kind of question with mouse and keys."""
    pick(tab, "fluent", 4)
    pick(tab, "fit", 2)
    assert not tab.locator("[data-field=reason]").is_visible()
    pick(tab, "safe", 0)
    tab.fill("[data-field=reason] textarea[data-answer]", SCRIPT)
    pick(tab, "topic", "animals")
    for fault in ("spelling", "tone"):
        pick(tab, "faults", fault)
    tab.locator("[data-field=effort] input[type=range]").fill("70")
    tab.fill("[data-field=count] input", "2")
    tab.locator("[data-field=sure] input[type=range]").fill("0.8")
    tab.click("[data-field=order] li:nth-child(3) [data-move=up]")
    tab.locator("[data-field=ends] [data-end=best]").nth(1).check(force=True)
    tab.locator("[data-field=ends] [data-end=worst]").nth(2).check(force=True)
    mark(tab)
    tab.fill("[data-field=part] [data-part=start]", "0.5")
    tab.fill("[data-field=part] [data-part=end]", "1.25")
    tab.select_option("[data-field=part] select", "soft")
    tab.click("[data-field=part] [data-mark]")
    tab.locator("[data-field=place] [data-shape][value=box]").check(force=True)
    board = tab.locator(".board")
    board.scroll_into_view_if_needed()
    frame = board.bounding_box()
    tab.mouse.move(frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 4)
    tab.mouse.down()
    tab.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] * 3 / 4, steps=3)
    tab.mouse.up()


RATED = {
    "fluent": 4, "fit": 2, "safe": 0, "reason": SCRIPT, "topic": "animals", "faults": ["spelling", "tone"],
    "effort": 70, "count": 2, "sure": 0.8, "order": ["spelling", "tone", "facts"],
    "ends": {"best": "facts", "worst": "tone"}, "words": [{"turn": 0, "start": 4, "end": 9}],
    "part": [{"start": 0.5, "end": 1.25, "label": "soft"}],
}  # fmt: skip


def test_from_consent_to_the_end_and_the_export_is_what_was_clicked(browser: Any, folder: Path) -> None:
    found = study(folder)
    store = Store(f"sqlite:///{folder / 'whole.db'}", found)
    with served(found, store) as url:
        tab = opened(browser, url, store.enrol())
        agree(tab)
        with tab.expect_navigation():
            tab.click("button.main")
        pick(tab, "kind", "dog")
        send(tab)
        assert "Our answer: cat" in tab.inner_text("main")
        with tab.expect_navigation():
            tab.click("a.main")
        assert tab.evaluate("document.querySelector('.picture img').naturalWidth") == 320
        rate(tab)
        saved(tab)
        assert tab.title() == "Pictures and words"
        send(tab)
        for _ in range(2):
            hear(tab)
        pick(tab, "better", "b")
        shown = tab.locator(".beside article").nth(1).inner_text()
        send(tab)
        assert "Advice" not in tab.content()
        pick(tab, "initial", 1)
        tab.locator("[data-field=confidence_initial] input[type=range]").fill("40")
        send(tab)
        assert "Advice: it is no fish." in tab.inner_text(".cases")
        assert tab.locator("[data-field=initial] input").first.is_disabled()
        pick(tab, "final", 0)
        send(tab)
        talk(tab)
        pick(tab, "helpful", 5)
        send(tab)
        pick(tab, "trust", 6)
        send(tab)
        assert "That was all." in tab.inner_text("main")
        assert tab.troubles == []
        tab.context.close()
    kept = said(store)
    place = kept["rate"].pop("place")[0]
    assert {k: place[k] for k in ("x", "y", "width", "height")} == {
        "x": pytest.approx(0.25, abs=0.02), "y": pytest.approx(0.25, abs=0.02),
        "width": pytest.approx(0.25, abs=0.02), "height": pytest.approx(0.5, abs=0.02),
    }  # fmt: skip
    assert kept["rate"] == RATED
    assert kept["compare"]["better"] == ("a" if "Hello!" in shown else "b")
    assert kept["advice"] == {"initial": 1, "confidence_initial": 40, "final": 0}
    assert (kept["training"]["kind"], kept["talk"]["helpful"], kept["trust"]["trust"]) == ("dog", 5, 6)
    store.close()


LENGTH = """new Promise(done => { const m = document.querySelector('audio, video');
    if (m.readyState) done(m.duration); else m.onloadedmetadata = () => done(m.duration); })"""
SOUGHT = """new Promise(done => { const v = document.querySelector('video');
    v.onseeked = () => done([v.currentTime, v.videoWidth]); v.currentTime = 4.5; })"""


def hear(tab: Any) -> None:
    """Listen or watch, to and fro, and answer."""
    length = tab.evaluate(LENGTH)
    if tab.locator("video").count():
        assert length == pytest.approx(6.0, abs=0.15)
        assert tab.evaluate(SOUGHT) == [4.5, 96]
        assert 206 in tab.statuses
    else:
        assert length == pytest.approx(2.0, abs=0.01)
        assert tab.locator("svg polyline").count() == 2
    pick(tab, "clear", 7)
    send(tab)


def talk(tab: Any) -> None:
    """Two turns with a model, one with a picture; what it says is text, and then the room is closed."""
    for n in (1, 2):
        if n == 2:
            tab.set_input_files(
                "#say input[type=file]", {"name": "secret.png", "mimeType": "image/png", "buffer": dot()}
            )
            tab.wait_for_selector("#attached:has-text('📎')")
        tab.fill("#words", f"What is the weather? {n}")
        tab.press("#words", "Enter")
        tab.locator("[role=log] li.assistant").nth(n - 1).wait_for()
    assert SCRIPT in tab.locator("[role=log] li.assistant").last.inner_text()
    assert tab.locator("[role=log] li.user img").count() == 1
    tab.wait_for_selector("#room.closed")


def dot() -> bytes:
    from polymodal.media import Image

    return Image(__import__("numpy").full((8, 8, 3), 90, "uint8")).encoded()


def test_reload_lost_network_and_back_lose_nothing(browser: Any, folder: Path) -> None:
    found = only(folder, "consent", "rate", "trust", "end")
    store = Store(f"sqlite:///{folder / 'lost.db'}", found)
    with served(found, store) as url:
        tab = opened(browser, url, store.enrol())
        agree(tab)
        pick(tab, "fluent", 2)
        saved(tab)
        tab.context.set_offline(True)
        pick(tab, "fit", 3)
        tab.fill("[data-field=count] input", "7")
        tab.wait_for_selector("#status:has-text('No connection')")
        tab.click("#work button[type=submit]")
        assert tab.url == f"{url}/now"
        tab.context.set_offline(False)
        saved(tab)
        tab.locator("[data-field=count] input").focus()
        tab.reload()
        assert tab.evaluate("document.activeElement.closest('[data-field]').dataset.field") == "count"
        assert tab.locator("[data-field=fit] input[value='3']").is_checked()
        assert tab.input_value("[data-field=count] input") == "7"
        tab.click("#work button[type=submit]")
        tab.wait_for_selector("[data-field=safe].wrong")
        assert tab.evaluate("document.activeElement.closest('[data-field]').dataset.field") == "safe"
        pick(tab, "safe", 1)
        send(tab)
        tab.go_back()
        assert tab.locator("[data-field=trust]").count() == 1
        tab.context.close()
    assert {k: said(store)["rate"][k] for k in ("fluent", "fit", "count", "safe")} == {
        "fluent": 2,
        "fit": 3,
        "count": 7,
        "safe": 1,
    }
    store.close()


def test_two_tabs_show_the_newer_answer_and_two_raters_nothing_of_each_other(
    browser: Any, folder: Path
) -> None:
    found = only(folder, "consent", "rate")
    store = Store(f"sqlite:///{folder / 'two.db'}", found)
    with served(found, store) as url:
        tab = opened(browser, url, store.enrol())
        agree(tab)
        second = tab.context.new_page()
        second.goto(f"{url}/now")
        pick(second, "fluent", 5)
        saved(second)
        pick(tab, "fluent", 1)
        tab.wait_for_selector("[data-field=fluent] .problem:has-text('another tab')")
        assert tab.locator("[data-field=fluent] input[value='5']").is_checked()
        assert tab.locator(".wrong").count() == 0  # it is told, and holds nobody up
        pick(tab, "fluent", 3)
        saved(tab)
        tab.fill("[data-field=count] input", "41")
        saved(tab)
        other = opened(browser, url, store.enrol())
        agree(other)
        assert other.locator("input[data-answer]:checked").count() == 0
        assert other.input_value("[data-field=count] input") == ""
        mine, theirs = (
            t.evaluate(
                "[document.querySelector('form#work').dataset.slot, document.querySelector('.picture img').src]"
            )
            for t in (tab, other)
        )
        assert mine[0] != theirs[0]
        assert mine[1] != theirs[1]
        assert other.evaluate("url => fetch(url).then(r => r.status)", mine[1]) == 404
        tab.context.close()
        other.context.close()
    assert [one.values.get("fluent") for one in given(store)] == [3]
    store.close()


def test_a_killed_server_loses_no_answer(browser: Any, folder: Path) -> None:
    found, port = only(folder, "consent", "rate"), free_port()
    url, store = f"http://127.0.0.1:{port}", Store(f"sqlite:///{folder / 'study.db'}", found)
    token = store.enrol()

    def start() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.judge.people.pocket", str(folder), str(port), "consent,rate"]
        untraced = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        server = subprocess.Popen(words, cwd=ROOT, env={**untraced, "PYTHONWARNINGS": "ignore"})
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"{url}/static/study.css", timeout=5):
                    return server
            except OSError:
                try:
                    server.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                raise
        raise AssertionError("the server does not come up")

    server = start()
    try:
        tab = opened(browser, url, token)
        agree(tab)
        pick(tab, "fluent", 1)
        saved(tab)
        server.send_signal(signal.SIGKILL)
        server.wait()
        pick(tab, "fit", 1)
        pick(tab, "safe", 1)
        tab.wait_for_selector("#status:has-text('No connection')")
        server = start()
        tab.evaluate("dispatchEvent(new Event('online'))")
        saved(tab)
        tab.reload()
        assert tab.locator("input[data-answer]:checked").count() == 3
        send(tab)
        assert "stored" in tab.inner_text("main")
        tab.context.close()
    finally:
        server.kill()
        server.wait()
    assert {k: v for k, v in said(store)["rate"].items() if v is not None} == {
        "fluent": 1,
        "fit": 1,
        "safe": 1,
    }
    store.close()


def test_by_keys_alone(browser: Any, folder: Path) -> None:
    found = only(folder, "consent", "rate", "end")
    store = Store(f"sqlite:///{folder / 'keys.db'}", found)
    with served(found, store) as url:
        tab = opened(browser, url, store.enrol())
        keys = tab.keyboard

        def to(where: str) -> None:
            for _ in range(80):
                if tab.evaluate("s => document.activeElement.matches(s)", where):
                    return
                keys.press("Tab")
            raise AssertionError(f"Tab never comes to {where}")

        to("button[value=yes]")
        with tab.expect_navigation():
            keys.press("Enter")
        to(".picture")
        keys.press("Enter")
        assert tab.locator("#zoom").is_visible()
        keys.press("Escape")
        to("[data-field=fluent] input[type=radio]")
        keys.press("4")
        to("[data-field=fit] input")
        keys.press("Space")
        keys.press("ArrowDown")
        to("[data-field=safe] input")
        keys.press("2")
        to("[data-field=order] li:nth-child(2) [data-move=up]")
        keys.press("Enter")
        to(".marked")
        for _ in range(3):
            keys.press("Shift+ArrowRight")
        keys.press("Enter")
        to("[data-field=place] summary")
        keys.press("Enter")
        for name, value in (("x", "10"), ("y", "20")):
            to(f"[data-field=place] [data-part={name}]")
            keys.type(value)
        to("[data-field=place] [data-mark]")
        keys.press("Enter")
        saved(tab)
        with tab.expect_navigation():
            keys.press("Control+Enter")
        tab.context.close()
    kept = {k: v for k, v in said(store)["rate"].items() if v is not None}
    assert kept == {
        "fluent": 4, "fit": 2, "safe": 1, "order": ["facts", "spelling", "tone"],
        "words": [{"turn": 0, "start": 0, "end": 3}], "place": [{"shape": "point", "x": 0.1, "y": 0.2}],
    }  # fmt: skip
    store.close()


NAMELESS = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, [role=textbox], video, audio')]
    .filter(e => !(e.labels?.length && [...e.labels].some(l => l.textContent.trim())) && !e.getAttribute('aria-label')
        && !document.getElementById(e.getAttribute('aria-labelledby'))?.textContent.trim() && !e.textContent.trim())
    .map(e => e.outerHTML.slice(0, 120))"""
OUTSIDE = """[...document.querySelectorAll('main *, header *, footer *')]
    .filter(e => !e.closest('.scroll, svg, [role=log]') && e.checkVisibility())
    .filter(e => { const r = e.getBoundingClientRect(); return r.right > innerWidth + 1 || (r.width > 0 && r.right > 0 && r.left < -1); })
    .map(e => e.outerHTML.slice(0, 100))"""
DIM = """[...document.querySelectorAll('p, legend, span, button, a, label, h1, h2, summary')].filter(e => e.checkVisibility()
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let back = e; while (back && rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(getComputedStyle(back || document.body).backgroundColor))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 90)];
}).filter(([ratio]) => ratio < 4.5)"""


@pytest.mark.parametrize(("scheme", "language"), [("light", "ar"), ("dark", "en")])
def test_on_a_phone_all_is_named_readable_and_in_its_place(
    browser: Any, folder: Path, scheme: str, language: str
) -> None:
    found = only(folder, "consent", "rate", "hear", "compare", "talk")
    store = Store(f"sqlite:///{folder / language}.db", found)
    with served(found, store) as url:
        tab = opened(browser, url, store.enrol(language=language), viewport=PHONE, color_scheme=scheme)
        assert tab.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
        for answers in (
            {},
            {"fluent": 1, "fit": 1, "safe": 1},
            {"clear": 1},
            {"clear": 2},
            {"better": "tie"},
            {"helpful": 1},
        ):
            assert tab.evaluate(NAMELESS) == []
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert tab.evaluate(OUTSIDE) == []
            assert tab.evaluate(DIM) == []
            for field, value in answers.items():
                pick(tab, field, value)
            if answers:
                send(tab)
            else:
                agree(tab)
        assert tab.troubles == []
        tab.context.close()
    store.close()
