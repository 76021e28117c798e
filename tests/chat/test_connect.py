"""Models by string: what is known, what is refused and how."""

import sys

import pytest

from polymodal.chat import Decoding, Scripted, connect, user


def shout(times: int, loud: bool = False, share: float = 0.5, word: str = "hey") -> Scripted:
    """A script of a recipe's."""
    return Scripted(f"scripted:shout {times} {loud} {share} {word}", lambda *_: word.upper() * times)


SCRIPTS = {"shout": shout}


def test_options_are_read_by_their_annotations():
    model = connect("scripted:shout?times=2&loud=true&share=0.25&word=a%26b", scripts=SCRIPTS)
    assert model.name == "scripted:shout 2 True 0.25 a&b"
    assert model(user("?"), seed=0).text == "A&BA&B"
    assert connect("scripted:shout?times=1&word=", scripts=SCRIPTS).name.endswith("0.5 ")


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("gpt-4", LookupError, "no kind of model in 'gpt-4'; a model is one of: scripted:NAME"),
        ("magic:x", LookupError, "openai:MODEL@URL"),
        ("openai:", ValueError, "names no model"),
        ("local: ", ValueError, "names no model"),
        ("scripted:nobody", LookupError, "no script 'nobody'; known: echo, say, shout"),
        ("scripted:shout?time=1", LookupError, "no option 'time'; known: times, loud, share, word"),
        ("scripted:echo?a=1", LookupError, "known: none"),
        ("scripted:shout", ValueError, "needs times: scripted:shout.times=..."),
        ("scripted:shout?times=two", ValueError, r"times='two': it is a number \(int\)"),
        ("scripted:shout?times=1&share=x", ValueError, r"share='x': it is a number \(float\)"),
        ("scripted:shout?times=1&loud=1", ValueError, "loud='1': it is true or false"),
        ("scripted:shout?times=1&times=2", ValueError, "times is given twice"),
        ("scripted:shout?times", ValueError, "key=value pairs"),
        ("debate:scripted:echo", ValueError, "after debate: stand a number, a colon and a model"),
        ("self_consistency:0:scripted:echo", ValueError, "n is at least 1"),
        ("best_of:3:scripted:echo", LookupError, "STRATEGY:N:MODEL"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_known(spec, error, words):
    with pytest.raises(error, match=words):
        connect(spec, scripts=SCRIPTS)


@pytest.mark.parametrize(
    ("spec", "calls"),
    [
        ("self_consistency:5:scripted:echo", 5),
        ("verify_and_correct:2:scripted:say?text=OK", 2),
        ("debate:1:scripted:echo", 7),
        ("self_consistency:2:debate:0:scripted:echo", 8),
    ],
)
def test_a_strategy_is_a_model_in_front_of_a_model(spec, calls):
    model = connect(spec)
    assert spec.partition(":")[0] in model.name
    assert model(user("A"), seed=0).usage.calls == calls


def test_copies_that_are_to_differ_are_drawn_warm():
    assert "0.7" in connect("self_consistency:3:openai:m@http://h/v1").name
    assert "0.7" not in connect("verify_and_correct:3:openai:m@http://h/v1").name
    assert "0.2" in connect("debate:3:openai:m@http://h/v1", decoding=Decoding(temperature=0.2)).name


def test_an_unknown_kind_shows_no_password():
    with pytest.raises(LookupError) as refused:
        connect("http://me:pw-secret@host/v1")
    assert "pw-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("local:somewhere", "torch"),
        ("inspect:mockllm/model", "inspect_ai"),
        ("openai:m@http://h/v1", "openai"),
    ],
)
def test_a_missing_extra_names_its_package(monkeypatch, kind, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as missing:
        connect(kind, decoding=Decoding(tokens=3))(user("?"), seed=0)
    assert missing.value.name.partition(".")[0] == package


def test_scripts_are_not_kept_and_services_are():
    kept: dict[str, bytes] = {}

    class Store:
        get = staticmethod(kept.get)
        put = staticmethod(kept.__setitem__)

    connect("scripted:echo", store=Store())(user("?"), seed=0)
    assert not kept
    model = connect("openai:m@http://127.0.0.1:9/v1", store=Store())
    assert type(model).__name__ == "Cached"
    assert model.name.startswith("openai:m@")
