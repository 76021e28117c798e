"""Forms asked of models that chat: found, checked, repaired once, else counted."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, SchemaError

from polymodal.chat import ChatError, Reply, Scripted, Usage, ask, assistant, said, user
from polymodal.chat.structured import DEPTH, LENGTH, read

SCHEMA = {
    "type": "object",
    "required": ["label"],
    "properties": {"label": {"enum": [0, 1]}, "why": {"type": "string"}},
    "additionalProperties": False,
}


def saying(*texts: str, stop="stop"):
    """A model that says each text in turn, and what it was asked."""
    seen = []

    def answer(messages, _):
        seen.append(messages)
        text = texts[min(len(seen), len(texts)) - 1]
        if text.startswith("!"):
            raise ChatError(text[1:], "failed", Usage(retries=2))
        return Reply(assistant(text), Usage(calls=1), stop)

    return Scripted("saying", answer), seen


@pytest.mark.parametrize(
    "text",
    [
        '{"label": 1}',
        '  {"label": 1}\n',
        'Here it is:\n```json\n{"label": 1}\n```\nDone.',
        'I first thought {"label": 0}, but no: {"label": 1}',
        'Use {curly} braces. {"label": 1}',
        '{"label": 7} is out of scale, so {"label": 1}',
        '{ "label" : 1, "why": "a } and a { and \\" in it" }',
        '<think>{"other": [1, {"x": 2}]}</think> {"label": 1}',
        '{"label": 1} and then { never closed',
    ],
)
def test_the_object_is_found(text):
    model, seen = saying(text)
    asked = ask(model, user("?"), schema=SCHEMA, seed=3)
    assert (asked.data["label"], asked.reason, asked.error) == (1, "", "")
    assert asked.text == text
    assert asked.usage == Usage(calls=1)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yes", "no JSON object was found"),
        ('{"label": 2}', "label: 2 is not one of [0, 1]"),
        ('{"label": "1"}', "label: '1' is not one of"),
        ('{"label": true}', "label: True is not one of"),
        ('{"why": "x"}', "the object: 'label' is a required property"),
        ('{"label": NaN}', "no JSON object"),
        ('{"label": 1e999}', "no JSON object"),
        ('{"label": 1, "more": 2}', "the object: Additional"),
        ('{"verdict": {"label": 1}, "wh', "no JSON object"),
        ('{"verdict": {"label": 1}, "why": NaN}', "no JSON object"),
        ("", "it was empty"),
        (" \n ", "it was empty"),
        ("x" * (LENGTH + 1), "characters, the limit is 100,000"),
        ('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "no JSON object"),
        ("{" * LENGTH, "no JSON object"),
        ('{"' + '\\"' * (LENGTH // 2 - 2), "no JSON object"),
        ('{"a": ' + "[" * 50_000, "no JSON object"),
    ],
)
def test_what_is_no_answer_is_repaired_once_then_counted(text, words):
    model, seen = saying(text, "still no")
    asked = ask(model, user("?"), schema=SCHEMA, seed=3)
    assert (asked.data, asked.reason) == (None, "unparsable")
    assert asked.usage == Usage(calls=2)
    assert len(seen) == 2
    repair = said(seen[1][-1])
    assert words in repair
    assert json.dumps(SCHEMA) in repair
    assert "no JSON object" in asked.error


def test_a_repair_that_works():
    model, seen = saying("label one", '{"label": 1}')
    asked = ask(model, user("?"), schema=SCHEMA, seed=3)
    assert (asked.data, asked.reason, asked.usage.calls) == ({"label": 1}, "", 2)
    assert [message.role for message in seen[1]] == ["user", "assistant", "user"]
    assert said(seen[1][1]) == "label one"


def test_an_empty_reply_is_not_quoted_back():
    model, seen = saying("", '{"label": 0}')
    assert ask(model, user("?"), schema=SCHEMA, seed=0).data == {"label": 0}
    assert [message.role for message in seen[1]] == ["user", "user"]
    assert ask(saying("", "")[0], user("?"), schema=SCHEMA, seed=0).reason == "no_output"


@pytest.mark.parametrize("reason", ["timeout", "over_budget", "rate_limit", "server", "refused_input"])
def test_failed_calls_are_counted_by_their_reason(reason):
    asked = ask(saying("!" + reason)[0], user("?"), schema=SCHEMA, seed=0)
    assert (asked.data, asked.reason, asked.usage) == (None, reason, Usage(retries=2))
    late = ask(saying("nonsense", "!" + reason)[0], user("?"), schema=SCHEMA, seed=0)
    assert (late.reason, late.text, late.usage) == (reason, "nonsense", Usage(calls=1, retries=2))


def test_a_reply_cut_at_its_length_says_so():
    asked = ask(saying('{"why": "beca', stop="length")[0], user("?"), schema=SCHEMA, seed=0)
    assert asked.error.startswith("it was cut at its length limit")


def test_a_wrong_schema_is_the_callers_error():
    with pytest.raises(SchemaError):
        ask(saying("{}")[0], user("?"), schema={"type": "thing"}, seed=0)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.text(alphabet="ab {}[]\n", max_size=8)
)
def test_any_object_behind_words_without_quotes_is_found(data, before):
    text = before.replace("{", "(").replace("}", ")") + json.dumps(data, ensure_ascii=False)
    assert read(Reply(assistant(text)), {"type": "object"}) == (data, "")


@given(st.text(alphabet='{}[]":\\,a1 \n'))
def test_no_reply_can_break_it(text):
    data, error = read(Reply(assistant(text)), SCHEMA)
    assert (data is None) == bool(error)


def test_the_quick_library_accepts_what_jsonschema_accepts():
    """On replies near what a schema wants: one leaf of a good one changed at a time, for every such leaf."""
    leaves = ["", "x", "yes", "x" * 9, -1, 0, 3, 4, 5.5, 1.0, True, None, [], {}, ["yes"], {"a": 1}]
    forms = [
        {"type": "string", "minLength": 2, "maxLength": 4},
        {"minLength": 2},
        {"enum": ["yes", 1, None, ["yes"]]},
        {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 4},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 5},
        {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 1,
            "contains": {"enum": ["yes"]},
        },
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"pattern": "y"},
        {"const": 1},
        {"not": {"type": "string"}},
        True,
        False,
    ]
    seen = set()
    for leaf, form, closed in itertools.product(leaves, forms, (True, False, {"type": "string"})):
        whole = {"properties": {"a": form}, "required": ["a"], "additionalProperties": closed}
        for data in ({"a": leaf}, {"a": leaf, "b": "yes"}, {"b": leaf}):
            found, error = read(Reply(assistant(json.dumps(data))), whole)
            held = Draft202012Validator(whole).is_valid(data)
            assert (found == data, bool(error)) == (held, not held), (data, whole)
            seen.add(held)
    assert seen == {True, False}
    odd = '{"a": "\\ud800"}'  # half a character, as JSON may write one
    assert read(Reply(assistant(odd)), {"type": "object"}) == ({"a": "\ud800"}, "")
