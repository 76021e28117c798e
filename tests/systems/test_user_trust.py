"""user_trust against its closed forms: rates, controls, worlds, claims, and what a run leaves behind."""

import dataclasses
import json

import numpy as np
import pytest
from pyarrow import parquet

from polymodal.metrics import reliance
from polymodal.metrics.people import trials
from polymodal.metrics.people.tables import COLUMNS, typed
from polymodal.runs import Run, read_result, report
from polymodal.systems.user_trust import data, method, recipe, worlds

SHORT = {"people": 60, "draws": 60, "study": True}
POOL = {
    name: [(int(k >= round(60 * rate)), rate, f"{name}-{k}") for k in range(60)]
    for name, rate in data.RATES.items()
}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    config = dataclasses.replace(recipe.tiny(), **SHORT)
    run = Run.create("user_trust", config, root=tmp_path_factory.mktemp("out"))
    recipe.run(config, run)
    return read_result(run.folder), run.folder


def measured(display, *, seed=1, mode="advise", n=100):
    rows = typed(worlds.trials(display, mode, n, 60, POOL, seed=seed))
    return rows, reliance(trials(rows), draws=40)


@pytest.mark.parametrize("display", ["none", "confidence", "explanation"])
def test_planted_rates_within_three_binomial_errors(display):
    rows, found = measured(display)
    expected = data.expected(display)
    initial, advice, truth = (rows[name] for name in ("initial", "advice", "truth"))
    n = {
        "rair": ((initial != truth) & (advice == truth)).sum(),
        "rsr": ((initial == truth) & (advice != truth)).sum(),
        "final accuracy": len(truth),
    }
    for name, count in n.items():
        error = np.sqrt(expected[name] * (1 - expected[name]) / count)
        assert abs(found[name].mean - expected[name]) <= 3 * error, name
    assert found["d'"].mean == pytest.approx(expected["d'"], abs=0.15)
    assert found["criterion"].mean == pytest.approx(expected["criterion"], abs=0.08)


def test_closed_forms_are_those_of_the_table():
    table = {
        "none": (0.5987, 0.5987, 0.7587), "confidence": (0.7734, 0.7734, 0.8295),
        "explanation": (0.7734, 0.4013, 0.7611),
    }  # fmt: skip
    for display, (rair, rsr, accuracy) in table.items():
        found = data.expected(display)
        assert [found["rair"], found["rsr"], found["final accuracy"]] == pytest.approx(
            [rair, rsr, accuracy], abs=5e-5
        )
    assert data.expected("card")["final accuracy"] == pytest.approx(0.8)
    assert data.expected("global")["final accuracy"] == pytest.approx(0.7375)
    assert data.expected("never")["final accuracy"] == 0.7


def test_a_card_of_equal_rates_gains_nothing():
    even = {name: [(int(k >= 45), 0.75, f"{name}-{k}") for k in range(60)] for name in data.RATES}
    rows = [worlds.trials(arm, "advise", 20, 60, even, seed=3) for arm in ("card", "global")]
    assert rows[0]["final"] == rows[1]["final"]


@pytest.mark.parametrize("mode", method.MODES)
def test_every_mode_gives_trials(mode):
    rows, found = measured("confidence", mode=mode, n=20)
    alone = mode in ("delegate", "share", "autonomous")
    assert all(x is None for x in rows["initial"]) == alone
    assert np.isnan(found["rair"].mean) == alone
    assert found["d'"].mean > 0
    asked = np.isfinite(rows["advice_correct"]).mean()
    assert asked == pytest.approx(0.6, abs=0.03) if mode == "query" else asked == 1
    vetoed = (rows["final"] != rows["advice"]) & (rows["relied"] == 1)
    assert not vetoed.any()


def test_abstaining_withholds_unsure_advice():
    rows, _ = measured("abstain", n=20)
    held = rows["capability"] == "text"
    assert all(x is None for x in rows["advice"][held])
    assert all(x is not None for x in rows["advice"][~held])


def test_the_advisor_is_right_exactly_as_often_as_planted(short):
    result, _ = short
    for name, rate in data.RATES.items():
        assert result.estimates[f"card, {name}: accuracy"].mean == pytest.approx(rate)
        assert result.estimates[f"card, {name}: confidence error"].mean == pytest.approx(0, abs=1e-9)


def test_controls_are_at_zero(short):
    found = short[0].estimates
    for name in ("blind: d'", "shuffled advice: d'", "attitude: d'"):
        assert found[name].low - 0.05 < 0 < found[name].high + 0.05, name
    equal = found["equal rates: card - global"]
    assert equal.mean == equal.low == equal.high == 0


