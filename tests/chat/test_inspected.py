"""The bridge to Inspect AI, both ways, on its mock model and on a provider of ours; no network."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.chat import ChatError, Decoding, Reply, Scripted, Usage, assistant, connect, said, system, user
from polymodal.media import Audio, Image, Message, Series
from polymodal.testing.chat import check_chat_model

# Inspect's own retries build tenacity's waiting with a name that tenacity has since renamed
pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning")
PIXELS = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
PICTURE = Image(Image(PIXELS).encoded())
SCHEMA = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}


def described(talk: tuple[Message, ...], seed: int) -> Reply:
    """What the script was handed, in words."""
    kinds = "; ".join(f"{m.role}: {' '.join(p.kind for p in m.parts)}" for m in talk)
    return Reply(assistant(f"{seed} {kinds} {said(talk[-1])}"), Usage(calls=1, tokens_in=7, tokens_out=3))


def stopped(why: str = "length") -> Scripted:
    return Scripted("stopped", lambda talk, seed: Reply(assistant("cut"), Usage(calls=1), why))  # type: ignore[arg-type]


def failing() -> Scripted:
    def answer(talk: tuple[Message, ...], seed: int) -> str:
        raise ChatError("server", "out of order")

    return Scripted("failing", answer)


@pytest.fixture(scope="module", autouse=True)
def ours() -> None:
    """Our provider under another name, so that the package's own entry point plays no part here."""
    from inspect_ai.model import modelapi

    from polymodal.chat.inspected import provider

    scripts = {"described": lambda: Scripted("d", described), "stopped": stopped, "failing": failing}

    @modelapi(name="ours")
    def made() -> Any:
        return provider(scripts)


def mocked(output: Callable[..., Any], decoding: Decoding = Decoding()) -> Any:  # noqa: B008
    """Inspect's mock model as a chat model; `output` gets its messages and settings."""
    from inspect_ai.model import get_model

    from polymodal.chat.inspected import Inspected

    model = Inspected("mockllm/model", decoding=decoding)
    model._model = get_model("mockllm/model", custom_outputs=lambda *given: output(given[0], given[3]))
    return model


def made(text: str, stop: str = "stop", **usage: int) -> Any:
    from inspect_ai.model import ModelOutput, ModelUsage

    output = ModelOutput.from_content("mockllm", text, stop_reason=stop)  # type: ignore[arg-type]
    output.usage = ModelUsage(**{"input_tokens": 0, "output_tokens": 0, **usage})
    return output


def test_there_and_back_again() -> None:
    model = connect("inspect:ours/scripted:described", decoding=Decoding(tokens=9))
    assert model.name == "inspect:ours/scripted:described tokens=9 temperature=0 top_p=1"
    sound = Audio(np.zeros(160, dtype=np.float32), rate=8000)
    reply = model(system("s"), user("a"), assistant("b"), user(PICTURE, sound, "c"), seed=5)
    assert reply.text == "5 system: text; user: text; assistant: text; user: image audio text c"
    assert (reply.usage.calls, reply.usage.tokens_in, reply.usage.tokens_out) == (1, 7, 3)
    assert reply.usage.seconds > 0
    assert reply.stop == "stop"


def test_it_keeps_a_chat_models_promises() -> None:
    check_chat_model(connect("inspect:ours/scripted:described"), user(PICTURE, "?"))


@pytest.mark.parametrize(("why", "stop"), [("length", "length"), ("filter", "filter"), ("stop", "stop")])
def test_why_a_reply_ended_crosses_both_ways(why: str, stop: str) -> None:
    assert connect(f"inspect:ours/scripted:stopped?why={why}")(user("?"), seed=0).stop == stop


def test_a_failure_of_ours_is_a_failure_there() -> None:
    with pytest.raises(ChatError, match="out of order") as caught:
        connect("inspect:ours/scripted:failing")(user("?"), seed=0)
    assert caught.value.reason == "server"


def test_settings_reach_the_provider() -> None:
    asked: list[Any] = []
    model = mocked(
        lambda talk, config: asked.append(config) or made('{"yes": true}'),
        Decoding(tokens=33, temperature=0.5, top_p=0.9, first=5),
    )
    assert model(user("?"), seed=11, schema=SCHEMA).text == '{"yes": true}'
    given = asked[0]
    assert (given.max_tokens, given.temperature, given.top_p, given.seed) == (33, 0.5, 0.9, 11)
    assert (given.logprobs, given.top_logprobs) == (True, 5)
    assert given.response_schema.json_schema.required == ["yes"]
    plain = mocked(lambda talk, config: asked.append(config) or made("x"))
    plain(user("?"), seed=0)
    assert (asked[1].top_p, asked[1].logprobs, asked[1].response_schema) == (None, None, None)


