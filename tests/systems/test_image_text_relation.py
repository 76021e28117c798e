"""The tiny run against its closed forms; rates, biases, refusals; failures, resume; people's files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from polymodal.chat import ChatError, Reply, Scripted, Usage, assistant
from polymodal.envs import posters
from polymodal.judge import Case, call_seed
from polymodal.media import Image
from polymodal.runs import Run, read_result
from polymodal.systems import probes
from polymodal.systems.image_text_relation import data, method, recipe

NLVR = Path(__file__).parents[2] / "../shared/data/nlvr_dev"


def ran(root, **options):
    config = replace(recipe.tiny(), **options)
    run = Run.create("image_text_relation", config, root=root)
    recipe.run(config, run)
    return read_result(run.folder), run.folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("out"), arm="chat")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("out"), arm="trained", steps=300)


def near(estimate, value, sigmas=3):
    return abs(estimate.mean - value) <= sigmas * np.sqrt(value * (1 - value) / estimate.n) + 1e-9


def test_every_figure_with_a_closed_form_is_near_it(tiny):
    result, _ = tiny
    known = {name: row["expected"] for name, row in result.sections["legend"].items() if row.get("expected")}
    rates = {name: value for name, value in known.items() if "flattery" not in name}
    assert len(rates) == 1 + 27 + 4
    assert not [name for name, value in rates.items() if not near(result.estimates[name], value)]


def test_text_alone_and_picture_alone_are_at_chance(tiny):
    for probe in ("text alone", "picture alone", "swapped", "blank"):
        assert near(tiny[0].estimates[f"probe/{probe}"], 0.25)
    for baseline in ("majority", "char n-grams"):
        assert near(tiny[0].estimates[baseline], 0.25)


def test_languages_in_pairs(tiny):
    estimates = tiny[0].estimates
    assert estimates["lv - en"].mean == 0
    assert estimates["lv - en-mt"].mean == pytest.approx(0.0887, abs=0.045)
    assert estimates["lv - en-mt"].p < 0.05
    assert estimates["macro-F1, lv - en-mt"].low > 0


def test_form_changes_nothing_for_an_honest_subject(tiny):
    estimates = tiny[0].estimates
    assert estimates["probe/yes-bias by negation"].mean == 0
    assert estimates["probe/orders in the text obeyed"].mean == 0
    assert estimates["probe/same with options in another order"].mean == 1
    assert estimates["two questions - one"].mean == 0


def test_flattery_is_as_expected(tiny):
    found = tiny[0].estimates["flattery, skewed - balanced set"]
    assert found.mean == pytest.approx(0.105, abs=0.045)
    assert tiny[0].estimates["flattery/balanced set"].mean == pytest.approx(0, abs=1e-9)


def test_claims_of_the_tiny_run(tiny):
    verdicts = [claim["verdict"] for claim in tiny[0].claims]
    assert verdicts == [
        "undetermined",
        "reproduced",
        "reproduced",
        "reproduced",
        "undetermined",
        "undetermined",
    ]


def test_calibrated_by_its_own_rates(tiny):
    for question in method.QUESTIONS:
        assert tiny[0].estimates[f"ECE of {question}"].mean < 0.05


def test_what_a_run_leaves_behind(tiny):
    result, folder = tiny
    answers = pq.read_table(folder / "answers.parquet").to_pylist()
    assert len(answers) == sum(400 * n for n in (3 * 2 * 3, 2 * 7 + 2))
    assert {
        "subject",
        "id",
        "language",
        "prompt",
        "question",
        "reply",
        "parsed",
        "p_yes",
        "reason",
    } <= answers[0].keys()
    with (folder / "relations.csv").open() as lines:
        relations = list(csv.DictReader(lines))
    assert list(relations[0]) == ["id", "p_adds", "p_represented", "class"]
    assert len(relations) == 400
    with (folder / "benchmark" / "ids.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 1200
    assert {"about", "legend", "cost", "tables", "disagreements"} <= result.sections.keys()
    assert "warning" not in result.sections["about"]
    assert [table["title"] for table in result.sections["tables"]] == ["Answers", "Translations"]
    headlines = [name for name, row in result.sections["legend"].items() if row.get("headline")]
    assert headlines == ["accuracy"]
    assert {row["role"] for row in result.sections["legend"].values()} == {"result", "baseline", "control"}


def test_trained_arms_reach_what_their_form_allows(trained):
    estimates = trained[0].estimates
    for name in ("only:text", "only:image", "shuffle:image:both"):
        assert estimates[f"trained/{name}"].mean == pytest.approx(0.25, abs=0.04)
    assert estimates["trained/additive"].mean < 0.35
    assert estimates["trained/lowrank"].mean > estimates["trained/concat"].mean > 0.35
    assert estimates["trained/overlap features"].mean >= 0.97
    assert trained[0].claims[4]["verdict"] == "reproduced"


def test_the_trained_model_predicts(trained):
    from polymodal.media import Sample, Series

    posts = data.planted(20, ("en",), seed=9)
    x = data.concepts(posts, seed=9)
    samples = [Sample(p.id, {name: Series(x[name][i]) for name in x}) for i, p in enumerate(posts)]
    rows = list(recipe.predict(trained[1] / "model", samples))
    assert [row["id"] for row in rows] == [post.id for post in posts]
    assert {row["prediction"] for row in rows} <= {*"0123"}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A run of one subject in one language, without the baselines that `tiny` has looked at."""
    monkeypatch.setattr(recipe, "flattery", lambda *_: None)

    def run(prior=False, **options):
        if not prior:
            monkeypatch.setattr(probes, "prior", lambda *_: None)
        chosen = {"arm": "chat", "n": 120, "languages": ("lv",), "target": ("scripted:relation",)} | options
        return ran(tmp_path / "small", **chosen)

    return run


