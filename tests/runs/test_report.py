"""report and charts: one page that holds in a real browser, on a desk and on a phone, by day and by night."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runs.showcase import SCRIPT, showcase

from polymodal.metrics import Estimate, proportion
from polymodal.runs import Run, RunError, report
from polymodal.runs.pages.charts import learning, short, span

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(showcase(tmp_path_factory.mktemp("out")))


@pytest.fixture(scope="module")
def html(page: Path) -> str:
    return page.read_text()


@pytest.fixture(scope="module", params=[(DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")],
                ids=["desk-light", "desk-dark", "phone-light", "phone-dark"])  # fmt: skip
def shown(request: pytest.FixtureRequest, browser: Any, page: Path) -> Iterator[Any]:
    """The page in a browser, with what went wrong and what it asked for."""
    viewport, scheme = request.param
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    tab = context.new_page()
    tab.troubles, tab.asked, tab.scheme = [], [], scheme
    tab.on("console", lambda message: tab.troubles.append(message.text))
    tab.on("pageerror", lambda error: tab.troubles.append(str(error)))
    tab.on("request", lambda asked: tab.asked.append(asked.url))
    tab.goto(page.resolve().as_uri())
    tab.wait_for_load_state("load")
    tab.wait_for_function("[...document.querySelectorAll('audio')].every(a => a.readyState > 0 || a.error)")
    yield tab
    context.close()


def test_nothing_goes_wrong_and_nothing_leaves_the_disk(shown: Any) -> None:
    assert shown.troubles == []
    assert shown.asked
    assert all(url.startswith("file://") for url in shown.asked)


def test_the_page_never_scrolls_sideways(shown: Any) -> None:
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = """[...document.querySelectorAll('main *, header *')]
        .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert shown.evaluate(outside) == []


def test_pictures_and_sounds_are_there(shown: Any) -> None:
    assert all(width > 0 for width in shown.evaluate("[...document.images].map(i => i.naturalWidth)"))
    sounds = shown.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    assert sounds == [pytest.approx(1.0)] * 2


