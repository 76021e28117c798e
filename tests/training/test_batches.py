"""Reading, counting, filling, encoding, padding, order."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.worlds import READERS, ready, told

from polymodal.media import MediaError, Sample, Series, Text
from polymodal.training import Statistics, Table, fingerprint
from polymodal.training.batches import Batch, batches, mean_loss, predict

TWO = ["c0", "c1"]
VALUES = {"x": lambda part: part.values()}


def table(rows: list[object], targets: list[str | float | None] | None = None, **options) -> Table:
    """Samples with one part `x`; None leaves it out."""
    targets = targets or [f"c{i % 2}" for i in range(len(rows))]
    samples = [
        Sample(id=f"s{i}", parts={} if row is None else {"x": Series(np.array(row, float))}, target=t)
        for i, (row, t) in enumerate(zip(rows, targets, strict=True))
    ]
    return Table.read(samples, VALUES, **options)


def failing(reason: str) -> Callable[[object], np.ndarray]:
    def reader(part: object) -> np.ndarray:
        raise MediaError(reason, "clip.wav", "no sound in it")

    return reader


def test_vectors_and_sequences_are_both_t_by_d() -> None:
    dense = table([[1, 2], [3, 4], [5, 7]]).columns["x"]
    assert dense.offsets is None
    assert dense.values.shape == (3, 1, 2)
    ragged = table([[[1, 2]], [[3, 4], [5, 6]], None, [[7, 8]]]).columns["x"]
    assert ragged.offsets.tolist() == [0, 1, 3, 3, 4]
    assert ragged.take([3, 1]).tolist() == [[7, 8], [3, 4], [5, 6]]
    assert ragged.lengths([0, 1, 2]).tolist() == [1, 2, 0]


def test_absent_parts_are_counted_with_their_reason() -> None:
    samples = told(4)
    samples[1] = replace(samples[1], parts={"text": samples[1].parts["text"]})
    read = Table.read(samples, READERS | {"text": failing("broken")})
    assert read.present.tolist() == [[False, True], [False, False], [False, True], [False, True]]
    assert read.absent == {"text": {"broken": 4}, "audio": {"not given": 1}}
    assert {"reason": "audio: not given", "n": 1, "first": "s1"} in read.invalid()
    assert len(read) == 4


def test_a_part_of_no_tokens_is_empty() -> None:
    read = Table.read(told(2), READERS | {"text": lambda part: np.zeros((0, 4))})
    assert read.absent["text"] == {"empty": 2}
    with pytest.raises(ValueError, match="'text': no train sample has it"):
        read.fit(range(2), classes=TWO)


def test_refuse_names_sample_part_and_reason() -> None:
    with pytest.raises(ValueError, match=r"'s0', part 'text': clip.wav: no sound in it"):
        Table.read(told(2), {"text": failing("broken")}, missing="refuse")
    with pytest.raises(ValueError, match="'s1', part 'x': not given"):
        table([[1, 2], None], missing="refuse")


def test_a_reader_s_own_error_is_not_swallowed() -> None:
    def wrong(part: object) -> np.ndarray:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        Table.read(told(1), {"text": wrong})


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2)), np.array(["a"]), np.zeros(2, bool), np.zeros((2, 2), bool)]
)
def test_readers_give_numbers_or_ids(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a reader gives numbers t x d or integer ids, got"):
        Table.read(told(1), {"text": lambda part: array})


def test_widths_of_one_part_agree() -> None:
    with pytest.raises(ValueError, match=r"'x': sample 's0' has float32 of width \(2,\), 's1' has .* \(3,\)"):
        table([[1, 2], [1, 2, 3]])


def test_cells_that_are_not_finite_become_the_train_mean() -> None:
    nan, inf = float("nan"), float("inf")
    rows = [[1, 10, 0], [3, nan, 1], [5, 30, 2], [nan, inf, 3], [nan, 1e300, 7]]
    read = table([*rows, [100, 100, 9]])
    assert read.absent["x"] == {"not finite": 2}  # two of three cells
    assert read.first["x"] == {"not finite": "s3"}
    assert read.masked["x"] == {"1": 1}
    made = read.ready(read.fit(range(3)))
    assert made.columns["x"].values[1, 0].tolist() == [3, 20, 1]
    assert made.statistics.mean["x"] == [3, 20, 1]
    assert made.statistics.sd["x"] == pytest.approx([np.std([1, 3, 5]), 10, np.std([0, 1, 2])])
    assert made.present[:, 0].tolist() == [True] * 3 + [False] * 2 + [True]


def test_half_of_the_cells_may_be_missing() -> None:
    nan = float("nan")
    read = table([[[1, nan], [nan, 2]], [[1, nan], [nan, nan]], [[3, 3], [4, 4]]])
    assert read.absent["x"] == {"not finite": 1}
    assert read.present[:, 0].tolist() == [True, False, True]


def test_constant_and_empty_columns_are_dropped_by_name_from_train_alone() -> None:
    files = [b"a,b,c,d,e\n" + row for row in (b"1,5,,1,0", b"2,5,,2,1", b"3,6,1,1,0")]
    parts = [{"x": Series(file, columns=tuple("abcde"))} for file in files]
    samples = [Sample(id=f"s{i}", parts=part, target="c0") for i, part in enumerate(parts)]
    read = Table.read(samples, VALUES)
    statistics = read.fit([0, 1], classes=TWO)
    assert statistics.dropped == {"x": ["b", "c"]}
    made = read.ready(statistics)
    assert made.columns["x"].names == ("a", "d", "e")
    assert made.width("x") == 3
    assert made.columns["x"].values[2, 0].tolist() == [3, 1, 0]
    whole = read.ready(read.fit([0, 1], classes=TWO, whole=["x"]))
    assert whole.width("x") == 5
    assert whole.columns["x"].values[:, 0, 2].tolist() == [0, 0, 1]


def test_a_part_without_a_varying_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="'x': none of its 2 columns varies on train"):
        table([[1, 2], [1, 2], [3, 4]]).fit([0, 1], classes=TWO)


def test_statistics_say_what_they_saw_and_survive_json() -> None:
    read = Table.read(told(20), READERS)
    statistics = read.fit(range(10))
    assert statistics.seen == fingerprint(f"s{i}" for i in range(10))
    assert Statistics.from_json(json.loads(json.dumps(statistics.to_json()))) == statistics
    scores = table([[1, 2], [3, 4]], [0.5, 1.5])
    again = Statistics.from_json(scores.fit([0, 1], task="scores").to_json())
    assert again.classes is None
    assert scores.ready(again).target.tolist() == [0.5, 1.5]


def test_unknown_parts_and_widths_are_named() -> None:
    statistics = table([[1, 2], [3, 4]]).fit([0, 1], classes=TWO)
    with pytest.raises(ValueError, match="'x': the statistics expect width 2, given 3"):
        table([[1, 2, 3]]).ready(statistics)
    with pytest.raises(ValueError, match=r"takes parts \['x'\], the table has \['text'\]: no \['x'\]"):
        Table.read(told(1), {"text": READERS["text"]}).ready(statistics)


def test_a_part_that_no_sample_has_stays_absent_at_prediction() -> None:
    statistics = table([[1, 2], [3, 4]]).fit([0, 1], classes=TWO)
    made = table([None, None], [None, None]).ready(statistics)
    assert not made.present.any()
    [batch] = batches(made, [0, 1], size=2, seed=0)
    assert batch.inputs["x"].shape == (2, 1, 2)
    assert not batch.masks["x"].any()
    assert made.excluded == {"no target": 2}


def test_classes_come_from_train_and_the_rest_is_counted() -> None:
    rows = [[i, -i] for i in range(8)]
    read = table(rows, ["a", "b", "a", "one", "late", "late", None, "b"])
    made = read.ready(read.fit(range(4)))
    assert made.statistics.classes == ("a", "b")
    assert made.target.tolist() == [0, 1, 0, -1, -1, -1, -1, 1]
    assert made.excluded == {
        "class 'one' has one member": 1,
        "class 'late' is unknown to train": 2,
        "no target": 1,
    }
    assert made.labelled(range(8)).tolist() == [0, 1, 2, 7]
    assert made.labels([7, 0]).tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="1 of 2 rows have no class"):
        made.labels([0, 3])
    given = read.ready(read.fit(range(4), classes=["late", "b"]))
    assert given.target.tolist() == [-1, 1, -1, -1, 0, 0, -1, 1]
    with pytest.raises(ValueError, match="train has 1 usable classes"):
        read.fit([0, 2])


def test_scores() -> None:
    read = table([[1, 2], [3, 4], [5, 6]], [0.5, None, float("nan")])
    made = read.ready(read.fit([0, 1], task="scores"))
    assert made.labelled(range(3)).tolist() == [0]
    assert made.excluded == {"no target": 2}
    assert made.labels([0]).tolist() == [0.5]


def test_targets_of_the_other_kind_show_five() -> None:
    scores = table([[i, 1 - i] for i in range(7)], [i / 2 for i in range(7)])
    with pytest.raises(ValueError, match=r"classes \(text\) were asked .* \[0.0, 0.5, 1.0, 1.5, 2.0\]"):
        scores.fit(range(7))
    names = table([[1, 2], [3, 4]], ["a", "b"])
    with pytest.raises(ValueError, match=r"scores \(numbers\) were asked for, 2 .* \['a', 'b'\]"):
        names.fit(range(2), task="scores")
    with pytest.raises(ValueError, match="classes"):
        table([[1, 2], [3, 4]], [0.1, 0.2]).ready(names.fit(range(2), classes=TWO))


def test_ids_are_padded_and_never_filled() -> None:
    samples = [Sample(id=t, parts={"t": Text(t)}, target="c0") for t in ("ab", "c", "dea")]
    read = Table.read(samples, {"t": lambda part: np.frombuffer(part.read().encode(), np.uint8)})
    made = read.ready(read.fit(range(3), classes=TWO))
    [batch] = batches(made, [2, 1], size=4, seed=0, shuffle=False, pool=1)
    assert batch.inputs["t"].tolist() == [[100, 101, 97], [99, 0, 0]]
    assert batch.masks["t"].tolist() == [[True] * 3, [True, False, False]]
    assert made.width("t") == 0
    with pytest.raises(ValueError, match="'t' is ids"):
        made.vectors("t")
    with pytest.raises(ValueError, match=r"expect width 0, given 2 \(0 is ids\)"):
        table([[1, 2]]).ready(replace(made.statistics, width={"x": 0}, kept={"x": []}))


def test_cache_reads_once_by_content() -> None:
    calls = []

    def reader(part: Series) -> np.ndarray:
        calls.append(part)
        return part.values()

    cache: dict[str, np.ndarray] = {}
    samples = [*told(3), *told(3)]
    first = Table.read(samples, {"text": reader}, cache=cache)
    again = Table.read(samples, {"text": reader}, cache=cache)
    assert len(calls) == len(cache) == 3
    assert np.array_equal(first.columns["text"].values, again.columns["text"].values)


@pytest.mark.parametrize("ragged", [False, True])
def test_batches_hold_each_row_once_with_its_own_values(ragged: bool) -> None:
    made = ready(50, ragged=ragged)
    made.present[7, 1] = False
    seen = []
    for batch in batches(made, range(50), size=8, seed=1):
        for i, row in enumerate(batch.rows.tolist()):
            seen.append(row)
            assert batch.target[i] == made.target[row]
            assert batch.present[i].tolist() == made.present[row].tolist()
            for j, name in enumerate(made.names):
                mask = batch.masks[name][i]
                here = made.present[row, j]
                assert mask.sum() == here * made.columns[name].lengths([row])[0]
                if here:
                    assert np.array_equal(batch.inputs[name][i][mask].numpy(), made.columns[name].take([row]))
    assert sorted(seen) == list(range(50))


@pytest.mark.parametrize("ragged", [False, True])
def test_order_is_fixed_by_seed_and_epoch(ragged: bool) -> None:
    made = ready(60, ragged=ragged)

    def order(**options) -> list[int]:
        return [row for batch in batches(made, range(60), size=7, **options) for row in batch.rows.tolist()]

    assert order(seed=0) == order(seed=0, epoch=0)
    assert len({tuple(order(seed=s, epoch=e)) for s in (0, 1) for e in (0, 1)}) == 4


def test_order_is_kept_when_not_shuffled() -> None:
    rows = [5, 3, 40, 2]
    found = [b.rows.tolist() for b in batches(ready(50), rows, size=3, seed=0, shuffle=False)]
    assert found == [[5, 3, 40], [2]]


def test_buckets_save_padding() -> None:
    made = ready(400, ragged=True)

    def waste(pool: int) -> float:
        masks = [b.masks["audio"] for b in batches(made, range(400), size=16, seed=0, pool=pool)]
        return 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    assert waste(50) < 0.1 < 0.3 < waste(1)


def test_empty_and_wrong_sizes() -> None:
    assert not list(batches(ready(10), [], size=4, seed=0))
    assert not list(batches(ready(10, ragged=True), [], size=4, seed=0))
    with pytest.raises(ValueError, match="at least one row, got size=0"):
        next(batches(ready(10), [1], size=0, seed=0))


def test_batch_moves_between_devices() -> None:
    [batch] = batches(ready(6), range(6), size=6, seed=0)
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert {x.device.type for x in (*moved.inputs.values(), *moved.masks.values(), moved.present)} == {"meta"}
    assert len(moved) == 6


def test_vectors_are_means_over_tokens() -> None:
    made = ready(30, ragged=True)
    made.present[3, 1] = False
    found = made.vectors("audio")
    assert found.shape == (30, 3)
    assert found[5] == pytest.approx(made.columns["audio"].take([5]).mean(0))
    assert found[3] == pytest.approx(made.statistics.mean["audio"])
    assert len(made) == 30
    made.present[:, 1] = False
    assert made.vectors("audio")[0] == pytest.approx(made.statistics.mean["audio"])


class First(torch.nn.Module):
    """Says the first column of each sample's first text token, plus a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: dict, masks: dict, present: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return inputs["text"][:, 0, 0] + self.weight


@pytest.mark.parametrize("ragged", [False, True])
def test_predict_answers_in_the_order_of_the_rows(ragged: bool) -> None:
    made, module = ready(40, ragged=ragged), First()
    rows = [30, 2, 17, 2, 9, 39]
    expected = made.columns["text"].values[rows, 0, 0]
    assert np.array_equal(predict(module, made, rows, size=2), expected)
    assert module.training

    def output(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return batch.rows[:, None].repeat(1, 2)

    assert predict(module, made, rows, output=output, size=4).tolist() == [[row, row] for row in rows]
    with pytest.raises(ValueError, match="no rows to predict"):
        predict(module, made, [])


def test_mean_loss_weighs_batches_by_size() -> None:
    made, module = ready(10), First()

    def loss(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return batch.rows.double().mean()

    assert mean_loss(module, made, range(10), loss, size=4) == pytest.approx(4.5)
    with pytest.raises(ValueError, match="no rows"):
        mean_loss(module, made, [], loss)