def test_yes_bias_is_found_by_negation(small):
    result, _ = small(target=("scripted:relation?bias=.2",), n=500)
    assert result.estimates["probe/yes-bias by negation"].mean == pytest.approx(0.2, abs=0.03)
    assert near(result.estimates["accuracy"], 0.7342)


def test_refusals_are_counted_and_bounded(small):
    result, _ = small(target=("scripted:relation?refuse=.2",), n=400)
    assert near(result.estimates["coverage"], 0.64)
    assert near(result.estimates["accuracy"], 0.64 * 0.895)
    assert near(result.estimates["accuracy on answered"], 0.895, 4)
    bounds = result.estimates["accuracy, invalid right or wrong"]
    assert bounds.low == pytest.approx(result.estimates["accuracy"].mean)
    assert bounds.high == pytest.approx(bounds.low + 1 - result.estimates["coverage"].mean)
    assert {row["reason"] for row in result.sections["invalid"]} == {"refused"}


def test_a_subject_without_the_language_is_at_chance_on_signs(small):
    options = {"languages": ("lv", "en"), "target": ("scripted:relation?translate=false",), "n": 400}
    estimates = small(**options)[0].estimates
    assert near(estimates["en/relation?translate=false, adds"], 0.5)
    assert near(estimates["en/relation?translate=false"], 0.9467 / 2)
    assert near(estimates["lv/relation?translate=false"], 0.895)


def test_a_text_prior_is_reported_first_where_it_wins(small):
    blind = "scripted:relation?see=.0625&read=.0833"
    result, _ = small(prior=True, data="planted?prior=.9", target=(blind,), n=200)
    assert result.estimates["char n-grams"].mean > result.estimates["accuracy"].mean
    assert "does not beat" in result.sections["about"]["warning"]
    assert result.claims[3]["verdict"] != "reproduced"


