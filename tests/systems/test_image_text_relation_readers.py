"""LTEC's, TIRT's and NLVR's own files, reposts, languages side by side, text priors."""

import json
from pathlib import Path

import numpy as np
import pytest

from polymodal.envs import posters
from polymodal.media import Invalid, Sample, Text
from polymodal.systems.image_text_relation import readers
from polymodal.systems.languages import distinct, translations
from polymodal.training.study.sheet import text_prior

NLVR = Path(__file__).parents[2] / "../shared/data/nlvr_dev"

RELATIONS = [
    {
        "file_name": "100000000000000123.jpg",
        "relation": "0",
        "tweet_id": 1.0000000000000013e17,
        "text": "Ēdu zupu",
    },
    {"file_name": "200.jpg", "relation": "3", "tweet_id": "200", "text": "Labrīt!"},
    {"file_name": "300.jpg", "relation": 2, "tweet_id": "300", "text": ""},
    {"file_name": "400.jpg", "relation": "7", "tweet_id": "400", "text": "x"},
    {"file_name": "200.jpg", "relation": "1", "tweet_id": "200", "text": "again"},
    {"file_name": "500.jpg", "relation": "1.0", "tweet_id": "500", "text": "https://t.co/x"},
    {"file_name": "600.jpg", "relation": "1", "tweet_id": "600", "text": "🙂🙂"},
]
# as published: texts in braces, records without commas between them, here and there no closing brace
TRANSLATED = """[
   {
      "sentiment": "neg",
      "screen_name": "someone",
      "tweet_id": "100000000000000123",
      "tweet_text": {
\t\t"Ēdu zupu"
      },
      "english": {
\t\t"I am eating \\"soup\\".",
\t\t"It is {good}."
      }

   {
      "sentiment": "neu",
      "tweet_id": "200",
      "tweet_text": {
\t\t"Labrīt!"
      },
      "english": {
\t\t""
      }
]"""


