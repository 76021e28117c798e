"""Files that are cut off, lie, or point elsewhere are refused by name; nothing is loaded."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.nn.weights.models import TEXT, decoder, saved

from polymodal.nn.weights import WeightsError, read_checkpoint
from polymodal.nn.weights.headers import Entry, rows, whole


def raw(folder: Path, header: Any, body: bytes = b"", length: int | None = None) -> Path:
    """A checkpoint folder whose one file is built by hand."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = struct.pack("<Q", len(head) if length is None else length)
    (folder / "model.safetensors").write_bytes(size + head + body)
    return folder


def tensor(start: int, stop: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    shape = [(stop - start) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_reads_what_the_library_wrote(tmp_path: Path) -> None:
    state = decoder(0)
    one, many = (read_checkpoint(saved(tmp_path / str(n), state, shards=n)) for n in (1, 3))
    for name, value in state.items():
        for model in (one, many):
            entry = model.entries[name]
            assert (entry.dtype, entry.shape) == ("F32", tuple(value.shape))
            assert model.raw(name) == value.numpy().tobytes()
    assert len(many.files) == 3
    assert one.config == TEXT


@pytest.mark.parametrize(
    ("header", "body", "length", "says"),
    [
        (b"", b"", None, "header of 0 bytes"),
        (b"{}", b"", 1 << 40, "cut off or no safetensors"),
        (b"{]", b"", None, "cannot be read"),
        (b'{"a": 1}', b"", None, "cannot be read"),
        (b'{"a": {}, "a": {}}', b"", None, "stands twice"),
        ({"a": tensor(0, 8)}, b"1234", None, "cut off"),
        ({"a": tensor(0, 8)}, b"0" * 12, None, "longer than its header says"),
        ({"a": tensor(0, 8), "b": tensor(4, 12)}, b"0" * 12, None, "overlaps"),
        ({"a": tensor(4, 8)}, b"0" * 8, None, "leaves a gap"),
        ({"a": tensor(0, 8, [3])}, b"0" * 8, None, r"8 bytes for shape \[3\]"),
        ({"a": tensor(0, 8, dtype="Q4")}, b"0" * 8, None, "unknown type Q4"),
        ({"a": tensor(0, 8, [-1, -2])}, b"0" * 8, None, "counts"),
    ],
)
def test_broken_files_are_named(
    tmp_path: Path, header: Any, body: bytes, length: int | None, says: str
) -> None:
    with pytest.raises(WeightsError, match=says) as error:
        read_checkpoint(raw(tmp_path / "m", header, body, length))
    assert "model.safetensors" in str(error.value)


def test_a_shard_cut_off_is_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", decoder(0), shards=2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"00002-of-00002.safetensors: cut off"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("gone.safetensors", "which is not there"),
        ("../x.safetensors", "no safetensors file of its folder"),
        ("/x.safetensors", "no safetensors file of its folder"),
        ("x.bin", "no safetensors file of its folder"),
    ],
)
def test_an_index_names_files_of_its_folder(tmp_path: Path, file: str, says: str) -> None:
    folder = saved(tmp_path / "m", decoder(0), shards=2)
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"]["model.norm.weight"] = file
    index.write_text(json.dumps(table))
    with pytest.raises(WeightsError, match=says):
        read_checkpoint(folder)


def test_an_index_that_promises_too_much(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", decoder(0), shards=2)
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"]["more"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(table))
    with pytest.raises(WeightsError, match="promises more"):
        read_checkpoint(folder)
    index.write_text("[]")
    with pytest.raises(WeightsError, match="a list where an object"):
        read_checkpoint(folder)
    index.write_text("{}")
    with pytest.raises(WeightsError, match="no weight_map"):
        read_checkpoint(folder)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", decoder(0), shards=2)
    save_file(decoder(0), folder / "model-00002-of-00002.safetensors")
    with pytest.raises(WeightsError, match="is also in model-00001"):
        read_checkpoint(folder)


def test_other_formats_say_how_to_convert(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", decoder(0))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model.bin\). Convert them once"):
        read_checkpoint(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsError, match=r"neither model.safetensors nor"):
        read_checkpoint(folder)


def test_quantised_and_unconfigured(tmp_path: Path) -> None:
    four = saved(tmp_path / "q", decoder(0), TEXT | {"quantization_config": {"load_in_4bit": True}})
    with pytest.raises(WeightsError, match="full-precision checkpoint"):
        read_checkpoint(four)
    (four / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config.json: not JSON"):
        read_checkpoint(four)
    (four / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config.json is missing"):
        read_checkpoint(four)


def test_no_such_model() -> None:
    with pytest.raises(FileNotFoundError, match="give a folder, or a name on the hub"):
        read_checkpoint("local:nowhere/at_all")


def test_fingerprints_tell_contents_not_places(tmp_path: Path) -> None:
    a, b, c = (read_checkpoint(saved(tmp_path / n, decoder(s))) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_what_else_lies_in_a_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", decoder(0))
    for name in (
        "tokenizer.json",
        "pytorch_model.bin",
        "old/model.safetensors",
        ".git/x",
        "sub/a.txt",
        "README.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    model = read_checkpoint(folder)
    assert model.companions == ("config.json", "sub/a.txt", "tokenizer.json")
    assert model.unread == ("old/model.safetensors", "pytorch_model.bin")


def test_views_are_places_in_the_file() -> None:
    entry = Entry("t", "f", "BF16", (6, 4), 100, 148)
    assert list(whole(entry).places(3, 5)) == [(106, 110)]
    assert whole(entry).is_whole
    some = rows(entry, [(0, 1), (1, 2), (4, 6)])
    assert (some.shape, some.size, some.segments) == ((4, 4), 16, ((0, 8), (16, 24)))
    assert list(some.places(6, 10)) == [(112, 116), (132, 136)]
    assert not some.is_whole
    assert torch.empty(some.shape).numel() == some.size