@pytest.mark.parametrize(
    "options",
    [{"decide": "four"}, {"protocol": "chat"}, {"decide": "logit"}, {"decide": "logit", "threshold": "tuned"},
     {"order": "picture"}, {"shots": 4}, {"prompt": "en"}],
)  # fmt: skip
def test_protocols_agree_for_an_honest_subject(small, options):
    result, _ = small(**options)
    assert near(result.estimates["accuracy"], 0.895)


def test_compat_takes_refusals_for_no(small):
    result, _ = small(target=("scripted:relation?refuse=.3",), protocol="compat")
    assert result.estimates["coverage"].mean == 1


def test_logit_without_probabilities_says_so(small):
    with pytest.raises(ValueError, match="gives no log-probabilities"):
        small(target=("scripted:say?text=yes",), decide="logit")


def test_a_constant_subject_is_visible_at_once(small):
    result, _ = small(target=("scripted:say?text=Yes.",), prompt="en")
    assert result.estimates["accuracy"].mean == pytest.approx(0.25)
    assert result.estimates["Cohen kappa"].mean == 0
    assert result.estimates["probe/yes-bias by negation"].mean == 1
    (table,) = [one for one in result.sections["tables"] if one["title"] == "Answers"]
    yes = table["columns"].index("yes")
    assert {row[yes] for row in table["rows"] if row[2] == "adds"} == {120}


def test_a_prompt_language_without_words_is_refused(small):
    with pytest.raises(ValueError, match="no prompts in 'et'"):
        small(prompt="et")


def flaky(die_at=None):
    """A paid model that answers as the observer does, fails often, and can be killed on the way."""
    observer, asked = posters.observer(method.understood), []

    def answer(messages, seed):
        asked.append(seed)
        if die_at is not None and len(asked) == die_at:
            raise KeyboardInterrupt
        if seed % 7 == 0:
            raise ChatError("server", "500", Usage(retries=3))
        reply = observer(*messages, seed=seed)
        return Reply(
            assistant("" if seed % 11 == 0 else reply.text), Usage(calls=1, tokens_in=9, tokens_out=1)
        )

    return Scripted("flaky", answer), asked


