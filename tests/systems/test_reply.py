"""The parser's sixty replies, log-probabilities, and asking with failures."""

import math

import pytest

from polymodal.chat import ChatError, Decoding, Reply, Scripted, Usage, assistant, user
from polymodal.judge import Case
from polymodal.media import Sample
from polymodal.systems import reply
from polymodal.systems.reply import Question, ask, parse, probability, right_reply, shots

REPLIES = [
    ("yes", "en", "yes"), ("Yes.", "en", "yes"), ("YES!", "en", "yes"), ("yes, it does", "en", "yes"),
    ("Yeah", "en", "yes"), ("no", "en", "no"), ("No.", "en", "no"),
    ("Nope, nothing at all like it", "en", "no"),
    ("not really", "en", "no"), ("Not at all.", "en", "no"), ("I don’t think so.", "en", "no"),
    ("No doubt, yes", "en", "two_labels"), ("yes and no", "en", "two_labels"),
    ("Yes, but not really", "en", "two_labels"), ("I cannot tell", "en", "refused"),
    ("I'm sorry, yes or no is not for me", "en", "refused"), ("I am unable to see it", "en", "refused"),
    ("", "en", "no_output"), ("   \n", "en", "no_output"), ("yesterday", "en", "unparsable"),
    ("nothing", "en", "unparsable"), ("maybe yes", "en", "unparsable"), ("It depends.", "en", "unparsable"),
    ("not yes", "en", "unparsable"), ("It isn't no", "en", "unparsable"),
    ("The picture shows a star", "en", "unparsable"),
    ('{"answer": "yes"}', "en", "yes"), ('```json\n{"answer": "no"}\n```', "en", "no"),
    ('{"answer": true}', "en", "yes"), ('{"answer": "yes and no"}', "en", "two_labels"),
    ('{"reply": "yes"}', "en", "yes"), ('{"answer": yes}', "en", "yes"),
    ('{"answer": ""}', "en", "no_output"),
    ("jā", "lv", "yes"), ("Jā, attēls papildina tekstu.", "lv", "yes"), ("NĒ", "lv", "no"),
    ("Nē, nepapildina", "lv", "no"),
    ("jā, bet nē", "lv", "two_labels"), ("ne gluži", "lv", "no"), ("varbūt", "lv", "unparsable"),
    ("nevaru pateikt", "lv", "refused"), ("nav jā", "lv", "unparsable"), ("jāiet mājās", "lv", "unparsable"),
    ("ja", "de", "yes"), ("Ja, das tut es.", "de", "yes"), ("Nein!", "de", "no"),
    ("nicht wirklich", "de", "no"),
    ("ja und nein", "de", "two_labels"), ("Das kann ich nicht sagen", "de", "refused"),
    ("vielleicht", "de", "unparsable"),
    ("Jahr", "de", "unparsable"), ("oui", "fr", "yes"), ("Non, pas du tout", "fr", "no"),
    ("pas vraiment", "fr", "no"),
    ("oui et non", "fr", "two_labels"), ("Je ne sais pas", "fr", "refused"),
    ("ça dépend", "fr", "unparsable"),
    ("да", "ru", "yes"), ("Нет.", "ru", "no"), ("не совсем", "ru", "no"), ("и да, и нет", "ru", "two_labels"),
    ("не могу сказать", "ru", "refused"), ("может быть", "ru", "unparsable"), ("дай", "ru", "unparsable"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "language", "verdict"), REPLIES)
def test_sixty_replies(text, language, verdict):
    said, reason = parse(text, language)
    assert verdict == (said or reason)
    assert bool(said) != bool(reason)


def test_there_are_sixty_in_five_languages():
    assert len(REPLIES) >= 60
    assert {language for _, language, _ in REPLIES} == set(reply.words())


