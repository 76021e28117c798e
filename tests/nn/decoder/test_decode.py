"""Replies and chances: the cache changes nothing, rows do not touch one another, draws go by their stream."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.nn.decoder import tiny

from polymodal.nn.decoder import Cache, Decoder, asked, continued, question, scored
from polymodal.nn.decoder.decode import drawn


@pytest.fixture(scope="module")
def net() -> Decoder:
    return tiny.decoder()


def by_hand(net: Decoder, ids: list[int], n: int) -> list[int]:
    """Greedy decoding without cache or batch."""
    made: list[int] = []
    for _ in range(n):
        with torch.no_grad():
            made.append(int(net(torch.tensor([ids + made]))[0, -1].argmax()))
    return made


def test_greedy_is_the_most_likely_token_each_time_in_every_row(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    assert not mask.all()
    made = continued(net, net.embed(ids), mask, tokens=12)
    for row, text in zip(made, tiny.QUESTIONS, strict=True):
        assert row.ids == by_hand(net, question(net.words, text), 12)
        assert not row.ended
        torch.testing.assert_close(row.first.exp().sum(), torch.tensor(1.0))


def test_it_replies_as_transformers_does(net: Decoder, tmp_path: Any) -> None:
    from transformers import LlamaForCausalLM

    llama: Any = LlamaForCausalLM.from_pretrained(tiny.written(net.files(), tmp_path), dtype=torch.float32)
    ids, mask = asked(net.words, tiny.QUESTIONS)
    theirs = llama.generate(ids, attention_mask=mask.long(), max_new_tokens=9, do_sample=False)
    made = continued(net, net.embed(ids), mask, tokens=9, end=net.words.end)
    for row, other in zip(made, theirs[:, ids.shape[1] :].tolist(), strict=True):
        assert row.ids == other[: len(row.ids)]


def test_rows_that_ended_leave_and_the_others_go_on(net: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    alone = [by_hand(net, question(net.words, text), 12) for text in tiny.QUESTIONS]
    end = next(token for token in alone[0][2:] if token not in alone[1])
    widths: list[int] = []
    kept = Decoder.forward

    def counted(self: Decoder, *args: Any, **kwargs: Any) -> torch.Tensor:
        out = kept(self, *args, **kwargs)
        widths.append(len(out))
        return out

    monkeypatch.setattr(Decoder, "forward", counted)
    made = continued(net, net.embed(ids), mask, tokens=12, end=end)
    for row, whole in zip(made, alone, strict=True):
        assert row.ended == (end in whole)
        assert row.ids == (whole[: whole.index(end)] if row.ended else whole)
    assert widths[0] == 3
    assert widths[-1] < 3


def test_a_reply_ends_where_the_context_is_full(net: Decoder) -> None:
    ids = torch.randint(4, 200, (2, 90))
    assert [len(row.ids) for row in continued(net, net.embed(ids), tokens=24)] == [6, 6]
    with pytest.raises(ValueError, match="leaves no room"):
        continued(net, net.embed(torch.randint(4, 200, (2, 96))))


def test_a_draw_goes_by_seed_and_row_alone(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    embeds = net.embed(ids)
    state = torch.random.get_rng_state()
    warm: dict[str, Any] = {"temperature": 1.5, "top_p": 0.95, "tokens": 8}
    made = continued(net, embeds, mask, seed=3, **warm)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [row.ids for row in continued(net, embeds, mask, seed=3, **warm)] == [row.ids for row in made]
    assert [row.ids for row in continued(net, embeds, mask, seed=4, **warm)] != [row.ids for row in made]
    first = continued(net, embeds[:1], mask[:1], seed=3, **warm)
    assert first[0].ids == made[0].ids
    longer = continued(net, embeds, mask, seed=3, **warm | {"tokens": 9})
    assert [row.ids[:8] for row in longer] == [row.ids for row in made]


def test_draws_have_their_probabilities() -> None:
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])[[2, 0, 3, 1]]
    heights = torch.linspace(0.0005, 0.9995, 1000)
    scores = chances.log().expand(1000, -1)
    for temperature, top_p, wanted in (
        (1.0, 1.0, [0.15, 0.5, 0.05, 0.3]),
        (1.0, 0.7, [0.0, 0.625, 0.0, 0.375]),
        (1.0, 0.1, [0.0, 1.0, 0.0, 0.0]),
        (2.0, 1.0, (chances**0.5 / (chances**0.5).sum()).tolist()),
    ):
        counts = torch.bincount(drawn(scores, heights, temperature, top_p), minlength=4) / 1000
        torch.testing.assert_close(counts, torch.tensor(wanted), atol=2e-3, rtol=0)
    assert drawn(scores[:1], torch.tensor([1.0]), 1.0, 1.0).item() == 2  # 3 is place 2: the least likely


def test_chances_are_those_of_the_whole_text_read_at_once(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    choices = [[[9, 10, 11], [12]], [[13, 14]], [[9], [10, 9], [9, 9, 9]]]
    out = scored(net, net.embed(ids), mask, choices)
    assert out.shape == (3, 3)
    for row, answers in enumerate(choices):
        prompt = question(net.words, tiny.QUESTIONS[row])
        for place in range(3):
            if place >= len(answers):
                assert out[row, place] == -np.inf
                continue
            whole = torch.tensor([prompt + answers[place]])
            with torch.no_grad():
                each = net(whole).log_softmax(-1)[0, :-1].gather(1, whole[0, 1:, None])[:, 0]
            torch.testing.assert_close(out[row, place], each[len(prompt) - 1 :].sum(), atol=1e-4, rtol=0)


def test_chances_of_texts_include_the_end(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS[:2])
    flat = net.logprobs(ids, ["red", "31"])
    nested = net.logprobs(ids, [["red", "31"]] * 2, mask)
    assert torch.equal(flat, nested)
    answers = [[*net.words.ids(text), net.words.end] for text in ("red", "31")]
    assert torch.equal(flat, scored(net, net.embed(ids), mask, [answers] * 2))
    assert net.generate(ids, tokens=5) == net.generate(ids, mask, tokens=5)


def test_answers_that_cannot_be_scored_are_named(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    for choices in ([[[9]]] * 2, [[[]]] * 3, [[]] * 3):
        with pytest.raises(ValueError, match="as many lists of answers"):
            scored(net, net.embed(ids), mask, choices)


def test_a_cache_read_in_pieces_gives_what_one_reading_gives(net: Decoder) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    cache = Cache(net.shape, 3, ids.shape[1], net.embed(ids))
    with torch.no_grad():
        whole = net(ids, mask)
        parts = [net(ids[:, a:b], mask[:, a:b], cache=cache) for a, b in ((0, 4), (4, 9), (9, ids.shape[1]))]
    torch.testing.assert_close(torch.cat(parts, 1)[mask], whole[mask], atol=1e-4, rtol=0)


def test_a_row_of_padding_alone_is_finite(net: Decoder) -> None:
    ids = torch.full((2, 6), net.words.pad)
    mask = torch.tensor([[False] * 6, [True] * 6])
    assert net(ids, mask).isfinite().all()
