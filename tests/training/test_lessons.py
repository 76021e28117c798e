"""Lessons: rows and what of them counts, batches of like length, courses that a kill does not change."""

import numpy as np
import pytest
import torch

from polymodal.nn.decoder import Decoder
from polymodal.nn.pocket import Tokens
from polymodal.runs import Run
from polymodal.training.lessons import Block, Course, Row, blocks, lost, order, replies, train

LESSONS = [("what is 1 + 2?", "3"), ("repeat: red star", "red star"), ("what is 4 + 5?", "9")]


@pytest.fixture(scope="module")
def words():
    texts = [text for lesson in LESSONS for text in lesson] * 40
    return Tokens.trained(texts, size=400)


def rows(words, n=40):
    rng = np.random.default_rng(0)
    return [Row.of(words, [LESSONS[i] for i in rng.permutation(3)[: 1 + k % 3]], 48) for k in range(n)]


def net(words, seed=0):
    return Decoder.pocket(32, 2, 2, 48, len(words), 64, words=words, seed=seed)


def test_a_row_is_start_questions_and_answers_and_only_answers_count(words):
    row = Row.of(words, LESSONS, 64, prefix="look.")
    assert row.ids[0] == words.start
    counted = [
        words.text(part.tolist())
        for part in np.split(row.ids, np.flatnonzero(np.diff(row.counted)) + 1)[1::2]
    ]
    assert counted == ["3", "red star", "9"]
    assert (row.ids[row.counted] == words.end).sum() == 3
    assert words.text(row.ids.tolist()).startswith("look. what is 1")
    short = Row.of(words, LESSONS, len(Row.of(words, LESSONS[:2], 64).ids))
    assert words.text(short.ids.tolist()).endswith("red star")


def test_padding_is_behind_and_never_counts(words):
    block = Block.of(rows(words, 6))
    assert block.ids.shape == block.counted.shape
    assert block.counted.sum() == sum(row.counted.sum() for row in rows(words, 6))
    one = Row.of(words, LESSONS[:1], 48)
    alone, beside = Block.of([one]), Block.of([one, Row.of(words, LESSONS, 48)])
    scores = net(words)
    assert torch.allclose(scores(beside.ids)[0, : len(one.ids)], scores(alone.ids)[0], atol=1e-5)


def test_an_epoch_deals_every_row_once_in_batches_of_like_length(words):
    given = rows(words, 64)
    dealt = list(blocks(given, 64, 4, seed=0)(0))
    assert len(dealt) == 16
    assert sum(int(b.counted.sum()) for b in dealt) == sum(int(row.counted.sum()) for row in given)
    again = list(blocks(given, 64, 4, seed=0)(0))
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(dealt, again, strict=True))
    assert sorted(i for pool in order(64, 4, 0, seed=0) for i in pool) == list(range(64))
    needed = next(order(64, 2, 0, seed=0))
    few = {i: given[i] for i in needed}
    assert torch.equal(next(blocks(few, 64, 2, seed=0)(0)).ids, next(blocks(given, 64, 2, seed=0)(0)).ids)


def test_a_course_learns_and_a_killed_one_ends_in_the_same_weights(words, tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.training.lessons.PACKED", 5)
    given, course = rows(words), Course("lm", 12, 4, 3e-3, 40)
    whole, killed = net(words), net(words)
    run = Run.create("toy", {}, tmp_path)
    losses = train(run, "a", whole, course, blocks(given, 40, 4, seed=1), seed=1)
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < losses[0]

    def dies(epoch):
        for i, block in enumerate(blocks(given, 40, 4, seed=1)(epoch)):
            if epoch == 0 and i == 7:
                raise KeyboardInterrupt
            yield block

    with pytest.raises(KeyboardInterrupt):
        train(run, "b", killed, course, dies, seed=1)
    fresh = net(words)
    assert train(run, "b", fresh, course, blocks(given, 40, 4, seed=1), seed=1) == losses
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), fresh.parameters(), strict=True))
    asked = [question for question, _ in LESSONS]
    assert len(replies(fresh, asked, tokens=4)) == 3
    with torch.no_grad():
        assert float(lost(fresh, Block.of(given[:4]))) > 0