def test_a_reply_may_be_in_the_prompt_s_language_or_the_post_s():
    assert parse("jā", "en", "lv") == ("yes", "")
    assert parse("nein", "en", "lv") == ("", "unparsable")
    assert parse("yes", "en", "zz") == ("yes", "")
    with pytest.raises(ValueError, match="zz; known: en, lv, de, fr, ru"):
        parse("yes", "zz")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("B", "0"), ("b.", "0"), ("The answer is A", "1"), ("(D)", "3"), ('{"answer": "C"}', "2"),
        ("A: it adds", "1"), ("A or B", "two_labels"), ("a picture adds here", "unparsable"),
        ("neither", "unparsable"), ("", "no_output"), ("I cannot answer", "refused"),
        ("A picture that adds: C.", "2"),
    ],
)  # fmt: skip
def test_letters(text, verdict):
    said, reason = parse(text, "en", options=("B", "A", "C", "D"))
    assert verdict == (said or reason)


def test_probability_adds_all_spellings():
    shares = {"Yes": 0.3, " yes": 0.2, "No": 0.1, "The": 0.25, "▁no": 0.15}
    first = {token: math.log(share) for token, share in shares.items()}
    assert probability(first, "en") == pytest.approx(0.5 / 0.75)
    assert math.isnan(probability({"The": 0.0}, "en"))
    assert math.isnan(probability(None, "en"))


def question(item, variant="", **more):
    return Question(
        item=item, variant=variant, turns=[(user(f"{item}?"),)], names=["q"], languages=["en"], **more
    )


def test_asking_keeps_order_and_counts_what_fails(tmp_path):
    def model():
        def answer(messages, seed):
            if messages[-1].parts[0].text == "b?":
                raise ChatError("timeout", "late", Usage(retries=2))
            return Reply(
                assistant("yes"),
                Usage(calls=1, tokens_in=7, tokens_out=1),
                first={"yes": math.log(0.8), "no": math.log(0.2)},
            )

        return Scripted("stub", answer)

    asked = [question("a", row={"id": 1}), question("b"), question("c", "other")]
    rows = ask("scripted:stub", asked, {"stub": model}, Decoding(), tmp_path / "kept", seed=0)
    assert [row["item"] for row in rows] == ["a", "b", "c"]
    assert [row["parsed"] for row in rows] == ["yes", "", "yes"]
    assert [row["reason"] for row in rows] == ["", "timeout", ""]
    assert rows[0]["p_yes"] == pytest.approx(0.8)
    assert rows[0]["id"] == 1
    assert sum(row["calls"] for row in rows) == 2
    assert rows[0]["tokens"] == 8


def test_two_questions_in_one_talk_hear_each_other(tmp_path):
    def model():
        return Scripted("stub", lambda messages, seed: "yes" if len(messages) == 1 else "no")

    talk = Question(
        item="a", variant="", turns=[(user("A?"),), (user("B?"),)], names=["A", "B"], languages=["en"]
    )
    rows = ask("scripted:stub", [talk], {"stub": model}, Decoding(), tmp_path / "kept", seed=0)
    assert [(row["question"], row["parsed"], row["calls"]) for row in rows] == [
        ("A", "yes", 2),
        ("B", "no", 0),
    ]


def test_shown_posts_are_of_other_groups_with_classes_in_turn():
    posts = [
        Sample(f"{i}-{j}", {}, str(j % 4), f"g{i}", {"pair": f"p{i}{j}"}) for i in range(4) for j in range(4)
    ]
    found = shots(posts, posts[0], 4, seed=0)
    assert sorted(one.target for one in found) == ["0", "1", "2", "3"]
    assert "g0" not in {one.group for one in found}
    assert shots(posts, posts[0], 4, seed=0) == found
    assert shots(posts, posts[0], 0, seed=0) == ()


def test_judge_of_short_replies():
    judge = right_reply("relation")
    said = [
        ("jā", "yes", 1.0),
        ("nē", "yes", 0.0),
        ("I cannot tell", "yes", "refused_to_judge"),
        ("", "no", "no_output"),
    ]
    for text, reference, wanted in said:
        case = Case("1", "1", "g", "s", "", (user("?"), assistant(text)), reference, {"languages": "lv,en"})
        verdict = judge(case, seed=0)
        assert wanted == (verdict.scores["correct"] if verdict.valid else verdict.reason)