def test_tokens_from_a_cache_are_tokens() -> None:
    usage = {"input_tokens": 10, "input_tokens_cache_read": 5, "input_tokens_cache_write": 2}
    reply = mocked(lambda talk, config: made("x", "max_tokens", output_tokens=4, **usage))(user("?"), seed=0)
    assert (reply.usage.tokens_in, reply.usage.tokens_out, reply.stop) == (17, 4, "length")


def test_first_tokens() -> None:
    from inspect_ai.model import Logprob, Logprobs, TopLogprob

    output = made("yes")
    tops = [TopLogprob(token="yes", logprob=-0.1), TopLogprob(token="no", logprob=-2.4)]
    output.choices[0].logprobs = Logprobs(content=[Logprob(token="yes", logprob=-0.1, top_logprobs=tops)])
    assert mocked(lambda talk, config: output)(user("?"), seed=0).first == {"yes": -0.1, "no": -2.4}


def test_an_empty_output_is_no_reply() -> None:
    from inspect_ai.model import ModelOutput, ModelUsage

    output = ModelOutput(model="m", error="moderated", usage=ModelUsage(input_tokens=3))
    with pytest.raises(ChatError, match="moderated") as caught:
        mocked(lambda talk, config: output)(user("?"), seed=0)
    assert caught.value.reason == "no_output"
    assert caught.value.usage.tokens_in == 3


class StatusError(Exception):
    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("slow"), "timeout"),
        (StatusError(408), "timeout"),
        (StatusError(429), "rate_limit"),
        (StatusError(413), "refused_input"),
        (StatusError(503), "server"),
        (RuntimeError("?"), "server"),
    ],
    ids=str,
)
def test_failures_have_reasons(error: Exception, reason: str) -> None:
    def output(talk: Any, config: Any) -> Any:
        raise error

    with pytest.raises(ChatError) as caught:
        mocked(output)(user("?"), seed=0)
    assert caught.value.reason == reason


def test_threads_ask_at_once() -> None:
    model = connect("inspect:ours/scripted:described")
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda i: model(user(f"q{i}"), seed=i).text, range(40)))
    assert texts == [f"{i} user: text q{i}" for i in range(40)]


def test_what_leaves_is_counted() -> None:
    from polymodal.chat.inspected import sent

    size = len(PICTURE.encoded())
    assert sent([user("né", PICTURE), user(PICTURE)]) == Usage(bytes_out=3 + 2 * size, pixels_out=48)
    assert mocked(lambda talk, config: made("x"))(user("né", PICTURE), seed=0).usage.bytes_out == 0
    assert connect("inspect:ours/scripted:described")(user("né", PICTURE), seed=0).usage.pixels_out == 24


def test_media_keep_their_bytes(tmp_path: Path) -> None:
    from inspect_ai.model import ChatMessageUser, ContentImage

    from polymodal.chat.inspected import incoming, outgoing

    back = incoming(outgoing(user(PICTURE, "words")))
    assert back.parts[0].digest() == PICTURE.digest()
    assert said(back) == "words"
    (tmp_path / "a.png").write_bytes(PICTURE.encoded())
    from_file = incoming(ChatMessageUser(content=[ContentImage(image=str(tmp_path / "a.png"))]))
    assert from_file.parts[0].digest() == PICTURE.digest()
    assert said(incoming(ChatMessageUser(content="plain"))) == "plain"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (user(Series(np.zeros((3, 1)))), "kind series"),
        (user(Image(b"no picture")), "neither PNG"),
        (Message("narrator", ()), "role 'narrator'"),
    ],
    ids=["series", "broken", "role"],
)
def test_what_inspect_does_not_take_is_refused(message: Message, said: str) -> None:
    with pytest.raises(ChatError, match=said) as caught:
        connect("inspect:ours/scripted:described")(message, seed=0)
    assert caught.value.reason == "refused_input"


def test_what_we_do_not_take_is_refused() -> None:
    from inspect_ai.model import ChatMessageTool, ChatMessageUser, ContentImage, ContentVideo

    from polymodal.chat.inspected import incoming

    for message, words in (
        (ChatMessageTool(content="x"), "role tool"),
        (ChatMessageUser(content=[ContentVideo(video="a.mp4", format="mp4")]), "type video"),
        (ChatMessageUser(content=[ContentImage(image="http://10.0.0.1/a.png")]), "not fetched"),
    ):
        with pytest.raises(ChatError, match=words):
            incoming(message)


def test_wrong_names_and_options_end_at_once() -> None:
    from inspect_ai.model import get_model
    from inspect_ai.tool import ToolInfo

    with pytest.raises(ValueError, match="inspect:nobody/model: Model API nobody"):
        connect("inspect:nobody/model")
    with pytest.raises(ValueError, match="no script 'absent'"):
        connect("inspect:ours/scripted:absent")
    with pytest.raises(ValueError, match="-M speed: not known"):
        get_model("ours/scripted:described", speed=3)
    model = connect("inspect:ours/scripted:described")
    api: Any = model._model.api  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="call no tools"):
        api.generate([], [ToolInfo(name="t", description="d")], "auto", None).send(None)