def test_worlds_with_known_answers(short):
    found = short[0].estimates
    assert found["learning: up"].mean == pytest.approx(0.1, abs=0.01)
    assert found["learning: down"].mean == pytest.approx(0.3, abs=0.02)
    assert found["null study: pooled z rejects"].mean == pytest.approx(0.56, abs=0.03)
    assert found["null study: person-level rejects"].mean == pytest.approx(0.05, abs=0.015)
    assert found["straight lines: flagged"].mean == 1
    assert found["straight lines: false flags"].mean <= 0.02
    assert found["scale of 12: alpha"].mean == pytest.approx(0.837, abs=0.03)
    assert found["scale of 3: alpha"].mean == pytest.approx(0.75, abs=0.05)
    assert found["discordant trials an arm, .296 against .389"].mean == 405


def test_claims_and_words(short):
    result, _ = short
    verdicts = {claim["text"]: claim["verdict"] for claim in result.claims}
    assert len(verdicts) == 7
    for claim in list(verdicts)[1:6]:
        assert verdicts[claim] == "reproduced", claim
    notes = result.sections["notes"]
    assert "confidence: people discriminate." in notes
    assert result.sections["about"]["warning"] == recipe.LABEL


def test_attitude_without_behaviour_is_no_discrimination():
    from polymodal.metrics import Estimate
    from polymodal.metrics.people import discriminates

    found = {k: Estimate.from_json(v) for k, v in worlds.world("attitude", None, 200, seed=0).items()}
    assert discriminates(found["attitude: d'"]) == "no discrimination"
    assert found["attitude: trust and relying"].high < 0.5
    assert found["attitude: trust and propensity"].low > 0


def test_no_number_is_alone_and_rows_say_they_are_simulated(short):
    result, folder = short
    assert {one["role"] for one in result.sections["legend"].values()} == {"result", "baseline", "control"}
    assert [one.get("headline") for one in result.sections["legend"].values()].count(True) == 1
    for name, one in result.estimates.items():
        assert one.low <= one.mean <= one.high or one.reason, name
    table = parquet.read_table(folder / "trials.parquet")
    assert set(COLUMNS) <= set(table.column_names)
    assert set(table["source"].to_pylist()) == {"simulated"}
    assert table.num_rows == 4 * 60 * 60
    assert (report(folder)).exists()


def test_the_study_for_people_can_start(short):
    from polymodal.judge.people.study import load

    found = load(short[1] / "study.json")
    assert len(found.units) == 4 * 240
    unit = found.units["card/colour-000"].cases[0]
    assert unit.tags["advice"] in "ABCD"
    assert unit.messages[1].role == "assistant"
    assert "gets 95 % right" in unit.messages[1].parts[0].read()


def test_the_table_of_a_run_gives_the_same_numbers(short, tmp_path):
    result, folder = short
    config = dataclasses.replace(recipe.tiny(), data=str(folder / "trials.parquet"), draws=60)
    run = Run.create("user_trust", config, root=tmp_path)
    found = recipe.run(config, run)
    for name in ("none: rair", "card: d'", "explanation - none: d'"):
        assert found[name].mean == pytest.approx(result.estimates[name].mean), name
    assert read_result(run.folder).claims[0]["verdict"] == result.claims[0]["verdict"]


def test_two_runs_and_a_resumed_one_end_in_the_same_bytes(tmp_path, monkeypatch):
    config = dataclasses.replace(
        recipe.tiny(), people=4, trials=8, draws=10, displays=("none", "confidence", "card")
    )
    whole = Run.create("user_trust", config, root=tmp_path / "a")
    recipe.run(config, whole)
    cut = Run.create("user_trust", config, root=tmp_path / "a")
    folder = cut.folder
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "studied", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recipe.run(config, cut)
    cut.close()
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "ask_job", lambda *_: 1 / 0)  # nothing is asked twice
        recipe.run(config, Run.resume(folder, config=config))
    first, second = ((run / "result.json").read_bytes() for run in (whole.folder, folder))
    assert first == second