def test_a_killed_run_is_taken_up_without_asking_twice(tmp_path, monkeypatch):
    from polymodal.chat import connect as plain
    from polymodal.chat.cached import cached
    from polymodal.systems import reply

    monkeypatch.setattr(reply, "THREADS", 1)
    monkeypatch.setattr(recipe, "flattery", lambda *_: None)
    monkeypatch.setattr(probes, "prior", lambda *_: None)
    config = replace(
        recipe.tiny(), arm="chat", n=40, languages=("lv",), target=("openai:stub@http://127.0.0.1:1",)
    )

    def with_model(model):
        def connect(spec, **options):
            return plain(spec, **options) if spec.startswith("scripted") else cached(model, options["store"])

        monkeypatch.setattr(reply, "connect", connect)

    whole, asked = flaky()
    with_model(whole)
    run = Run.create("image_text_relation", config, root=tmp_path / "a")
    recipe.run(config, run)
    once = len(asked)

    killed, before = flaky(die_at=300)
    with_model(killed)
    run = Run.create("image_text_relation", config, root=tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        recipe.run(config, run)
    run.close()
    again, after = flaky()
    with_model(again)
    run = Run.resume(run.folder, config=config)
    recipe.run(config, run)
    first, second = (tmp_path / "a" / f"image_text_relation-{i}" / "result.json" for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    failed = sum(seed % 7 == 0 for seed in before[:-1])
    assert len(before) - 1 + len(after) == once + failed  # failures are not kept, all else is asked once
    result = json.loads(first.read_text())
    reasons = {row["reason"] for row in result["sections"]["invalid"]}
    assert reasons == {"server", "no_output"}
    assert result["estimates"]["best subject"]["n"] == 40


def test_executors_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "flattery", lambda *_: None)
    monkeypatch.setattr(probes, "prior", lambda *_: None)
    monkeypatch.setattr(recipe, "CHUNK", 8)
    config = replace(recipe.tiny(), arm="chat", n=16, languages=("lv",), target=("scripted:relation",))
    texts = []
    for executor in ("inline", "process"):
        run = Run.create("image_text_relation", config, root=tmp_path / executor)
        run.executor = executor
        recipe.run(config, run)
        texts.append((run.folder / "result.json").read_bytes())
    assert texts[0] == texts[1]


def own(folder, n=80):
    """A polymodal folder of planted posts in two languages."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for post in data.planted(n, ("lv", "en"), seed=5):
        image = f"images/{post.tags['pair']}.png"
        (folder / image).write_bytes(post.parts["image"].encoded())
        row = {"id": post.id, "group": post.group, "text": post.parts["text"].read(), "image": image}
        tags = {"language": post.tags["language"], "pair": post.tags["pair"]}
        lines.append(json.dumps(row | {"target": post.target, "tags": tags}))
    lines.append(json.dumps({"id": "gone", "text": "hello", "image": "images/none.png", "target": "1"}))
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_person_s_folder_in_two_languages(small, tmp_path, monkeypatch):
    from polymodal.systems.image_text_relation import readers

    monkeypatch.setattr(
        readers, "distinct", lambda posts: (list(posts), [])
    )  # planted texts repeat themselves
    result, folder = small(data=str(own(tmp_path / "own")), languages=("lv", "en"), n=60)
    assert result.estimates["accuracy"].n == 60
    assert result.estimates["accuracy"].mean > 0.7
    with (folder / "benchmark" / "ids.csv").open() as lines:
        ids = [row["id"] for row in csv.DictReader(lines)]
    assert len(ids) == 120
    assert result.estimates["lv - en"].n == 60


def test_posts_are_distinct_and_read_signs_help(small, monkeypatch):
    heard = []

    def listener():
        observer = posters.observer(method.understood)

        def answer(messages, seed):
            heard.append("salasāmie" in messages[-1].parts[-1].read())
            return observer(*messages, seed=seed)

        return Scripted("listener", answer)

    monkeypatch.setitem(recipe.SCRIPTS, "listener", listener)
    monkeypatch.setattr(recipe, "read_all", lambda posts: {post.id: "zupa" for post in posts})
    small(target=("scripted:listener",), read="ocr", n=8)
    assert np.mean(heard) > 0.5


@pytest.mark.skipif(not NLVR.is_dir(), reason="shared/data/nlvr_dev is not here")
def test_nlvr_asks_whether_the_sentence_is_represented(small):
    seen = []

    def looker():
        def answer(messages, seed):
            image = next((part for part in messages[-1].parts if isinstance(part, Image)), None)
            seen.append(image is not None and image.size() > (90, 90))
            return "yes"

        return Scripted("looker", answer)

    recipe.SCRIPTS["looker"] = looker
    try:
        result, _ = small(data=str(NLVR), languages=("en",), target=("scripted:looker",), n=100)
    finally:
        del recipe.SCRIPTS["looker"]
    assert 0.4 < result.estimates["accuracy"].mean < 0.7
    assert result.estimates["accuracy"].n == 100
    assert "one question" not in result.estimates
    assert any(seen)


def test_inspection_and_judge_agree_with_the_run(tiny):
    config = replace(recipe.tiny(), n=40)
    model, judge = recipe.SCRIPTS["relation"](), recipe.judge_of(config)
    rows = list(recipe.inspection(config))
    assert len({row["id"] for row in rows}) == len(rows) == 40 * 3 * 2
    hits = []
    for row in rows:
        reply = model(*row["messages"], seed=call_seed(row["item"], 0, seed=config.seed))
        talk = (*row["messages"], reply.message)
        case = Case(
            row["id"], row["item"], row["group"], "", row["variant"], talk, row["target"], row["tags"]
        )
        hits.append(judge(case, seed=0).scores["correct"])
    assert np.mean(hits) > 0.85


def test_full_setting_is_the_paper_s():
    assert recipe.full().n == 350
    assert len(recipe.Config.__dataclass_fields__) == 16
