"""The prompt form: the same tokens in lessons, in questions and from the chat template."""

import torch
from tests.nn.decoder import tiny

from polymodal.nn.decoder import answered, asked, lesson, question
from polymodal.nn.decoder.prompt import TEMPLATE, answer, level

WORDS = tiny.tokens()


def test_a_prompt_is_start_slots_question_and_a_line_end() -> None:
    ids = question(WORDS, " What is 3 + 4 ", 2)
    assert ids[:3] == [WORDS.start, WORDS.image, WORDS.image]
    assert WORDS.text(ids) == "what is 3 + 4\n"
    assert WORDS.text(question(WORDS, ["A star", "is red"])) == "a star\nis red\n"
    assert answer(WORDS, " 31 ") == [*WORDS.ids("31"), WORDS.end]
    assert len(answer(WORDS, "31")) == 2


def test_questions_end_together_and_lessons_start_together() -> None:
    ids, mask = asked(WORDS, ["a", "what is the colour"], 2)
    assert ids[0, 0] == WORDS.pad
    assert (ids[:, -1] == question(WORDS, "a")[-1]).all()
    assert mask.sum(1).tolist() == [len(question(WORDS, text, 2)) for text in ("a", "what is the colour")]
    taught, counted = lesson(WORDS, ["a", "what is the colour"], ["red", "blue"], 2)
    assert (taught[:, 0] == WORDS.start).all()
    for row, said in enumerate(("red", "blue")):
        assert taught[row][counted[row]].tolist() == answer(WORDS, said)
    asks = question(WORDS, "a", 2)
    assert taught[0, : len(asks)].tolist() == asks
    assert not counted[0, : len(asks)].any()


def test_level_pads_either_side() -> None:
    ids, real = level([[5], [6, 7]], 0)
    assert ids.tolist() == [[0, 5], [6, 7]]
    assert real.tolist() == [[False, True], [True, True]]
    ids, real = level([[5], [6, 7]], 0, left=False)
    assert ids.tolist() == [[5, 0], [6, 7]]
    assert real.tolist() == [[True, False], [True, True]]
    assert level([], 0)[0].shape == (0, 0)


def test_answers_are_shared_or_a_rows_own() -> None:
    red, blue = answer(WORDS, "red"), answer(WORDS, "blue")
    assert answered(WORDS, ["red", "blue"], 2) == [[red, blue], [red, blue]]
    assert answered(WORDS, [["red"], ["blue", "red"]], 2) == [[red], [blue, red]]


def test_the_chat_template_says_the_same() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers import PreTrainedTokenizerFast

    form = PreTrainedTokenizerFast(tokenizer_object=WORDS._tokenizer)
    text = ImmutableSandboxedEnvironment().from_string(TEMPLATE)
    parts = [{"type": "text", "text": " What is it "}, {"type": "image"}]
    said = text.render(messages=[{"content": "Look"}, {"content": parts}])
    assert said == "<start><image>look\nwhat is it\n"
    form._tokenizer.encode_special_tokens = False
    ids = form(said, add_special_tokens=False)["input_ids"]
    assert ids == question(WORDS, ["Look", " What is it "], 1)
    assert torch.tensor(ids).eq(WORDS.image).sum() == 1