def test_a_study_s_export_gives_the_numbers_of_its_rows(short, tmp_path):
    from typer.testing import CliRunner

    from polymodal.cli.study import study as verbs
    from polymodal.judge.people.bots import simulate
    from polymodal.judge.people.store import Store
    from polymodal.judge.people.study import load
    from polymodal.judge.people.verdicts import trial_rows

    raw = json.loads((short[1] / "study.json").read_text(encoding="utf-8"))
    raw["units"] = raw["units"][:480:20]
    for unit in raw["units"]:
        for message in unit["messages"]:
            message["parts"] = [part for part in message["parts"] if isinstance(part, str)]
    (tmp_path / "study.json").write_text(json.dumps(raw), encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    store = Store(url, load(tmp_path / "study.json"))
    assert simulate(store, 6, seed=0, threads=1) > 0
    rows = trial_rows(store)
    store.close()
    done = CliRunner().invoke(verbs, ["export", str(tmp_path / "study.json"), "--db", url])
    assert done.exit_code == 0, done.output
    config = dataclasses.replace(recipe.tiny(), data=str(tmp_path / "export"), draws=20)
    run = Run.create("user_trust", config, root=tmp_path / "out")
    found = recipe.run(config, run)
    shown = [row for row in rows if row["display"] == "none"]
    wrong = [row for row in shown if row["initial"] != row["truth"] and row["advice"] == row["truth"]]
    assert found["none: rair"].mean == np.mean([row["final"] == row["truth"] for row in wrong])
    assert found["none: final accuracy"].mean == np.mean([row["final"] == row["truth"] for row in shown])
    warning = read_result(run.folder).sections["about"]["warning"]
    assert warning == f"{len(rows)} rows are of simulated raters, not human."


def test_a_run_in_another_mode_keeps_its_controls(tmp_path):
    config = dataclasses.replace(
        recipe.tiny(), mode="delegate", displays=("confidence",), people=8, trials=12, draws=10
    )
    found = recipe.run(config, Run.create("user_trust", config, root=tmp_path))
    assert "instead of answering" in found["confidence: rair"].reason
    assert found["confidence: d'"].n == 96
    assert found["equal rates: card - global"].mean == 0
    assert not np.isnan(found["shuffled advice: d'"].mean)


def given(tmp_path, rows, **options):
    file = tmp_path / "given.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    config = dataclasses.replace(recipe.tiny(), data=str(file), draws=20, **options)
    return recipe.run(config, Run.create("user_trust", config, root=tmp_path))


def test_codings_and_pairs(tmp_path):
    coded = [
        {"study": f"s{k}", "coder": c, "axis": "modes", "leaves": ["advise"] * ((k + lapse) % 2)}
        for k in range(20)
        for c, lapse in (("a", 0), ("b", int(k % 5 == 0)))
    ]
    found = given(tmp_path, coded)
    assert 0 < found["coding: modes/advise"].mean < 1
    pairs = [{"first": "x", "second": "y", "outcome": o} for o in (1, 1, 1, 0)]
    found = given(tmp_path, pairs, compat="elo_k4")
    assert found["x, Elo scale"].mean - found["y, Elo scale"].mean == pytest.approx(190.85, abs=5e-3)


def test_jian_s_one_sum_only_where_asked(tmp_path):
    rows = [
        {"rater": f"p{k}", "item": "end", "field": f"jian-{j + 1}", "value": 1 + (k * (j + 1)) % 7}
        for k in range(8)
        for j in range(12)
    ]
    assert "jian: composite" not in given(tmp_path, rows)
    assert "jian: composite" in given(tmp_path, rows, compat="jian_sum")


def test_a_target_that_never_answers_ends_the_run_in_words(tmp_path):
    config = dataclasses.replace(recipe.tiny(), target="scripted:advisor?invalid=1", draws=10)
    with pytest.raises(ValueError, match="no valid advice on 240 items"):
        recipe.run(config, Run.create("user_trust", config, root=tmp_path))


def test_words_beside_the_advice():
    reply = {"confidence": 0.5, "explanation": "because"}
    told = {name: method.shown(name, reply, {"colour": 0.9}, "colour") for name in recipe.full().displays}
    assert told["confidence"] == "The assistant says it is 50 % sure."
    assert told["explanation"] == "because"
    assert told["card"] == "Of questions on colour it gets 90 % right."
    assert told["abstain"]
    assert told["history"]
    assert told["none"] == told["highlight"] == ""


def test_replies_off_the_options_are_invalid():
    from polymodal.chat import Scripted

    def said(text):
        return method.advice(Scripted("s", lambda *_: text), "?", ["Red", "blue"], [], seed=0)[0]

    assert said('{"answer": " red", "confidence": 1}')["answer"] == "Red"
    assert said('{"answer": "green", "confidence": 1}')["reason"] == "out_of_scale"
    assert said('{"answer": "blue", "confidence": 7}')["reason"] == "unparsable"
    silent = said('{"answer": null, "confidence": 0.2}')
    assert silent["answer"] is None
    assert silent["reason"] == ""
