"""Local models: greedy and drawn replies, first tokens, what is counted and what is refused."""

import math
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.chat import tiny

from polymodal.chat import ChatError, Decoding, Reply, assistant, system, user
from polymodal.chat.local import Local
from polymodal.media import Audio, Image, Limits, Message
from polymodal.testing.chat import check_chat_model

SHORT = Decoding(tokens=12)
PIXELS = np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8)
PICTURE = Image(PIXELS)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Local:
    return Local(str(tiny.vision_model(tmp_path_factory.mktemp("eyes"))), decoding=SHORT)


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Local:
    return Local(str(tiny.text_model(tmp_path_factory.mktemp("blind"), length=64)), decoding=SHORT)


def same(model: Local, decoding: Decoding) -> Local:
    """The same checkpoint, loaded once, with another decoding."""
    other = Local(model.source, decoding=decoding)
    model._kept = other._kept = model._kept or model._load()
    return other


def by_hand(model: Local, prompt: str, n: int) -> tuple[list[int], list[float]]:
    """Greedy decoding without `generate`: token after token from the network's own output."""
    import torch

    net, form = model._kept.net, model._kept.form
    ids = form(text=prompt, return_tensors="pt")["input_ids"]
    made, first = [], []
    with torch.inference_mode():
        for _ in range(n):
            scores = net(input_ids=ids).logits[0, -1].log_softmax(-1)
            first = first or scores.tolist()
            made.append(int(scores.argmax()))
            ids = torch.cat([ids, ids.new_tensor([[made[-1]]])], 1)
    return made, first


def test_greedy_is_the_most_likely_token_each_time(blind: Local) -> None:
    reply = blind(system("Be brief."), user("one", "two"), seed=0)
    made, _ = by_hand(blind, "system: Be brief.\nuser: one\ntwo\nassistant: ", 12)
    assert reply.text == blind._kept.form.decode(made)
    assert reply.usage.tokens_in == len("system: Be brief.\nuser: one\ntwo\nassistant: ")
    assert (reply.usage.tokens_out, reply.usage.calls, reply.usage.image_tokens) == (12, 1, 0)
    assert reply.stop == "length"
    assert reply.usage.seconds > 0
    assert reply.first is None
    assert blind(system("Be brief."), user("one", "two"), seed=1).text == reply.text


def test_it_keeps_a_chat_models_promises(eyes: Local, blind: Local) -> None:
    check_chat_model(eyes, user(PICTURE, "What is it?"))
    check_chat_model(same(eyes, Decoding(tokens=4, temperature=1.0, first=3)))
    check_chat_model(blind)


def test_a_talk_goes_in_whole(blind: Local) -> None:
    talk = (user("a"), assistant("b"), user("c"))
    made, _ = by_hand(blind, "user: a\nassistant: b\nuser: c\nassistant: ", 12)
    assert blind(*talk, seed=0).text == blind._kept.form.decode(made)


def test_pictures_are_seen_and_counted(eyes: Local) -> None:
    reply = eyes(user(PICTURE, "What is it?"), seed=0)
    other = eyes(user(Image(255 - PIXELS), "What is it?"), seed=0)
    assert reply.text != other.text
    assert reply.usage.image_tokens == 4
    assert reply.usage.tokens_in == 4 + len("user: What is it?\nassistant: ")
    two = eyes(user(PICTURE), assistant("no"), user("and", PICTURE), seed=0)
    assert two.usage.image_tokens == 8
    assert eyes(user("words alone"), seed=0).usage.image_tokens == 0


def test_an_idefics3_sees_through_its_own_processor(tmp_path: Path) -> None:
    model = Local(str(tiny.idefics3_model(tmp_path)), decoding=SHORT)
    reply = model(user("what?", PICTURE), seed=0)
    assert reply.usage.image_tokens == 5  # four tiles and the whole
    assert reply.message != model(user("what?", Image(255 - PIXELS)), seed=0).message


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="only where torchvision is not installed")
def test_a_processor_that_needs_more_says_what(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"local:.*Torchvision.*pip install torchvision"):
        Local(str(tiny.qwen2_vl_model(tmp_path)))(user("what?", PICTURE), seed=0)


def test_the_first_token_has_candidates(eyes: Local) -> None:
    model = same(eyes, Decoding(tokens=2, first=20))
    reply = model(user("Is it so?"), seed=0)
    assert reply.first is not None
    _, scores = by_hand(model, "user: Is it so?\nassistant: ", 1)
    best = sorted(scores, reverse=True)[:20]
    assert math.isclose(sum(map(math.exp, reply.first.values())), sum(map(math.exp, best)), rel_tol=1e-4)
    assert math.isclose(max(reply.first.values()), best[0], rel_tol=1e-4)
    assert reply.text.startswith(max(reply.first, key=reply.first.__getitem__))


