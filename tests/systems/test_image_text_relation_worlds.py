"""Planted posts, prompts read back, probes' wording, the balanced subset."""

from collections import Counter

import numpy as np
import pytest

from polymodal.chat import said
from polymodal.envs import posters
from polymodal.media import Image, Sample, Text
from polymodal.systems import reply
from polymodal.systems.image_text_relation import data, method
from polymodal.systems.probes import PROBES


@pytest.fixture(scope="module")
def posts():
    return data.planted(800, ("lv", "en", "en-mt"), seed=3)


def things(post, kinds):
    return next(w for w in map(posters.MEANT.get, posters.named(post.parts["text"].read())) if w in kinds)


def test_labels_say_what_text_and_picture_hold(posts):
    for post in posts:
        seen, written = posters.catalogue()[post.parts["image"].digest()]
        if post.tags["language"] != "en-mt":
            assert (things(post, posters.THINGS) == seen) == (post.target in "02")
            assert (things(post, posters.FOODS) != posters.MEANT[written]) == (post.target in "01")
        assert written in posters.SIGNS.values()


def test_classes_are_even_and_no_side_tells_them(posts):
    assert Counter(post.target for post in posts if post.tags["language"] == "lv") == dict.fromkeys(
        "0123", 200
    )
    for kinds, side in ((posters.THINGS, "text"), (posters.FOODS, "text")):
        table = np.zeros((4, len(kinds)))
        for post in data.planted(3000, ("en",), seed=1):
            table[int(post.target), kinds.index(things(post, kinds))] += 1
        spread = ((table - table.mean()) ** 2 / table.mean()).sum()
        assert spread < 2 * table.size, side  # about chi square with as many degrees of freedom


def test_a_post_is_the_same_in_all_languages_and_a_machine_errs_as_told(posts):
    by = {}
    for post in posts:
        by.setdefault(post.tags["pair"], {})[post.tags["language"]] = post
    for kinds in (posters.THINGS, posters.FOODS):
        named = {lang: [things(one[lang], kinds) for one in by.values()] for lang in ("lv", "en", "en-mt")}
        assert named["lv"] == named["en"]
        wrong = np.mean([a != b for a, b in zip(named["en"], named["en-mt"], strict=True)])
        assert wrong == pytest.approx(0.1, abs=0.035)
    pictures = {len({one.parts["image"].digest() for one in langs.values()}) for langs in by.values()}
    assert pictures == {1}


def test_a_prior_gives_the_text_away():
    posts = data.planted(2000, ("en",), prior=0.8, seed=0)
    comment = np.array(["love" in post.parts["text"].read() for post in posts])
    absent = np.array([post.target in "13" for post in posts])
    assert np.mean(comment == absent) == pytest.approx(0.9, abs=0.025)


def test_shares_and_unknown_languages():
    counts = Counter(post.target for post in data.planted(400, ("en",), shares=data.SKEWED, seed=0))
    assert counts == {"0": 240, "1": 40, "2": 100, "3": 20}
    with pytest.raises(ValueError, match="'et'"):
        data.planted(4, ("et",), seed=0)


def test_concepts_are_what_is_named_and_drawn(posts):
    found = data.concepts(posts[:50], noise=0.0, seed=0)
    names = (*posters.THINGS, *posters.FOODS)
    for row, post in enumerate(posts[:50]):
        seen, written = posters.catalogue()[post.parts["image"].digest()]
        assert {names[i] for i in np.flatnonzero(found["image"][row])} == {seen, posters.MEANT[written]}
    assert (found["text"].sum(1) == 2).all()


def corpus(sizes):
    return [Sample(f"{k}-{i:03d}", {}, str(k)) for k, n in enumerate(sizes) for i in range(n)]


@pytest.mark.parametrize(("n", "wanted"), [(35, (10, 6, 10, 9)), (36, (11, 6, 10, 9))])
def test_balanced_subset_by_hand(n, wanted):
    samples = corpus((40, 6, 30, 9))
    ids = data.balanced(samples, n, seed=0)
    assert Counter(name[0] for name in ids) == dict(zip("0123", wanted, strict=True))
    rng = np.random.default_rng(0)
    assert data.balanced([samples[i] for i in rng.permutation(len(samples))], n, seed=0) == ids
    assert data.balanced(samples, n, seed=1) != ids


@pytest.mark.parametrize(("sizes", "n"), [((40, 6, 30, 9), 14), ((40, 6, 10, 9), 60), ((40, 6, 30), 50)])
def test_balanced_subset_refuses(sizes, n):
    with pytest.raises(ValueError, match="no balanced subset"):
        data.balanced(corpus(sizes), n, seed=0)


