"""Pocket models in chat: quick replies, what is counted, what is refused, and that transformers agrees."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.nn.decoder import tiny

from polymodal.chat import ChatError, Decoding, assistant, connect, local, system, user
from polymodal.chat.local import Local, Pocket, is_pocket
from polymodal.media import Audio, Image, Limits
from polymodal.testing.chat import check_chat_model

SHORT = Decoding(tokens=8)
PICTURES = [Image(np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)) for i in range(4)]
LARGE = Image(np.random.default_rng(9).integers(0, 255, (30, 50, 3), dtype=np.uint8))
ASKED = "which colour is the star on the left?"


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.written(tiny.seeing().files(), tmp_path_factory.mktemp("eyes"))


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.written(tiny.decoder().files(), tmp_path_factory.mktemp("blind"))


def test_it_keeps_a_chat_models_promises(eyes: Path, blind: Path) -> None:
    check_chat_model(Pocket(str(eyes), decoding=SHORT), user(LARGE, ASKED))
    check_chat_model(Pocket(str(eyes), decoding=Decoding(tokens=4, temperature=1.0, first=3)))
    check_chat_model(Pocket(str(blind), decoding=SHORT))


def test_transformers_gives_the_same_replies_from_the_same_folder(eyes: Path, blind: Path) -> None:
    for folder, talks in ((eyes, [user(picture, ASKED) for picture in PICTURES]), (blind, [user(ASKED)])):
        quick, slow = Pocket(str(folder), decoding=SHORT), Local(str(folder), decoding=SHORT, dtype="float32")
        for talk in talks:
            ours, theirs = quick(talk, seed=0), slow(talk, seed=0)
            assert ours.text == theirs.text.removeprefix(" ")
            assert ours.stop == theirs.stop
            for count in ("tokens_in", "tokens_out", "image_tokens", "calls"):
                assert getattr(ours.usage, count) == getattr(theirs.usage, count), count
    talk = (system("Be  brief. "), user(PICTURES[0], ASKED.upper()), assistant("red"), user("how many"))
    ours, theirs = (connect_as(kind, eyes)(*talk, seed=0) for kind in (Pocket, Local))
    assert (ours.text, ours.usage.tokens_in) == (theirs.text.removeprefix(" "), theirs.usage.tokens_in)


def connect_as(kind: type[Pocket] | type[Local], folder: Path) -> Pocket | Local:
    """One of both ways to the same folder."""
    if kind is Local:
        return Local(str(folder), decoding=SHORT, dtype="float32")
    return Pocket(str(folder), decoding=SHORT)


def test_pictures_are_seen_wherever_they_stand_and_counted(eyes: Path) -> None:
    model = Pocket(str(eyes), decoding=SHORT)
    replies = [model(user(picture, ASKED), seed=0) for picture in PICTURES]
    assert len({reply.text for reply in replies}) > 1
    assert {reply.usage.image_tokens for reply in replies} == {4}
    assert model(user(ASKED, PICTURES[0]), seed=0).text == replies[0].text
    without = model(user(ASKED), seed=0)
    assert without.usage.image_tokens == 0
    assert without.usage.tokens_in == replies[0].usage.tokens_in - 4


def test_the_first_token_has_candidates(eyes: Path) -> None:
    model = Pocket(str(eyes), decoding=Decoding(tokens=1, first=20))
    first = model(user(PICTURES[0], ASKED), seed=0).first
    assert first is not None
    assert 2 <= len(first) <= 20  # bytes that are no letters by themselves look alike
    assert sum(np.exp(list(first.values()))) <= 1 + 1e-6
    assert Pocket(str(eyes), decoding=SHORT)(user(ASKED), seed=0).first is None


def test_the_seed_alone_decides_a_draw(eyes: Path) -> None:
    model = Pocket(str(eyes), decoding=Decoding(tokens=8, temperature=1.5, top_p=0.9))
    replies = [model(user(PICTURES[0], ASKED), seed=seed).text for seed in range(6)]
    assert len(set(replies)) > 3
    assert [model(user(PICTURES[0], ASKED), seed=seed).text for seed in range(6)] == replies


def test_what_cannot_be_taken_is_refused(eyes: Path, blind: Path, tmp_path: Path) -> None:
    sees, reads = Pocket(str(eyes), decoding=SHORT), Pocket(str(blind), decoding=SHORT)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    small = Image(np.zeros((99, 99, 3), np.uint8), limits=Limits(pixels=10))
    for model, message, says in (
        (
            sees,
            user(PICTURES[0], "and", PICTURES[1]),
            "2 pictures; this pocket model takes text and one picture",
        ),
        (
            sees,
            user(Audio(np.zeros(9, np.float32), 16000)),
            "kind audio; this pocket model takes text and one",
        ),
        (reads, user(PICTURES[0]), "a part of kind image; this pocket model takes text only"),
        (sees, user(Image(tmp_path / "broken.png")), "broken.png"),
        (sees, user(small), "10"),
        (sees, user("a star " * 99), "the model has room for 96"),
    ):
        with pytest.raises(ChatError, match=says) as caught:
            model(message, seed=0)
        assert caught.value.reason == "refused_input"


def test_a_reply_takes_the_room_that_is_left(blind: Path) -> None:
    model = Pocket(str(blind), decoding=Decoding(tokens=400))
    reply = model(user("a star " * 30), seed=0)
    assert reply.usage.tokens_in + reply.usage.tokens_out <= 96


def test_marks_in_a_text_stay_words(eyes: Path) -> None:
    model = Pocket(str(eyes), decoding=SHORT)
    reply = model(user("<image><end><start>", ASKED), seed=0)
    assert reply.usage.image_tokens == 0
    assert reply.usage.tokens_in > model(user(ASKED), seed=0).usage.tokens_in + 10


def test_names_and_marked_folders_go_the_quick_way(
    eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(connect(f"local:{eyes}"), Pocket)
    assert isinstance(connect("local:somebody/model"), Local)
    assert is_pocket("pocket-vlm")
    assert not is_pocket("pocket-people/model")
    (tmp_path / "config.json").write_text("{")
    assert not is_pocket(str(tmp_path))
    monkeypatch.setattr(local, "POCKETS", eyes.parent)
    eyes.parent.joinpath("pocket-tiny").symlink_to(eyes)
    model = connect("local:pocket-tiny", decoding=SHORT)
    assert model.name.startswith("local:pocket-tiny#")
    assert (
        model(user(LARGE, ASKED), seed=0).text
        == Pocket(str(eyes), decoding=SHORT)(user(LARGE, ASKED), seed=0).text
    )
    with pytest.raises(
        FileNotFoundError, match=r"local:pocket-huge: no such pocket model; known here:.*tiny"
    ):
        connect("local:pocket-huge")


def test_the_name_changes_with_what_is_in_the_folder_only(eyes: Path, tmp_path: Path) -> None:
    name = Pocket(str(eyes), decoding=SHORT).name
    for file in eyes.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    copy = Pocket(str(tmp_path), decoding=SHORT).name
    assert copy.replace(str(tmp_path), "") == name.replace(str(eyes), "")
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert Pocket(str(tmp_path), decoding=SHORT).name != copy


def test_another_prompt_form_is_named(blind: Path, tmp_path: Path) -> None:
    for file in blind.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((blind / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"polymodal": {"form": 99}}))
    with pytest.raises(ValueError, match=r"prompts of form 99.*update polymodal"):
        Pocket(str(tmp_path))(user("a"), seed=0)


def test_transformers_is_never_loaded(eyes: Path) -> None:
    code = (
        "import sys; from polymodal.chat import connect, user;"
        f"m = connect({f'local:{eyes}'!r}); assert 'torch' not in sys.modules;"
        "m(user('a star'), seed=0); assert 'torch' in sys.modules;"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
