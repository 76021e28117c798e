import collections
import functools
import importlib
import io
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from polymodal.media import MediaError, Sample, Series, Text
from polymodal.media.pickles import load, samples_of


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "set.pkl"
    path.write_bytes(content)
    return path


def same(a, b) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


PLAIN = {
    "text": "żółw \U0001f600",
    "bytes": b"\x00\xff" * 200,
    "numbers": [0, 1, 255, 70_000, -(2**40), 2**90, 1.5, -0.0, True, False, None, 2 + 1j],
    "nest": [
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        {},
        {"a": [{}]},
        {1, 2},
        frozenset({3}),
        set(),
        bytearray(b"ab"),
    ],
    7: {("a", 1): "tuple keys"},
}
ARRAYS = {
    "f8": np.arange(6.0).reshape(2, 3),
    "f4": np.arange(24, dtype=">f4").reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "i8": np.arange(300),
    "bool": np.array([True, False]),
    "text": np.array(["a", "bcd"]),
    "raw": np.array([b"a", b"bcd"]),
    "none": np.zeros((0, 4), np.float32),
    "one": np.array(3.0),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_arrays_come_back_at_every_protocol(tmp_path, protocol):
    shared = [1]
    content = {**PLAIN, **ARRAYS, "shared": [shared, shared]}
    found = load(stored(tmp_path, pickle.dumps(content, protocol)))
    expected = {**content, "nest": [*PLAIN["nest"][:-1], b"ab"]}
    assert same(found, expected)
    assert found["shared"][0] is found["shared"][1]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_scalars_and_the_other_dicts_become_plain(tmp_path, protocol):
    counted = collections.defaultdict(list, {"a": [1]})
    ordered = collections.OrderedDict([("b", 1), ("a", np.float32(0.5))])
    content = [counted, ordered, np.int64(4), np.str_("x"), np.array([1, None, "a"], object)]
    found = load(stored(tmp_path, pickle.dumps(content, protocol)))
    assert same(found, [{"a": [1]}, {"b": 1, "a": 0.5}, 4, "x", [1, None, "a"]])


def test_object_arrays_keep_their_shape_as_lists(tmp_path):
    cells = np.empty((2, 2), object)
    cells[0], cells[1, 0] = ["a", 1], np.arange(2)
    for order in (cells, np.asfortranarray(cells)):
        found = load(stored(tmp_path, pickle.dumps(order)))
        assert found[0] == ["a", 1]
        assert same(found[1], [np.arange(2), None])


@pytest.mark.parametrize(
    ("old", "new"), [(b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")]
)
def test_arrays_of_older_and_newer_numpy_are_read(tmp_path, old, new):
    raw = pickle.dumps(np.arange(3), 2).replace(old, new)
    assert same(load(stored(tmp_path, raw)), np.arange(3))


def test_python_2_text_and_arrays_are_read_as_latin_1(tmp_path):
    raw = (
        b"}q\x00(U\x03keyq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02(cnumpy\nndarray\nq\x03K\x00\x85U\x01bt"
        b"q\x04Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06(U\x02f4K\x00K\x01tRq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + struct.pack("<2f", 1.5, -2) + b"tbu."
    )
    assert pickle.loads(b"\x80\x02" + raw, encoding="latin1")["key"].tolist() == [1.5, -2]
    assert same(load(stored(tmp_path, b"\x80\x02" + raw)), {"key": np.array([1.5, -2], "<f4")})
    assert load(stored(tmp_path, b"S'caf\\xe9'\n.")) == "caf\xe9"


class Calling:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.fixture
def trap(tmp_path):
    """A file that any of the attacks below would make."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists()


ATTACKS = {
    "posix.system": lambda trap: Calling(os.system, f"touch {trap}"),
    "builtins.eval": lambda trap: Calling(eval, f"open({str(trap)!r}, 'w')"),
    "builtins.getattr": lambda trap: Calling(getattr, "", "upper"),
    "functools.partial": lambda trap: Calling(functools.partial, open, str(trap), "w"),
    "importlib.import_module": lambda trap: Calling(importlib.import_module, "antigravity"),
    "io.open": lambda trap: Calling(io.open, str(trap), "w"),
    "pathlib.PosixPath": lambda trap: trap,
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_by_name_wherever_it_hides(tmp_path, trap, name, protocol):
    bad = ATTACKS[name](trap)
    cells = np.empty(2, object)
    cells[:] = [1, bad]
    for content in (bad, {"train": {"id": [bad]}}, (1, [bad]), cells, Calling(set, [Calling(set, [bad])])):
        with pytest.raises(MediaError) as caught:
            load(stored(tmp_path, pickle.dumps(content, protocol)))
        assert caught.value.reason == "unsupported"
        assert name.removeprefix("io.") in str(caught.value)
        assert str(tmp_path) in str(caught.value)


NAMED = b"\x8c\x08builtins\x8c\x04list\x93"  # a name on the list, as a value on the stack
REFUSED = {
    "os.system": b"cos\nsystem\n(S'true'\ntR.",
    "numpy.load": b"cnumpy\nload\n(S'x'\ntR.",
    "builtins.getattr": b"(S'x'\nibuiltins\ngetattr\n.",
    "numpy.core.multiarray.fromfile": b"cnumpy.core.multiarray\nfromfile\n.",
    "numpy.ndarray": b"cnumpy\nndarray\n(I1000\ntR.",  # a call: it would take memory
    "collections.OrderedDict.fromkeys": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.",
    "builtins.list": b"\x80\x04" + NAMED + b"}\x8c\x01a\x8c\x01bsb.",  # state set on a class
    "builtins.int": b"c__builtin__\nint\n(S'1'\ntR.".replace(b"__builtin__", b"builtins"),
    "a call of str": b"S'abc'\n(tR.",
    "builtins.tuple as a value": b"cbuiltins\ntuple\n.",
    "items put into a builtins.list": b"cbuiltins\nlist\nI1\na.",
    "items put into a tuple": b")I1\na.",
    "items put into a list": b"](I1\nI2\nu.",
    "members": b"\x80\x04](I1\n\x90.",
    "a key that is or holds a list": b"}]I1\ns.",
    "a key that is or holds a tuple": b"\x80\x04\x8f())\x86\x85\x90.",
    "PERSID": b"Px\n.",
    "BINPERSID": b"I1\nQ.",
    "EXT1": b"\x80\x02\x82\x01.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "NEWOBJ_EX": b"\x80\x04))}\x92.",
    "a state set on a dict": b"}}b.",
    "numpy.dtype 'M8'": pickle.dumps(np.zeros(1, "M8[ns]"), 2),
    "a state set on a type": pickle.dumps(np.zeros(1, [("a", "f4")]), 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_and_instructions_off_the_list_are_refused(tmp_path, name):
    with pytest.raises(MediaError) as caught:
        load(stored(tmp_path, REFUSED[name]))
    assert caught.value.reason == "unsupported"
    assert (name if name != "members" else "items put into a list") in str(caught.value)


def forged(shape: bytes, code: bytes = b"f8", data: bytes = b"\x00" * 16) -> bytes:
    return (
        b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nI0\n\x85C\x01btR(I1\n"
        + shape
        + b"cnumpy\ndtype\n(\x8c"
        + bytes([len(code)])
        + code
        + b"\x89\x88tR(I3\n\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffI0\ntb\x89C"
        + bytes([len(data)])
        + data
        + b"tb."
    )


def test_the_forger_of_the_next_tests_can_write_a_right_array(tmp_path):
    assert same(load(stored(tmp_path, forged(b"I2\n\x85"))), np.zeros(2))


@pytest.mark.parametrize(
    "content",
    [
        forged(b"I1000000000000\n\x85"),
        forged(b"I4294967296\nI4294967296\n\x86"),
        forged(b"I-2\nI-1\n\x86"),
        forged(b"I2\n"),
        forged(b"I2\n\x85", b"U999999999"),
        forged(b"I2\n\x85", b"O8"),
        b"\x80\x04\x8e" + struct.pack("<Q", 10**13) + b"abc.",
        b"\x80\x04B" + struct.pack("<I", 2**31) + b"abc.",
        b"\x80\x04]r\xff\xff\xff\xffh\x00.",
        b"\x80\x04K\x01",
        b"\x80\x04h\x07.",
        b"\xff\xfe\x00\x01",
        b"Inot a number\n.",
        b"a.",
        b"u.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
        b"]" * 200_000 + b"a" * 199_999 + b".",
        b"]\x94h\x00a.".replace(b"\x94", b"q\x00"),
        b"(]q\x00h\x00a.",
        b"]q\x00h\x00ah\x00.",
    ],
)
def test_lies_and_damage_are_broken_and_take_no_memory(tmp_path, content):
    with pytest.raises(MediaError) as caught:
        load(stored(tmp_path, content))
    assert caught.value.reason in ("broken", "too_large")


def test_nothing_doubles_without_end(tmp_path):
    bomb = b"\x80\x04]" + b"2\x86" * 60 + b"."
    found = load(stored(tmp_path, bomb))
    for _ in range(60):
        assert found[0] is found[1]
        found = found[0]


def test_damaged_pickles_end_in_an_error_of_ours(tmp_path):
    whole = pickle.dumps({**PLAIN, **ARRAYS}, 4)
    rng = np.random.default_rng(0)
    for _ in range(400):
        content = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 6)):
            content[at] = rng.integers(256)
        if rng.random() < 0.2:
            del content[int(rng.integers(len(content))) :]
        with suppress(MediaError):
            load(stored(tmp_path, bytes(content)))


def test_size_is_bounded_and_a_missing_file_says_so(tmp_path):
    path = stored(tmp_path, pickle.dumps(list(range(100))))
    with pytest.raises(MediaError, match="the limit is 10"):
        load(path, limit=10)
    with pytest.raises(MediaError, match="no such file"):
        load(tmp_path / "none.pkl")
    with pytest.raises(MediaError, match="0 bytes"):
        load(stored(tmp_path, b""))


def mmsa(n: int = 3) -> dict:
    rng = np.random.default_rng(0)
    return {
        "raw_text": np.array([f"sentence {row}" for row in range(n)], object),
        "text": rng.normal(size=(n, 5, 4)).astype(np.float32),
        "audio": rng.normal(size=(n, 6, 2)),
        "vision": rng.normal(size=(n, 6, 3)),
        "audio_lengths": [6, 2, 0],
        "vision_lengths": np.array([1, 6, 6]),
        "id": [f"film{row // 2}$_${row}" for row in range(n)],
        "regression_labels": np.array([-1.5, 2, np.nan], np.float32),
        "annotations": ["Negative", "Positive", "Neutral"],
    }


def test_mmsa_sets_become_samples_cut_at_their_lengths(tmp_path):
    content = {"train": mmsa(), "valid": mmsa(), "test": mmsa()}
    path = stored(tmp_path, pickle.dumps(content, 4))
    samples = list(samples_of(load(path)))
    assert [sample.tags["split"] for sample in samples] == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    first, second, third = samples[:3]
    assert isinstance(first, Sample)
    assert (first.id, first.group, first.target) == ("film0$_$0", "film0", -1.5)
    assert third.group == "film1"
    assert third.target is None
    assert isinstance(first.parts["words"], Text)
    assert first.parts["words"].read() == "sentence 0"
    shapes = {name: part.values().shape for name, part in second.parts.items() if isinstance(part, Series)}
    assert shapes == {"text": (5, 4), "audio": (2, 2), "video": (6, 3)}
    assert "audio" not in third.parts
    assert np.array_equal(first.parts["video"].values(), content["train"]["vision"][0][:1])


def test_mmsa_classes_serve_where_there_are_no_scores(tmp_path):
    table = mmsa()
    del table["regression_labels"], table["raw_text"]
    del table["annotations"]
    table["classification_labels"] = np.array([0, 2, 1])
    table["id"] = ["a", "b", "c"]
    samples = list(samples_of(load(stored(tmp_path, pickle.dumps({"test": table})))))
    assert [sample.target for sample in samples] == ["0", "2", "1"]
    assert [sample.group for sample in samples] == [None] * 3


def dialogues() -> tuple:
    vids = {"Ses01F_impro01": 2, "Ses05M_script01": 1, "friends_7": 1}
    one = {vid: [np.arange(4.0) + row for row in range(n)] for vid, n in vids.items()}
    return (
        {vid: [f"{vid}_F{row:03d}" for row in range(n)] for vid, n in vids.items()},
        {vid: ["M", "F"][:n] for vid, n in vids.items()},
        {vid: [5, 0][:n] for vid, n in vids.items()},
        one,
        {**one, "friends_7": []},
        {vid: np.stack(rows) for vid, rows in one.items()},
        {vid: ["hello", "you"][:n] for vid, n in vids.items()},
        ["Ses01F_impro01"],
        {"Ses05M_script01"},
    )


def test_dialogue_sets_become_samples_grouped_by_speaker(tmp_path):
    samples = list(samples_of(load(stored(tmp_path, pickle.dumps(dialogues(), 2)))))
    assert [sample.group for sample in samples] == ["1M", "1F", "5M", "friends_7:M"]
    assert [sample.tags.get("split") for sample in samples] == ["train", "train", "test", None]
    assert [sample.target for sample in samples] == ["5", "0", "5", "5"]
    assert samples[1].id == "Ses01F_impro01_F001"
    assert samples[1].parts["audio"].values().tolist() == [[1, 2, 3, 4]]
    assert "audio" not in samples[3].parts


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "neither MMSA's nor IEMOCAP_features' layout: list"),
        ({"epoch": 3, "state_dict": {}}, "epoch"),
        ({"train": {"text": [1]}}, "`id` and columns"),
        ({"train": {"id": ["a"], "text": [[1], [2]]}}, "'text': 2"),
        ({"train": {"id": ["a"], "text": [["word"]]}}, "text.*not a readable array of numbers"),
    ],
)
def test_other_layouts_are_named(content, said):
    with pytest.raises(MediaError, match=said):
        list(samples_of(content))


def test_dialogues_of_unequal_columns_are_named():
    content = dialogues()
    content[3]["Ses01F_impro01"].pop()
    with pytest.raises(MediaError, match=r"Ses01F_impro01.*\[1, 2\]"):
        list(samples_of(content))