def brightness(colour: str) -> float:
    red, green, blue = (int(n) for n in re.findall(r"\d+", colour)[:3])
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def test_dark_is_dark_and_the_figures_follow(shown: Any) -> None:
    paper = brightness(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
    ink = brightness(shown.evaluate("getComputedStyle(document.body).color"))
    label = brightness(shown.evaluate("getComputedStyle(document.querySelector('.chart svg text')).fill"))
    assert (paper < 0.15, ink > 0.8, label > 0.5) == ((shown.scheme == "dark"),) * 3


def test_figures_keep_their_size_of_text(shown: Any) -> None:
    """Drawn at no less than four fifths of their size, and one of the two drawings at a time."""
    figures = "[...document.querySelectorAll('.chart svg')]"
    sizes = shown.evaluate(f"{figures}.map(s => [s.getBoundingClientRect().width, s.viewBox.baseVal.width])")
    visible = [(width, drawn) for width, drawn in sizes if width]
    assert len(visible) == len(sizes) / 2
    assert all(width >= 0.8 * drawn for width, drawn in visible)


def test_what_samples_say_is_shown_and_not_run(shown: Any, html: str) -> None:
    assert shown.title() == "sentiment fusion · sentiment_fusion-1"
    assert SCRIPT in shown.inner_text("#samples")
    assert SCRIPT in shown.inner_text("#reproduce")
    assert "<script" not in html
    assert not shown.evaluate("[...document.querySelectorAll('*')].some(e => e.hasAttribute('onload'))")


def test_every_section_is_there_and_every_figure_has_words(html: str) -> None:
    names = "estimates claims controls missing confusion calibration groups learning samples audit cost notes"
    for name in (*names.split(), "reproduce", "curves", "tables", "conversations", "disagreements"):
        assert f'<section id="{name}">' in html, name
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', html)
    assert len(labels) >= 16
    assert all(len(label) > 10 for label in labels)
    assert "concat + dense 0.995" in " ".join(labels)
    command = "polymodal run sentiment_fusion -o parts=text,audio,video -o dim=32"
    words = (
        "not reproduced",
        "undetermined",
        "the data is not here",
        "5,830",
        "1,950",
        "of 1,960",
        "and 1 more",
    )
    for word in (*words, command, "--resume ", "8c1f60a2b7d94e05"):
        assert word in html, word
    assert "nan" not in re.sub(r"iemocap/accuracy nan", "", html)


def test_lines_of_no_difference_and_of_kept_words_are_drawn(html: str) -> None:
    assert html.count('stroke-dasharray="3,3"') == 4  # differences and calibration, each drawn twice


def test_the_folder_stands_alone(page: Path) -> None:
    used = re.findall(r'src="([^"]+)"', page.read_text())
    assert used
    assert all((page.parent / name).is_file() for name in used)


def test_a_bare_run_has_only_what_every_run_has(tmp_path: Path) -> None:
    run = Run.create("toy", {}, tmp_path)
    run.finish({"one": proportion(3, 4), "two": proportion(1, 4)})
    (run.folder / "timing.json").unlink()
    text = report(run.folder).read_text()
    assert re.findall(r'<section id="(\w+)"', text) == ["estimates", "reproduce"]
    assert "<code>polymodal run toy</code>" in text
    first = report(run.folder).read_bytes()
    assert first == report(run.folder).read_bytes()


def test_a_legend_groups_explains_and_keeps_minor_figures_to_the_table(tmp_path: Path) -> None:
    run = Run.create("toy", {}, tmp_path)
    legend = {
        "far: a": {"group": "one & all", "label": "first"},
        "b": {"group": "one & all", "minor": True},
        "c: d": {"headline": True},
    }
    run.section("legend", legend)
    run.section("about", {"text": "t", "names": {"far": "what is <far>"}})
    run.section("tables", [{"title": "T", "columns": ["x", "y", "z"], "rows": [["a", "b", 1.5]]}])
    run.finish(dict.fromkeys(legend, proportion(3, 4)))
    text = report(run.folder).read_text()
    assert re.findall(r"<h3>(.*?)</h3>", text)[:3] == ["What the names mean", "one &amp; all", "c"]
    assert "<dt>far</dt><dd>what is &lt;far&gt;</dd>" in text
    assert '<th scope="row">b</th>' in text
    assert "one &amp; all estimates with intervals: first 0.750" in text
    assert "; b 0.750" not in text, "what is minor is not drawn"
    assert re.findall(r'class="what">(.*?)<', text) == ["c · d", "one &amp; all · first"]
    assert '<td>b</td><td class="n">1.500</td>' in text


def test_talks_fold_by_subject_and_their_tables_link_to_lines(tmp_path: Path) -> None:
    run = Run.create("toy", {}, tmp_path)
    rows = [["itch", {"text": "line 2", "line": 2}], ["<b>", "nowhere"]]
    talk = {
        "turns": [{"role": "patient", "text": "hm"}, {"role": "doctor", "text": "ah", "phase": "history"}],
        "tables": [{"title": "Findings", "columns": ["finding", "from"], "rows": rows}],
    }
    talks = [
        {"id": f"{s}{i}", "tags": {"subject": s, "item": f"i{i}"}, **talk} for s in "ab" for i in range(7)
    ]
    run.section("conversations", talks)
    run.finish({"one": proportion(3, 4)})
    text = report(run.folder).read_text()
    assert re.findall(r'<summary>(\w+) <span class="small">(\d+)</span>', text) == [("a", "7"), ("b", "7")]
    ids = re.findall(r'<li class="\w+" id="([^"]+)"', text)
    links = re.findall(r'<a href="#(talk[^"]+)">line 2</a>', text)
    assert len(set(ids)) == len(ids) == 28
    assert links == ids[1::2]
    assert "doctor · history · 2" in text
    assert "<td>&lt;b&gt;</td>" in text


def test_a_section_that_cannot_be_shown_is_named(tmp_path: Path) -> None:
    run = Run.create("toy", {}, tmp_path)
    with pytest.raises(RunError, match="not finished"):
        report(run.folder)
    run.section("learning", [{"arm": "a", "loss": 1.0, "seed": 0}])
    run.section("controls", [])
    run.finish({"one": proportion(3, 4)})
    with pytest.raises(RunError, match=r"section 'learning'.*KeyError 'step'"):
        report(run.folder)


def test_a_mean_ends_where_its_first_run_does() -> None:
    rows = [
        {"arm": "a", "seed": s, "step": t, "val": float(t + s)} for s, n in ((0, 4), (1, 2)) for t in range(n)
    ]
    drawn = re.findall(r'<path d="([^"]*)"[^>]*stroke-width="([12])"', str(learning(rows, "val", "curves")))
    points = {(width, path.count("L") + 1) for path, width in drawn}
    assert points == {("1", 4), ("1", 2), ("2", 2)}


def test_lost_media_and_long_curves(tmp_path: Path) -> None:
    run = Run.create("toy", {"dims": []}, tmp_path)
    run.section("examples", [{"id": "a", "parts": {"x": {"kind": "image", "path": "media/no.png"},
                                                   "v": {"kind": "video", "path": "clip.webm"}},
                              "target": 0.5, "prediction": None}])  # fmt: skip
    (run.folder / "clip.webm").write_bytes(b"clip")
    curve = [{"seed": 0, "step": n, "loss": 1 / (1 + n), "val": None} for n in range(1000)]
    rows = [{"arm": f"w/{arm}", **row} for arm in range(17) for row in curve]
    run.section("learning", rows)
    run.section(
        "missing",
        [
            {
                "arm": "a",
                "p": 0,
                "estimate": Estimate(mean=float("nan"), low=0, high=0, n=1, n_valid=0).to_json(),
            }
        ],
    )
    run.section(
        "confusion", {"classes": [str(i) for i in range(40)], "matrix": [[0] * 40 for _ in range(40)]}
    )
    run.finish({"one": proportion(3, 4)})
    page = report(run.folder)
    text = page.read_text()
    assert "media/no.png is missing" in text
    assert "<video" in text
    assert (page.parent / "clip.webm").read_bytes() == b"clip"
    assert "invalid" in text
    assert "w: training loss" in text
    assert text.count('class="key line dotted"') == 1
    assert 'id="missing"' not in text
    assert len(page.read_bytes()) < 1_500_000


def test_numbers_read_well() -> None:
    assert [short(x) for x in (0.12345, -0.5, 12.34, 12345.6, None, float("nan"))] == [
        "0.123", "−0.500", "12.3", "12,346", "–", "–",
    ]  # fmt: skip
    assert span(proportion(1, 2), 1, 0) is None
    assert json.dumps(span(proportion(50, 100), 0, 1))[:15] == '{"low": 40.38, '


def test_talks_show_what_was_said_and_withhold_what_was_not_kept(shown: Any) -> None:
    talk = shown.locator("#conversations details").first
    assert talk.get_attribute("open") is not None
    words = talk.inner_text()
    assert SCRIPT in words
    assert "withheld 9f86d081884c" in words
    assert "media/gone.png is missing" in words
    assert "invalid, two labels" in words
    assert talk.locator("img").evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("tables", [{"title": "t", "columns": ["a", "b"], "rows": [[1]]}], "1 cells, 2 columns"),
        ("conversations", [{"id": "c", "turns": [{"text": "who?"}]}], "'role'"),
        ("curves", [{"title": "t", "x": "turn", "rows": [{"x": 1}]}], "'estimate'"),
    ],
)
def test_answers_that_cannot_be_shown_are_named(tmp_path: Path, name: str, data: Any, words: str) -> None:
    run = Run.create("toy", {}, tmp_path)
    run.section(name, data)
    run.finish({"a": proportion(1, 2)})
    with pytest.raises(RunError, match=name) as told:
        report(run.folder)
    assert words in str(told.value)


def test_curves_without_a_number_are_left_out(tmp_path: Path) -> None:
    run = Run.create("toy", {}, tmp_path)
    nothing = proportion(0, 0).to_json()
    run.section("curves", [{"title": "t", "x": "turn", "rows": [{"arm": "a", "x": 1, "estimate": nothing}]}])
    run.finish({"a": proportion(1, 2)})
    assert 'id="curves"' not in report(run.folder).read_text()
