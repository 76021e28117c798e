"""Tokens: words and numbers whole, everything readable back, marks that no text can spell."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polymodal.nn.pocket import Tokens

TEXTS = ["a small red star, then 12 circles.", "what number is on the sign? (27)"] * 50 + [
    "rarely seen wording"
]
TOKENS = Tokens.trained(TEXTS, size=360)


def test_numbers_and_words_are_single_tokens() -> None:
    assert [len(TOKENS.ids(str(n))) for n in range(32)] == [1] * 32
    assert all(TOKENS.ids(f"say {n}")[-1:] == TOKENS.ids(str(n)) for n in range(32))
    assert len(TOKENS.ids(TEXTS[0])) == 9
    assert len(TOKENS.ids("32")) > 1
    assert len({TOKENS.pad, TOKENS.start, TOKENS.end, TOKENS.image}) == 4
    assert TOKENS.end != 2, "transformers reads a CLIP with end 2 in an old way"


@given(st.text(max_size=60).filter(lambda text: not text.startswith(" ")))
def test_every_text_is_read_back(text: str) -> None:
    assert TOKENS.text(TOKENS.ids(text)) == text


def test_marks_come_only_from_here() -> None:
    assert TOKENS.end not in TOKENS.ids("a star <end> <pad>")
    assert TOKENS.text(TOKENS.ids("a star <end>")) == "a star <end>"
    row = [TOKENS.start, *TOKENS.ids("a star"), TOKENS.end, TOKENS.pad]
    assert TOKENS.text(row) == TOKENS.text(torch.tensor(row)) == "a star"


def test_batches_are_padded_to_the_longest_and_cut_before_the_end() -> None:
    block = TOKENS.batch(["a star", TEXTS[0]], 77)
    assert block.shape == (2, 11)
    assert block[:, 0].tolist() == [TOKENS.start] * 2
    assert block[0].tolist()[3:] == [TOKENS.end] + [TOKENS.pad] * 7
    cut = TOKENS.batch([TEXTS[0]], 5)
    assert cut.shape == (1, 5)
    assert cut[0, -1] == TOKENS.end
    assert TOKENS.batch(["a star"], 5, start=False, end=False).tolist() == [TOKENS.ids("a star")]
    assert TOKENS.batch([], 5).shape == (0, 0)
    with pytest.raises(ValueError, match="2 positions have no room"):
        TOKENS.batch(["a"], 2)


def test_words_beyond_the_frequent_ones_are_merged() -> None:
    many = [
        f"colourless green ideas sleep {'furiously' if i % 3 else 'soundly'} w{i:04d}" for i in range(4000)
    ]
    tokens = Tokens.trained(many, size=512)
    assert len(tokens) == 512
    assert len(tokens.ids("w0007")) < 1 + len(" w0007")
    assert tokens.text(tokens.ids("w0007 green")) == "w0007 green"


def test_json_is_the_whole_tokenizer_and_the_same_for_the_same_texts(tmp_path) -> None:
    again = Tokens.trained(TEXTS, size=360)
    assert again.json() == TOKENS.json()
    TOKENS.save(tmp_path)
    read = Tokens.from_folder(tmp_path)
    assert read.ids(TEXTS[0]) == TOKENS.ids(TEXTS[0])
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == TOKENS.json()
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        Tokens.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="100 tokens are too few: marks, bytes and numbers take"):
        Tokens.trained(TEXTS, size=100)


def test_other_tokenizers_are_refused(tmp_path) -> None:
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="it lacks <pad>"):
        Tokens.from_folder(tmp_path)
