"""The openai path against a real server on this machine: what is sent, what comes back, what goes wrong."""

import base64
import io
import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from tests.chat.server import Server, completion

from polymodal.chat import ChatError, Decoding, assistant, connect, ordered, system, user
from polymodal.chat.remote import Remote, read
from polymodal.media import Audio, Image, Pose, Video
from polymodal.testing.chat import check_chat_model

SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"type": "integer"}}}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def picture(form: str = "PNG", size: int = 8) -> bytes:
    stream = io.BytesIO()
    Pillow.new("RGB", (size, size), (200, 10, 10)).save(stream, form)
    return stream.getvalue()


def test_keeps_the_contract():
    with Server() as server:
        assert check_chat_model(connect(f"openai:m@{server.url}")).text == "The answer is 4."


def test_sends_the_conversation_and_how_to_draw():
    with Server() as server:
        model = Remote("some/model", server.url + "/", Decoding(tokens=7, temperature=0.5, top_p=0.9))
        reply = model(system("Be brief."), user("2 + 2?", "Say it."), seed=2**40 + 5)
        body = server.asked[0]
    assert body["model"] == "some/model"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?\nSay it."},
    ]
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["seed"]) == (7, 0.5, 0.9, 5)
    assert "x-stainless-os" not in server.headers[0].lower()
    assert "response_format" not in body
    assert "logprobs" not in body
    assert reply.usage.calls == 1
    assert reply.usage.tokens_out == 4
    assert reply.usage.bytes_out == len("Be brief.2 + 2?Say it.")
    assert reply.usage.seconds > 0
    assert reply.stop == "stop"