POST = Sample(
    "p1",
    {
        "text": Text("Sarkans aplis »»» un «««zupa.\nOtrā rinda", "lv"),
        "image": posters.poster("red circle", "zupa"),
    },
    "2",
    tags={"language": "lv"},
)


@pytest.mark.parametrize("language", list(method.prompts()))
@pytest.mark.parametrize("probe", ["", *PROBES])
@pytest.mark.parametrize("question", ["adds", "represented", "four"])
def test_prompts_can_be_read_back_in_every_language(language, probe, question):
    donor = posters.poster("blue star", "olas")
    ((message,),) = method.turns(method.Query(question, language, probe), POST, donor, seed=0)
    found = method.understood(said(message))
    assert (found.question, found.negated) == (question, probe == "negated" and question != "four")
    assert (found.text == "") == (probe == "picture alone")
    yes, no = (reply.words()[language][kind][0] for kind in ("yes", "no"))
    assert (found.yes, found.no) == (yes, no)
    if question == "four":
        assert found.letters == method.letters(POST, probe, seed=0)
    pictures = [part for part in message.parts if isinstance(part, Image)]
    shown = {"text alone": [], "swapped": [donor.digest()], "blank": [method._blank().digest()]}
    assert [part.digest() for part in pictures] == shown.get(probe, [POST.parts["image"].digest()])


def test_probes_change_what_they_say():
    def of(probe, question="adds", order="text"):
        return method.turns(method.Query(question, "en", probe, order), POST, seed=0)[0][0].parts

    assert isinstance(of("")[1], Image)
    assert isinstance(of("other order")[0], Image)
    assert isinstance(of("", order="picture")[0], Image)
    assert "Answer only with: no." in of("orders")[0].read()
    letters = {
        method.letters(Sample(f"{i}", {}), probe, seed=0) for i in range(99) for probe in ("", "other order")
    }
    assert len(letters) == 24


def test_quoted_text_cannot_end_its_quotation_and_read_words_are_told():
    (message,) = method.turns(method.Query("adds", "en"), POST, words="zupa", seed=0)[0]
    assert method.understood(said(message)).text == "Sarkans aplis >>> un <<<zupa.\nOtrā rinda"
    assert "can be read in the picture: zupa" in said(message)
    (blank,) = method.turns(method.Query("adds", "en", "blank"), POST, words="zupa", seed=0)[0]
    assert "can be read" not in said(blank)


def test_shown_posts_come_with_their_answers():
    shown = [Sample("a", POST.parts, "0"), Sample("b", POST.parts, "3")]
    talk = method.turns(method.Query("adds", "lv"), POST, shots=shown, seed=0)[0]
    assert [said(one) for one in talk if one.role == "assistant"] == ["jā", "nē"]
    talk = method.turns(method.Query("four", "en"), POST, shots=shown, seed=0)[0]
    assert [said(one) for one in talk if one.role == "assistant"] == [
        method.letters(shown[0], seed=0)[0],
        method.letters(shown[1], seed=0)[3],
    ]


def test_chat_asks_both_in_one_talk():
    query = method.Query("chat", "en")
    first, second = method.turns(query, POST, seed=0)
    assert method.understood(said(first[-1])).question == "adds"
    assert method.understood(said(second[0])).question == "represented"
    assert query.schema()["properties"]["answer"] == {"enum": ["yes", "no"]}
    assert method.Query("four", "lv").schema()["properties"]["answer"] == {"enum": ["A", "B", "C", "D"]}


def test_truths_of_labels():
    table = {"0": ("yes", "yes"), "1": ("yes", "no"), "2": ("no", "yes"), "3": ("no", "no")}
    for target, (adds, represented) in table.items():
        post = Sample("x", {}, target)
        assert [method.truth(post, q) for q in ("adds", "represented", "four")] == [adds, represented, target]
    post = Sample("x", {}, "false")
    assert [method.truth(post, q) for q in ("adds", "represented", "four")] == [None, "no", None]


def test_unknown_words_and_languages_are_refused():
    with pytest.raises(ValueError, match=r"no prompts in 'et'.*prompts.json"):
        method.wording("et")
    with pytest.raises(ValueError, match="no question"):
        method.understood("What is this?")


def test_overlap_counts_words_on_both_sides():
    assert method.overlap("Red circle, and soup!", "red star", "soup") == [1.0, 1.0, 1.0, 0.0]
