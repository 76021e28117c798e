"""Embeddings merged row by row through equal token texts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.nn.weights.models import DIM, family, saved
from tests.nn.weights.test_alignment import applied

from polymodal.nn.weights import Recipe, WeightsError, plan

WORDS = {"a": 0, "b": 1, "c": 2, "d": 3}
HALF = Recipe(weights=(0.5,), embeddings="merge")


def tokenised(folder: Path, vocabulary: Any, added: tuple[tuple[str, int], ...] = ()) -> Path:
    table = {"model": {"vocab": vocabulary}, "added_tokens": [{"content": t, "id": i} for t, i in added]}
    (folder / "tokenizer.json").write_text(json.dumps(table))
    return folder


@pytest.mark.parametrize("unigram", [False, True])
def test_rows_of_equal_tokens_are_merged(tmp_path: Path, unigram: bool) -> None:
    _, own, other = family()
    other["model.embed_tokens.weight"] = torch.randn(6, DIM)
    other["lm_head.weight"] = torch.randn(6, DIM)
    theirs: Any = [["d", 0.0], ["a", -1.0], ["x", -2.0]] if unigram else {"d": 0, "a": 1, "x": 2}
    a = tokenised(saved(tmp_path / "a", own), WORDS, (("<s>", 7), ("<far>", 500)))
    b = tokenised(saved(tmp_path / "b", other), theirs, (("<s>", 5), ("<far>", 3)))
    made = plan(a, [b], HALF)
    got = applied(made)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        want = own[name].clone()
        for row, partner in ((0, 1), (3, 0), (7, 5)):
            want[row] = 0.5 * own[name][row] + 0.5 * other[name][partner]
        torch.testing.assert_close(got[name], want, atol=1e-6, rtol=1e-6)
        assert f"{name}: 3 of 20 rows merged by token text, the rest kept" in made.notes


def test_a_tied_donor_lends_its_embedding_to_the_head(tmp_path: Path) -> None:
    _, own, other = family()
    del other["lm_head.weight"]
    a, b = (tokenised(saved(tmp_path / n, s), WORDS) for n, s in (("a", own), ("b", other)))
    got = applied(plan(a, [b], HALF))
    want = 0.5 * own["lm_head.weight"][:4] + 0.5 * other["model.embed_tokens.weight"][:4]
    torch.testing.assert_close(got["lm_head.weight"][:4], want, atol=1e-6, rtol=1e-6)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    _, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other)
    with pytest.raises(WeightsError, match=r"has no tokenizer.json"):
        plan(a, [b], HALF)
    tokenised(a, WORDS)
    tokenised(b, 3)
    with pytest.raises(WeightsError, match="no vocabulary"):
        plan(a, [b], HALF)
    other["model.embed_tokens.weight"] = torch.randn(4, 3)
    narrow = tokenised(saved(tmp_path / "c", other), WORDS)
    with pytest.raises(WeightsError, match="no partner of its width"):
        plan(a, [narrow], HALF)
