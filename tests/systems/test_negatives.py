"""False texts: swaps of a lexicon; a writer's replies as data, asked for once, kept, read back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from polymodal.chat import Scripted
from polymodal.media import Image
from polymodal.runs import Run
from polymodal.systems.alignment import negatives
from polymodal.systems.alignment.pictures import Option, Picture, Region
from polymodal.training.study import Book


def picture(name, *phrases, label=""):
    regions = tuple(Region((0, 0, 1, 1), phrase, label=label) for phrase in phrases)
    return Picture(name, name, Image(np.zeros((8, 8, 3), np.uint8)), regions=regions)


def reply(thing, *texts):
    return {"object": thing, "negatives": [{"phrase": t, "changed": "Colour "} for t in texts]}


def test_lexicon_negatives_of_real_phrases():
    found = negatives.swapped("A small wooden chair, red.", 50, ["a small wooden chair, blue"], seed=0)
    texts = {option.text: option.changed for option in found}
    assert texts["A large wooden chair, red."] == "size"
    assert texts["A small metal chair, red."] == "material"
    assert "A small wooden chair, blue." not in texts  # true of another region
    assert texts["A small wooden chair, green."] == "colour"
    assert len(negatives.swapped("A small wooden chair", 4, seed=0)) == 4
    assert negatives.swapped("a chair", 5, seed=0) == ()
    picture = Picture("a", "a", Image(np.zeros((8, 8, 3), np.uint8)), regions=(
        Region((0, 0, 1, 1), "a red dog"), Region((0, 0, 1, 1), "a dog"),
        Region((0, 0, 1, 1), "a blue cat", {"hard": (Option("x"),)}),
    ))  # fmt: skip
    first, second, third = negatives.negated(picture, 3).regions
    assert len(first.hard()) == 3
    assert (len(second.hard()), third.hard()) == (0, (Option("x"),))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A RED star.", "same"),
        ("a blue star!", "true elsewhere"),
        ("a green star,", "said before"),
        ("a red circle", "other object"),
        ("a star", "not one change"),  # more general, so true
        ("a very red star", "not one change"),  # more special: perhaps true
        ("one red star on the left", "not one change"),
        ("", "other object"),
    ],
)
def test_bad_negatives_are_dropped_by_reason(text, reason):
    kept, lost = negatives.valid(reply("star", "a green  star", text), "a red star", ["a blue star"])
    assert kept == [("a green star", "colour", "red -> green")]
    assert lost == {reason: 1}


def test_the_object_is_in_the_phrase_and_no_attribute():
    good = "a green star"
    for thing in ("red", "moon", "", "star red"):
        assert negatives.valid(reply(thing, good, good), "a red star", []) == ([], {"no object": 2})
    kept, _ = negatives.valid(reply("red", good), "a red star", [], "Star")  # the class is known
    assert [text for text, *_ in kept] == [good]
    kept, _ = negatives.valid(reply("star", good), "a red star", [], "thing")  # the phrase lacks it
    assert [text for text, *_ in kept] == [good]
    kept, _ = negatives.valid(reply("fire hydrant", "an old blue fire hydrant"), "a new fire hydrant", [])
    assert kept == [("an old blue fire hydrant", "colour", "a new -> an old blue")]


def test_each_phrase_is_asked_about_once_and_held_against_its_own_picture():
    asked = []

    def answer(messages, seed):
        phrase = json.loads(messages[0].parts[0].read().splitlines()[0].partition(": ")[2])
        asked.append((phrase, seed))
        if phrase == "a bad one":
            return "no"
        return json.dumps(reply("star", "a blue star", "a green star", "a grey star"))

    done = Option("x")
    rows = [picture("a", "a red star", "a blue star"), picture("b", "a red star", "a bad one")]
    rows.append(replace(rows[0], regions=(replace(rows[0].regions[0], options={"hard": (done,)}),)))
    found = negatives.written(Scripted("s", answer), rows, 2, seed=5)
    assert sorted({phrase for phrase, _ in asked}) == ["a bad one", "a blue star", "a red star"]
    assert len(asked) == 4  # the bad one a second time
    assert found["asked"] == 3
    assert found["lost"] == {"same": 1, "true elsewhere": 1, "unparsable": 1}
    told = [(r["sample"], r["region"], r["negative"], r["change"]) for r in found["rows"]]
    assert told == [
        ("a", 0, "a green star", "red -> green"),
        ("a", 0, "a grey star", "red -> grey"),
        ("a", 1, "a green star", "blue -> green"),
        ("a", 1, "a grey star", "blue -> grey"),
        ("b", 0, "a blue star", "red -> blue"),
        ("b", 0, "a green star", "red -> green"),
    ]
    assert negatives.written(Scripted("s", answer), rows, 2, seed=5, threads=1) == found


def test_a_run_keeps_what_was_written_and_gives_it_to_regions(tmp_path):
    rows = [picture("a", "a red star", "a dog"), picture("b", "a small cat")]
    run, book = Run.create("toy", {"seed": 0}, tmp_path), Book(seed=0)
    file = negatives.recorded("scripted:lexicon?n=3", rows, 2, run, book, seed=0)
    found = negatives.read(file)
    assert len(found["a", 0, "a red star"]) == 2
    assert {option.changed for option in found["b", 0, "a small cat"]} == {"size"}
    first, second = negatives.negated(rows[0], 2, found).regions
    assert first.hard() == found["a", 0, "a red star"]
    assert second.hard() == ()
    other = negatives.negated(picture("a", "a red dog"), 2, found)  # the file is of other phrases
    assert other.regions[0].hard() == ()
    assert "4 negatives of 3 different phrases were written by scripted:lexicon" in book.sections["notes"][0]
    assert [(row["name"], row["calls"]) for row in book.sections["cost"]] == [("writer", 3)]
    with pytest.raises(LookupError, match="no script 'poet'"):
        negatives.recorded("scripted:poet", rows, 2, run, book, seed=0)


def test_files_of_negatives_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="earlier run"):
        negatives.read(str(tmp_path / "none.jsonl"))
    (tmp_path / "n.jsonl").write_text('{"sample": "a"}\n')
    with pytest.raises(ValueError, match=r"n\.jsonl:1: KeyError\('region'\)"):
        negatives.read(str(tmp_path / "n.jsonl"))