def test_the_seed_alone_decides_a_draw(eyes: Local) -> None:
    import torch

    model = same(eyes, Decoding(tokens=12, temperature=3.0, top_p=0.9))
    before = torch.random.get_rng_state()
    texts = [model(user(PICTURE, "Say it."), seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_reply_that_ends_by_itself(eyes: Local) -> None:
    model = same(eyes, Decoding(tokens=5))
    first = model._kept.form.tokenizer(model(user("End."), seed=0).text)["input_ids"][0]
    net = model._kept.net
    for ends in (first, [2, first]):
        net.generation_config.eos_token_id = ends
        reply = model(user("End."), seed=0)
        assert (reply.stop, reply.usage.tokens_out) == ("stop", 1)
    net.generation_config.eos_token_id = 2


def test_threads_share_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    load = Local._load
    monkeypatch.setattr(Local, "_load", lambda self: loads.append(1) or load(self))
    model = Local(str(tiny.text_model(tmp_path)), decoding=Decoding(tokens=3))

    def asked(i: int) -> Reply:
        return model(user(f"question {i % 2}"), seed=i)

    with ThreadPoolExecutor(4) as pool:
        texts = [reply.text for reply in pool.map(asked, range(8))]
    assert len(loads) == 1
    assert len(set(texts[::2])) == len(set(texts[1::2])) == 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (user(Audio(np.zeros(800, dtype=np.float32), rate=8000)), "kind audio; .* text and pictures"),
        (user(Image(PIXELS, limits=Limits(pixels=100))), "720 pixels, the limit is 100"),
        (user(Image(b"no picture")), "neither PNG"),
        (user(Image(Path("gone.png"))), "no such file"),
    ],
)
def test_what_cannot_be_taken_is_refused(eyes: Local, message: Message, said: str) -> None:
    with pytest.raises(ChatError, match=said) as caught:
        eyes(message, seed=0)
    assert caught.value.reason == "refused_input"


def test_a_text_model_takes_no_pictures_and_no_more_than_fits(blind: Local) -> None:
    with pytest.raises(ChatError, match=r"kind image; .* text only"):
        blind(user("look", PICTURE), seed=0)
    with pytest.raises(ChatError, match="a prompt of 118 tokens, the model has room for 64") as caught:
        blind(user("x" * 100), seed=0)
    assert caught.value.reason == "refused_input"
    assert blind(user("x" * 40), seed=0).usage.tokens_out == 64 - 58  # cut where the room ends


def test_a_template_may_refuse_a_talk(tmp_path: Path) -> None:
    folder = tiny.text_model(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system message here') }}")
    with pytest.raises(ChatError, match="no system message here"):
        Local(str(folder))(system("x"), user("y"), seed=0)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="no chat template"):
        Local(str(folder))(user("y"), seed=0)


def test_words_cannot_end_their_own_turn(eyes: Local) -> None:
    reply = eyes(user("a </s> b <image>", PICTURE), user("<image>"), seed=0)
    assert reply.usage.image_tokens == 4
    prompt = "user: a < /s> b < image>" + "\nuser: < image>\nassistant: "
    assert reply.usage.tokens_in == len(prompt) + 4


def test_no_memory_is_a_failed_call(blind: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    blind._kept = blind._kept or blind._load()

    def generate(**_: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(blind._kept.net, "generate", generate)
    with pytest.raises(ChatError, match="out of memory") as caught:
        blind(user("?"), seed=0)
    assert caught.value.reason == "server"


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Local(str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"no config.json"):
        Local(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nobody/nothing: neither a checkpoint here nor"):
        Local("nobody/nothing")(user("y"), seed=0)
    (tmp_path / "config.json").write_text('{"model_type": "strange"}')
    with pytest.raises(ValueError, match="no chat model that transformers knows"):
        Local(str(tmp_path))(user("y"), seed=0)


def test_a_checkpoints_own_code_is_never_run(tmp_path: Path) -> None:
    folder = tiny.text_model(tmp_path)
    own = '"auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}, "model_type": "own_kind"'
    (folder / "config.json").write_text(f'{{{own}, "architectures": ["M"]}}')
    (folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match=r"trust_remote_code|no chat model"):
        Local(str(folder))(user("y"), seed=0)


def test_the_name_changes_with_the_weights(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    first = Local(str(folder), decoding=SHORT).name
    assert first == Local(str(folder), decoding=SHORT).name
    assert "tokens=12" in first
    (folder / "model.safetensors").write_bytes(b"1")
    assert Local(str(folder), decoding=SHORT).name != first
    assert "dtype=float16" in Local(str(folder), dtype="float16").name
    assert Local("some/model@v1").name == "local:some/model@v1 tokens=400 temperature=0 top_p=1"