@pytest.mark.parametrize(
    ("form", "kind"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif")]
)
def test_pictures_go_out_as_they_came(form, kind):
    data = picture(form)
    with Server() as server:
        reply = Remote("m", server.url)(user("What is it?", Image(data)), seed=0)
        text, sent = server.asked[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert sent["image_url"]["url"] == f"data:image/{kind};base64," + base64.b64encode(data).decode()
    assert reply.usage.bytes_out == len("What is it?") + len(data)
    assert reply.usage.pixels_out == 64


def test_arrays_sound_and_video_go_out_in_forms_that_are_known(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width = track.height = 32
        for i in range(10):
            pixels = np.full((32, 32, 3), 20 * i, np.uint8)
            box.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        box.mux(track.encode())
    wave = Audio(np.linspace(-0.5, 0.5, 800, dtype=np.float32), rate=8000, end=0.05)
    with Server() as server:
        model = Remote("m", server.url, frames=3)
        reply = model(user(Image(np.zeros((4, 5, 3), np.uint8)), wave, Video(path)), seed=0)
        shown, heard, *frames = server.asked[0]["messages"][0]["content"]
    assert shown["image_url"]["url"].startswith("data:image/png;base64,")
    assert heard["input_audio"]["format"] == "wav"
    assert Audio(base64.b64decode(heard["input_audio"]["data"])).seconds() == pytest.approx(0.05)
    assert [frame["type"] for frame in frames] == ["image_url"] * 3
    assert reply.usage.pixels_out == 20 + 3 * 32 * 32
    assert "frames=3" in model.name


def test_schema_goes_out_and_is_left_out_where_refused():
    def picky(body):
        if "response_format" in body:
            return 422, {"error": {"message": "Unsupported fields in the request: {'response_format'}"}}
        return '{"label": 1}'

    with Server(picky) as server:
        model = Remote("m", server.url)
        first = model(user("?"), seed=0, schema=SCHEMA)
        second = model(user("?"), seed=1, schema=SCHEMA)
        formats = [body.get("response_format") for body in server.asked]
    assert formats[0] == {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}}
    assert formats[1:] == [None, None]
    assert (first.usage.retries, second.usage.retries) == (1, 0)


def test_max_tokens_by_its_newer_name_and_no_seed_where_they_are_wanted_so():
    def newer(body):
        for name in ("max_tokens", "seed"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'."}}
        return "fine"

    with Server(newer) as server:
        assert Remote("m", server.url, Decoding(tokens=9))(user("?"), seed=0).text == "fine"
        assert server.asked[-1]["max_completion_tokens"] == 9
        assert len(server.asked) == 3


def test_candidates_for_the_first_token():
    tops = [{"token": "Yes", "logprob": -0.1}, {"token": "No", "logprob": -2.5}]

    def answer(body):
        made = completion("Yes", body)
        made["choices"][0]["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}]}
        return made

    with Server(answer) as server:
        reply = Remote("m", server.url, Decoding(first=2))(user("?"), seed=0)
        assert server.asked[0]["top_logprobs"] == 2
    assert reply.first == {"Yes": -0.1, "No": -2.5}


@pytest.mark.parametrize(
    ("finish", "message", "stop", "text"),
    [
        ("length", {"content": "cut he"}, "length", "cut he"),
        ("content_filter", {"content": None}, "filter", ""),
        ("stop", {"content": None, "refusal": "I will not."}, "stop", "I will not."),
        ("stop", {"content": [{"type": "text", "text": "in "}, {"text": "parts"}]}, "stop", "in parts"),
    ],
)
def test_ways_to_end(finish, message, stop, text):
    reply = read({"choices": [{"message": message, "finish_reason": finish}]})
    assert (reply.stop, reply.text) == (stop, text)


def test_a_filtered_prompt_is_the_services_refusal():
    refusal = {"error": {"message": "flagged", "code": "content_filter"}}
    with Server(lambda _: (400, refusal)) as server:
        reply = Remote("m", server.url)(user("?"), seed=0)
    assert (reply.stop, reply.text) == ("filter", "")
    assert (reply.usage.calls, reply.usage.retries) == (1, 0)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_whatever_a_service_says_is_a_reply_or_a_value_error(junk):
    wrong = [junk, {"choices": junk}, {"choices": [junk]}, {"choices": [{"message": junk}]}]
    wrong += [{"choices": [{"message": {"content": junk}}]}]
    for body in wrong:
        try:
            assert read(body).text.strip()
        except ValueError:
            continue
    good = {"choices": [{"message": {"content": "x"}}], "usage": junk}
    assert read(good).usage.tokens_in >= 0


@pytest.mark.parametrize(
    ("fault", "reason", "attempts"),
    [
        ("429", "rate_limit", 3),
        ("500", "server", 3),
        ("cut", "server", 2),
        ("hang", "timeout", 2),
        ("broken", "no_output", 3),
        ("empty", "no_output", 3),
        ("413", "refused_input", 1),
        ("403", "refused_input", 1),
    ],
)
def test_faults_that_do_not_end_have_their_reason_and_count(fault, reason, attempts):
    with Server(fault=lambda *_: fault) as server:
        model = Remote("m", server.url, retries=attempts - 1 or 2, timeout=0.2 if fault == "hang" else 10.0)
        with pytest.raises(ChatError) as failed:
            model(user("?"), seed=0)
        assert len(server.asked) == attempts
    assert failed.value.reason == reason
    assert failed.value.usage.retries == attempts
    assert failed.value.usage.calls == 0
    assert failed.value.usage.seconds > 0


def test_a_dead_endpoint_is_a_server_error():
    with Server() as server:
        model = Remote("m", server.url, retries=0)
    with pytest.raises(ChatError) as failed:
        model(user("?"), seed=0)
    assert failed.value.reason == "server"


def test_faults_that_end_are_got_over():
    with Server(fault=lambda _, times: ("500", "broken", "cut", "")[times - 1]) as server:
        reply = Remote("m", server.url)(user("?"), seed=0)
    assert reply.text == "The answer is 4."
    assert (reply.usage.calls, reply.usage.retries) == (1, 3)


def test_a_refused_key_ends_the_run_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with Server(lambda _: (401, {"error": {"message": "bad key sk-very-secret"}})) as server:
        model = connect(f"openai:m@{server.url}")
        with pytest.raises(PermissionError, match="OPENAI_API_KEY") as failed:
            model(user("?"), seed=0)
        assert "Bearer sk-very-secret" in server.headers[0]
    assert "sk-very-secret" not in f"{failed.value} {model!r} {model.name} {vars(model)['url']}"


def test_no_such_model_ends_the_run():
    with (
        Server(lambda _: (404, {"error": {"message": "no"}})) as server,
        pytest.raises(LookupError, match="no model 'm'"),
    ):
        Remote("m", server.url)(user("?"), seed=0)


def test_parts_that_are_too_large_broken_or_unknown_are_refused_unsent(tmp_path):
    large, broken = tmp_path / "large.png", tmp_path / "broken.png"
    large.write_bytes(picture(size=64))
    broken.write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    with Server() as server:
        model = Remote("m", server.url, largest=100)
        for part, words in [
            (Image(large), "large.png.*100; nothing was sent"),
            (Image(broken), "broken.png"),
            (Image(tmp_path / "missing.png"), "missing.png"),
            (Pose((0.0, 0.0, 0.0)), "kind pose"),
        ]:
            with pytest.raises(ChatError, match=words) as failed:
                model(user("?", part), seed=0)
            assert failed.value.reason == "refused_input"
        assert not server.asked


def test_connections_are_bounded_and_shared_by_threads():
    with Server(lambda body: body["messages"][0]["content"], latency=0.02) as server:
        model = Remote("m", server.url, connections=3)
        words = [str(i) for i in range(24)]
        assert list(ordered(lambda w: model(user(w), seed=0).text, words, threads=8)) == words
        assert server.most == 3
        assert len(server.connections) <= 3


def test_assistants_turns_keep_their_place():
    with Server() as server:
        Remote("m", server.url)(user("a"), assistant("b"), user("c"), seed=0)
        assert [m["role"] for m in server.asked[0]["messages"]] == ["user", "assistant", "user"]


def test_connections_close_with_their_model():
    with Server() as server:
        model = Remote("m", server.url)
        model(user("?"), seed=0)
        assert len(server.connections) == 1
        del model
        Remote("m", server.url)(user("?"), seed=0)  # the loop has had its turn
        closed = threading.Event()
        server.loop.call_soon_threadsafe(lambda: server.loop.call_later(0.05, closed.set))
        assert closed.wait(5)
        assert len(server.connections) <= 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("openai:m", "no endpoint: write openai:m@http://HOST:PORT/v1, or set OPENAI_BASE_URL"),
        ("openai:m@localhost:8000", "after @ stands a URL with http:// or https://"),
        ("openai:@http://127.0.0.1/v1", "names no model"),
        ("openai:m@http://", "http:// or https:// and a host"),
        ("openai:m@http://me:pw-secret@127.0.0.1/v1", "put the key into OPENAI_API_KEY"),
        ("openai:m@http://127.0.0.1/v1?key=pw-secret", "put the key into OPENAI_API_KEY"),
        ("openai:m@me:pw-secret@127.0.0.1/v1", "after @ stands a URL"),
    ],
)
def test_endpoints_that_are_none(spec, words):
    with pytest.raises(ValueError, match=words.replace("?", r"\?")) as failed:
        connect(spec)
    assert "pw-secret" not in str(failed.value)


def test_endpoint_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert connect("openai:org/m@2").name.startswith("openai:org/m@2@http://127.0.0.1:9/v1 tokens=400")
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert "api.openai.com" in connect("openai:m").name


def test_options_below_one_are_refused():
    with pytest.raises(ValueError, match="connections=0"):
        Remote("m", "http://127.0.0.1/v1", connections=0)


def test_name_tells_what_changes_replies_and_json_needs_no_escape():
    one, two = (Remote("m", "http://127.0.0.1/v1", Decoding(tokens=n)) for n in (1, 2))
    assert one.name != two.name
    assert json.loads(json.dumps(one.name)) == one.name
    assert repr(one) == f"Remote({one.name!r})"
