"""Text from scratch: hashing keeps likeness, bytes keep their order."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from polymodal.nn import Letters, letters, ngrams
from polymodal.testing import check_encoder

TEXTS = [
    "the film was good",
    "The film was very good!",
    "rain in the north",
    "नमस्ते दुनिया",
    "good good good good",
]


def test_hashed_likeness_is_the_likeness_of_the_counts() -> None:
    """With many columns, inner products are those of exact log counts (second implementation)."""
    ours = np.stack([ngrams(text, 2**18, words=(1, 1)) for text in TEXTS])
    counts = [
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), token_pattern=None)
        .fit_transform(TEXTS)
        .toarray(),
        CountVectorizer(token_pattern=r"\S+").fit_transform(TEXTS).toarray(),
    ]
    exact = np.log1p(np.hstack(counts).astype(float))
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(ours @ ours.T, exact @ exact.T, atol=0.03)


def test_few_columns_are_still_right_on_average() -> None:
    a, b, c = (ngrams(text, 256) for text in TEXTS[:3])
    assert a @ b > a @ c + 0.2


def test_case_and_width_fold_and_empty_text_is_zero() -> None:
    np.testing.assert_array_equal(ngrams("ＦＩＬＭ Noir"), ngrams("film noir"))
    assert not ngrams("  ").any()
    assert ngrams("x", 16).dtype == np.float32
    assert np.linalg.norm(ngrams("a few words")) == pytest.approx(1, abs=1e-6)


def test_letters_are_bytes_plus_one() -> None:
    assert letters("aé").tolist() == [98, 0xC3 + 1, 0xA9 + 1]
    assert len(letters("a" * 600)) == 512
    assert letters("").shape == (0,)


@pytest.mark.parametrize("column", [False, True])
def test_contract(column: bool) -> None:
    def draw(t: int) -> Tensor:
        ids = torch.randint(1, 257, (1, t))
        return ids[..., None].float() if column else ids

    check_encoder(lambda: Letters(8, depth=1, heads=2, limit=16), draw=draw)


def test_longer_than_the_limit_is_cut() -> None:
    encoder = Letters(8, depth=1, heads=2, limit=4).eval()
    ids = torch.randint(1, 257, (1, 9))
    long, cut = (encoder(x, torch.ones(x.shape, dtype=torch.bool)).vector for x in (ids, ids[:, :4]))
    torch.testing.assert_close(long, cut)
    assert encoder.example(3).shape == (1, 3, 1)


def test_order_matters() -> None:
    encoder = Letters(8, depth=1, heads=2).eval()
    there = torch.ones(1, 3, dtype=torch.bool)
    a, b = (encoder(torch.from_numpy(letters(text))[None], there).vector for text in ("abc", "cba"))
    assert (a - b).abs().max() > 1e-4
