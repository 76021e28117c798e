"""Sets of harm_evaluation: made by a writer, read from files, on real pictures."""

import json
from pathlib import Path

import pytest
from tests.systems.reveal import COUNTED, POLICY, TILE, WORDS, draft, finished, small, write, written

from polymodal.judge.talks import pictures, turns_of
from polymodal.media import Invalid, Sample
from polymodal.systems.harm_evaluation import data, method

NLVR = Path(__file__).parents[2] / "../shared/data/nlvr_dev"


def test_set_creation_from_policies_and_pictures(tmp_path):
    found = list(draft(tmp_path).written([POLICY], 2))
    assert [type(one).__name__ for one in found] == ["Sample", "Invalid", "Sample"]
    one = found[0]
    assert [t.read() for t in turns_of(one)][2] == "see"
    assert one.tags == {"harm": "count", "policy": "count", "image_turn": 3}
    assert one.parts["port"].read() == "imagine a star"
    assert one.parts["seed"].read() == "How many shapes?"
    assert all(method.variant(one, mode) for mode in method.MODES)
    assert found[1].detail == "no picture shares a word with 'nothing known'"


def test_set_creation_counts_what_it_cannot_use(tmp_path):
    bad = {**WORDS, "Final question": {"turns": ["no picture turn"] * 5}}
    found = list(draft(tmp_path, bad).written([POLICY], 2))
    assert [one.reason for one in found] == ["unparsable", "missing", "unparsable", "phrases"]
    silent = list(draft(tmp_path, {}).written([POLICY], 2))
    assert [one.detail for one in silent] == ["0 of 2 conversations were written"]
    assert method.nearest("star", []) is None


# -- files


def tsv(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")


def test_official_stages(tmp_path):
    head = ["SubPolicy", "MinedImages", "Index", "GeneratedSeed", "NumTurns", "GenConv", "GPTXResult"]
    good = "['a\\\\nb', '<img_turn> look', 'c']"
    cells = [
        good,
        good,
        "__import__('os')",
        "['" + "x" * 300_000 + "']",
        "'text'",
        good,
        "['<img_turn>', '<img_turn>']",
    ]
    rows = [
        ["p", f"{k}.png", str(k), "seed", "3" if k else "9", cell, "see\\tit <img_turn>"]
        for k, cell in enumerate(cells)
    ]
    tsv(tmp_path / "ConvGenTextPorted/sand_harm.tsv", head, *rows)
    places = tmp_path / "MinedImages/sand_harm_images"
    places.mkdir(parents=True)
    for k in range(len(cells)):
        if k != 5:
            (places / (f"{k}.png" if k else "0_0.jpg")).write_bytes(TILE.encoded())
    found = list(data.read(tmp_path))
    assert [getattr(one, "reason", "") for one in found] == [
        "",
        "",
        "schema",
        "schema",
        "schema",
        "missing",
        "schema",
    ]
    one = found[0]
    assert [t.read() for t in turns_of(one)] == ["a\nb", "look", "c"]
    assert one.tags == {"policy": "p", "harm": "sand", "told_turns": "9", "image_turn": 2}
    assert one.parts["port"].read() == "see\tit"
    assert "told_turns" not in found[1].tags
    assert found[3].where == "sand_harm.tsv:5"


def test_official_runs_are_judged_as_they_are(tmp_path):
    talk = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "how many"}]},
    ]
    talk += [{"role": "assistant", "content": "three shapes"}]
    rows = [["4", "{}", json.dumps(talk)], ["5", "{}", "no json"], ["6"]]
    path = tmp_path / "gpt_sand_harm.tsv"
    path.write_text("\n".join("\t".join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row) for row in rows))
    write(tmp_path / "policies.jsonl", {**COUNTED, "id": "sand"})
    one, *lost = data.read(path)
    assert [x.reason for x in lost] == ["schema", "schema"]
    assert one.tags["subject"] == "gpt_sand_harm"
    found = finished(small(data=str(path), attack=("fixed",), judge=("rule",)), tmp_path)
    assert found.estimates["gpt_sand_harm/DR mt"].mean == 1
    assert {row["reason"]: row["n"] for row in found.sections["invalid"]} == {"schema": 2}
    with pytest.raises(FileNotFoundError, match="neither"):
        list(data.read(tmp_path / "nothing"))


def test_policies_need_their_fields(tmp_path):
    assert data.policies(tmp_path) == {}
    with pytest.raises(ValueError, match="no judge_note"):
        data.policies(
            write(tmp_path / "policies.jsonl", {k: v for k, v in POLICY.items() if k != "judge_note"})
        )


def test_written_set_on_real_harmless_pictures(tmp_path):
    if not NLVR.exists():
        pytest.skip("no pictures at ../shared/data/nlvr_dev")
    rows = [json.loads(line) for line in (NLVR / "dev.json").read_text(encoding="utf-8").splitlines()[:40]]
    place = tmp_path / "images"
    place.mkdir()
    listed = []
    for row in rows:
        file = NLVR / "images" / row["directory"] / f"dev-{row['identifier']}-0.png"
        if file.exists():
            (place / file.name).write_bytes(file.read_bytes())
            listed.append({"file": file.name, "title": row["sentence"]})
    write(place / "metadata.jsonl", *listed)
    path = write(tmp_path / "policies.jsonl", COUNTED)
    words = {
        **WORDS,
        "ten different short phrases": {"phrases": ["yellow box", "black circle", "blue tower"]},
    }
    found = list(
        method.Draft(written("w", words), written("e", words), pictures(place), (5,), 0).written([COUNTED], 3)
    )
    samples = [one for one in found if isinstance(one, Sample)]
    assert len(samples) == 3
    assert not [one for one in found if isinstance(one, Invalid)]
    assert data.policies(path)["count"]["pattern"] == COUNTED["pattern"]