@pytest.fixture
def ltec(tmp_path):
    (tmp_path / "relations.json").write_text(json.dumps(RELATIONS, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "translations.json").write_text(TRANSLATED, encoding="utf-8")
    (tmp_path / "images").mkdir()
    picture = posters.poster("red star", "zupa").encoded()
    for name in ("100000000000000123", "300"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(picture)
    return tmp_path


def test_ltec(ltec):
    rows = list(readers.read(ltec))
    posts = {row.id: row for row in rows if isinstance(row, Sample)}
    assert list(posts) == [f"100000000000000123-{x}" for x in ("lv", "en")] + [
        "200-lv",
        "300-lv",
        "500-lv",
        "600-lv",
    ]
    first = posts["100000000000000123-en"]
    assert first.parts["text"].read() == 'I am eating "soup". It is {good}.'
    assert (first.target, first.tags["pair"], first.tags["repaired"]) == ("0", "100000000000000123", 1.0)
    assert first.parts["image"].size() == (96, 96)
    assert "repaired" not in posts["200-lv"].tags
    assert "text" not in posts["300-lv"].parts
    flags = {name: post.tags.get("text") for name, post in posts.items() if "text" in post.tags}
    assert flags == {"300-lv": "empty", "500-lv": "link only", "600-lv": "emoji only"}
    lost = [row.detail for row in rows if isinstance(row, Invalid)]
    assert lost == ["relation '7' of '400.jpg'", "relation '1' of '200.jpg', which is there already"]


HEAD = "tweet_id,text_is_represented,image_adds,image_adds_text_repr,image_adds_text_notrepr,"
TIRT = f"""{HEAD}image_notadds_text_repr,image_notadds_text_notrepr,,,
1,1,1,1,0,0,0,,,
2,0,1,0,1,0,0,,,
3,1,0,0,0,1,0,,,
4,0,0,0,0,0,1,,,
5,0,0,1,0,0,0,,,
6,and so on,0,0,0,0,1,,,
1,1,1,1,0,0,0,,,
7,1,1,1,1,0,0,,,
8,1
"""


def test_tirt(tmp_path):
    (tmp_path / "textimage.csv").write_text(TIRT, encoding="utf-8")
    (tmp_path / "texts.csv").write_text('tweet_id,text\n1,"soup, and bread"\n2,hello\n', encoding="utf-8")
    rows = list(readers.read(tmp_path))
    posts = [row for row in rows if isinstance(row, Sample)]
    assert [(post.id, post.target) for post in posts] == [("1", "0"), ("2", "1"), ("3", "2"), ("4", "3")]
    assert posts[0].parts["text"].read() == "soup, and bread"
    assert posts[0].parts["image"].source == tmp_path / "images" / "1.jpg"
    assert [row.where for row in rows if isinstance(row, Invalid)] == [
        f"textimage.csv:{n}" for n in (6, 7, 8, 9, 10)
    ]
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "textimage.csv").write_text(TIRT, encoding="utf-8")
    assert all("text" not in row.parts for row in readers.read(bare) if isinstance(row, Sample))


@pytest.mark.skipif(not NLVR.is_dir(), reason="shared/data/nlvr_dev is not here")
def test_nlvr_as_it_is():
    posts = list(readers.read(NLVR))
    assert len(posts) == 989
    assert sum(post.target == "true" for post in posts) == 547
    assert len({post.parts["text"].read() for post in posts}) == 249
    assert posts[0].group == posts[0].id.partition("-")[0]
    assert all(post.parts["image"].source.is_file() for post in posts)


def test_nlvr_broken_lines(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "dev.json").write_text('{"sentence": "x"}\nno json\n', encoding="utf-8")
    assert [row.where for row in readers.read(tmp_path)] == ["dev.json:1", "dev.json:2"]


def test_layouts_and_corpus(tmp_path, ltec):
    with pytest.raises(FileNotFoundError):
        readers.read(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"textimage\.csv"):
        readers.read(empty)
    posts, lost = readers.corpus(ltec, ("en", "lv"))
    assert [post.tags["language"] for post in posts] == ["en", "lv", "lv", "lv", "lv", "lv"]
    assert len(lost) == 2
    with pytest.raises(ValueError, match="no labelled post in ru"):
        readers.corpus(ltec, ("ru",))
    own = tmp_path / "own"
    own.mkdir()
    (own / "samples.jsonl").write_text(
        '{"id": "a", "text": "soup", "target": "1", "tags": {"language": "en"}}\n'
    )
    assert [post.target for post in readers.read(own)] == ["1"]


def post(name, text, language="lv", pair=None):
    return Sample(name, {"text": Text(text)}, "0", tags={"language": language, "pair": pair or name})


def test_reposts_and_near_duplicates_take_their_translations_along():
    long = "a long sentence about soup with bread and cheese, eaten at noon on a sunny day in the park " * 2
    posts = [
        post("a-lv", long, pair="a"),
        post("b-lv", long + "!", pair="b"),
        post("b-en", "English text", "en", pair="b"),
        post("c", "RT someone: hello there"),
        post("d", "and then it was cut…"),
        post("e", "quite another text"),
        post("f-en", long, "en"),
    ]
    kept, lost = distinct(posts)
    assert [one.id for one in kept] == ["a-lv", "e", "f-en"]
    assert {one.id: one.detail for one in lost} == {
        "b-lv": "near-duplicate of a-lv",
        "b-en": "near-duplicate of a-lv",
        "c": "repost",
        "d": "repost",
    }


def test_translations_are_sacrebleu_s():
    import sacrebleu

    texts = {"en": {"1": "a red star and soup", "2": "milk and a blue circle"}, "lv": {"1": "x", "2": "y"}}
    texts["en-mt"] = {"1": "a red star and soup", "2": "honey and a blue square"}
    table = translations(texts, {"en-mt": {"1": 1.0, "2": 0.0}}, "en")
    ((name, n, bleu, chrf, exact, other),) = table["rows"]
    said, meant = list(texts["en-mt"].values()), [list(texts["en"].values())]
    assert (name, n, exact, other) == ("en-mt", 2, 1.0, 0.0)
    assert bleu == sacrebleu.corpus_bleu(said, meant).score
    assert chrf == sacrebleu.corpus_chrf(said, meant).score
    assert translations({"lv": texts["lv"]}, {}, "en")["rows"] == []


def test_text_prior_finds_what_the_text_gives_away_and_no_more():
    rng = np.random.default_rng(0)
    words = ["soup", "bread"]
    samples = [Sample(str(i), {}, str(i % 2), f"g{i // 4}") for i in range(80)]
    told = text_prior(samples, [f"{words[i % 2]} now" for i in range(80)], seed=0)
    assert told["char n-grams"] == [post.target for post in samples]
    assert set(told["majority"]) <= {"0", "1"}
    blank = text_prior(samples, [words[k] for k in rng.integers(2, size=80)], seed=0)
    assert 0.2 < np.mean([a == b.target for a, b in zip(blank["char n-grams"], samples, strict=True)]) < 0.8
