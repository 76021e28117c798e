"""The generated worlds hold what their closed forms say."""

from itertools import combinations

import numpy as np
import pytest

from polymodal.systems.sentiment_fusion import data


def arrays(samples):
    part = {name: np.concatenate([s.parts[name].values() for s in samples]) for name in data.DIMS}
    return part, np.array([int(s.target) for s in samples])


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        (["text"], 0.7585),
        (["audio"], 0.5815),
        (["video"], 0.4494),
        (["text", "audio"], 0.8561),
        (["text", "video"], 0.8146),
        (["audio", "video"], 0.6812),
        (["text", "audio", "video"], 0.8894),
        ([], 1 / 6),
    ],
)
def test_bayes_accuracy_is_the_table_s(parts, value):
    assert data.bayes(parts) == pytest.approx(value, abs=5e-5)


def test_missing_parts_curve_is_the_table_s():
    curve = [data.missing(p) for p in (0, 0.25, 0.5, 0.75, 1)]
    assert curve == pytest.approx([0.8894, 0.7924, 0.6496, 0.4461, 0.1667], abs=5e-5)
    only_text = [data.missing(p, ["text"]) for p in (0.25, 0.5, 0.75, 1)]
    assert only_text == pytest.approx([0.8373, 0.7853, 0.7332, 0.6812], abs=5e-5)


def test_shuffled_parts_and_bits_and_leak_are_the_table_s():
    assert [data.shuffled(part) for part in data.DIMS] == pytest.approx([0.400, 0.703, 0.814], abs=2e-3)
    assert [data.two_bits("synergy", 1), data.two_bits("synergy")] == pytest.approx([0.5, 0.9973], abs=5e-5)
    assert [data.two_bits("unique", 1), data.two_bits("unique")] == pytest.approx([0.4993, 0.9973], abs=5e-5)
    random, grouped = data.leak()
    assert [random, grouped, random - grouped] == pytest.approx([0.5833, 0.1667, 0.4167], abs=5e-5)


def rule(part, y, names):
    """The Bayes rule itself, on parts before they are turned and shifted."""
    scores = sum(data.STRENGTH[name] * part[name] for name in names)
    return float(np.mean(scores.argmax(1) == y))


def test_closed_forms_against_a_simulation_of_the_bayes_rule():
    rng = np.random.default_rng(0)
    n = 200_000
    y = rng.integers(6, size=n)
    part = {name: a * np.eye(6)[y] + rng.normal(size=(n, 6)) for name, a in data.STRENGTH.items()}
    for k in (1, 2, 3):
        for names in combinations(data.DIMS, k):
            assert rule(part, y, names) == pytest.approx(data.bayes(names), abs=5e-3)
    for name in data.DIMS:
        other = part | {name: part[name][rng.permutation(n)]}
        assert rule(other, y, data.DIMS) == pytest.approx(data.shuffled(name), abs=5e-3)


def fitted(x, y, group):
    """Accuracy on the second half of the speakers of a linear rule fitted to the first half."""
    from sklearn.linear_model import LogisticRegression

    half = np.isin(group, np.unique(group)[::2])
    return LogisticRegression(max_iter=500).fit(x[half], y[half]).score(x[~half], y[~half])


def test_redundant_world_is_as_hard_as_said_whatever_the_turn_and_the_speakers():
    samples = data.world("redundant", seed=1)
    assert len(samples) == 3920
    part, y = arrays(samples)
    group = np.array([s.group for s in samples])
    for name in data.DIMS:
        assert data.bayes([name]) - 0.05 < fitted(part[name], y, group) < data.bayes([name]) + 0.03


def test_synergy_hides_in_each_part_and_shows_in_both():
    part, y = arrays(data.world("synergy", seed=0))
    found = {}
    for name in ("text", "audio"):
        x = part[name] - part[name].mean(0)
        found[name] = np.sign(x @ np.linalg.svd(x, full_matrices=False)[2][0])  # the signal has most variance
        assert abs(np.corrcoef(found[name], y)[0, 1]) < 0.06
    agree = found["text"] == found["audio"]
    assert max(np.mean(agree == y), np.mean(agree != y)) == pytest.approx(data.two_bits("synergy"), abs=0.005)


def test_unique_needs_both_bits():
    samples = data.world("unique", seed=0)
    part, y = arrays(samples)
    group = np.array([s.group for s in samples])
    assert fitted(np.hstack([part["text"], part["audio"]]), y, group) > 0.97
    assert fitted(part["text"], y, group) < data.two_bits("unique", 1) + 0.03
    assert fitted(part["video"], y, group) < 0.25 + 0.04


def test_leak_world_s_favourites_take_their_share():
    samples = data.world("leak", seed=0)
    _, y = arrays(samples)
    by_speaker = y.reshape(98, 40)
    top = np.mean([np.bincount(row, minlength=6).max() / 40 for row in by_speaker])
    assert top == pytest.approx(data.leak()[0], abs=0.04)


def test_same_seed_same_world_and_other_seed_other_speakers():
    one, two = (data.world("unique", seed=3, speakers=4, utterances=5) for _ in range(2))
    assert [s.digest() for s in one] == [s.digest() for s in two]
    other = data.world("unique", seed=4, speakers=4, utterances=5)
    assert not {s.group for s in one} & {s.group for s in other}
    with pytest.raises(ValueError, match="unknown world 'moon'; known: redundant"):
        data.world("moon", seed=0)
