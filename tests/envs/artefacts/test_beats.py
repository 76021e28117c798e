import sys

import numpy as np
import pytest

from polymodal.envs.artefacts import beats, classes_of, draw, signal
from polymodal.envs.artefacts.beats import peaks
from polymodal.envs.artefacts.trace import wave

CLASSES = classes_of("trace")
APART = 0.05  # seconds within which a found R wave is the planted one
ENDS = 0.4  # seconds at either end where half of the detector's window is missing


def matched(found, planted, length):
    """Sensitivity and positive predictive value."""

    def share(some, others):
        some = some[(some > ENDS) & (some < length - ENDS)]
        return (np.abs(some[:, None] - others[None]).min(1) <= APART).mean(), len(some)

    return share(planted, found), share(found, planted)


def test_planted_beats_have_the_rate_the_spread_and_the_wave_of_their_class():
    rng = np.random.default_rng(0)
    for cls, low, high in (("slow rhythm", 41, 51), ("normal rhythm", 59, 91), ("fast rhythm", 113, 137)):
        own = 60 / np.diff(signal(cls, rng, duration=60).peaks)
        assert low < own.mean() < high
        assert own.std() < 2.5
    own = 60 / np.diff(signal("irregular rhythm", rng, duration=300).peaks)
    assert 13 < own.std() < 22
    lead = wave(np.arange(-3, 14) * 1.0, 60, inverted=True, duration=10, rate=250)
    assert lead.volts[round(3.28 * 250)] < lead.volts[round(3.55 * 250)] - 0.1
    np.testing.assert_allclose(lead.peaks, np.arange(10), atol=1e-12)


def test_waves_are_those_of_the_library():
    nk = pytest.importorskip("neurokit2", reason="the extra [signals] is not installed")
    for rate, ai in ((60, 0.75), (75, -0.75)):
        theirs = nk.ecg_simulate(
            duration=10, sampling_rate=250, method="ecgsyn", random_state=1, noise=0, heart_rate=rate,
            heart_rate_std=0.01, ai=(1.2, -5, 30, -7.5, ai),
        )  # fmt: skip
        tops = peaks(theirs, rate=250) / 250
        ours = wave(tops[0] + 60 / rate * np.arange(-6, 30), rate, inverted=ai < 0, duration=10, rate=250)
        assert np.corrcoef(theirs[500:2000], ours.volts[500:2000])[0, 1] > 0.99


def test_r_peaks_of_clean_leads_are_found():
    pytest.importorskip("neurokit2", reason="the extra [signals] is not installed")
    rng, found, planted = np.random.default_rng(1), [], []
    for i, cls in enumerate(CLASSES):
        lead = signal(cls, rng, duration=160)
        found.append(peaks(lead.volts, rate=250) / 250)
        planted.append(lead.peaks)
        (sensitivity, _), (value, _) = matched(found[i], planted[i], 160)
        assert sensitivity >= 0.999, cls
        assert value >= 0.999, cls
    assert sum(map(len, planted)) > 1000


def test_a_drawn_lead_is_read_back_column_by_column():
    pytest.importorskip("neurokit2", reason="the extra [signals] is not installed")
    for cls, low, high in (("slow rhythm", 41, 52), ("fast rhythm", 110, 140), ("inverted T", 57, 93)):
        for seed in range(3):
            drawn = draw("trace", cls, seed=seed)
            seen = beats(drawn.image.pixels())
            assert seen is not None
            assert low < seen.rate < high
            assert seen.wave == (-1 if cls == "inverted T" else 1)
            assert seen.spread < 8
            assert np.abs(np.array(seen.box) - drawn.boxes["trace"]).max() <= 2
    irregular = [beats(draw("trace", "irregular rhythm", seed=seed).image.pixels()) for seed in range(3)]
    assert min(seen.spread for seen in irregular) > 8


def test_no_line_no_beats():
    assert beats(np.full((96, 256, 3), 250, np.uint8)) is None
    flat = np.full((96, 256, 3), 250, np.uint8)
    flat[48] = 0
    assert beats(flat) is None


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(ModuleNotFoundError, match=r"polymodal\[signals\]"):
        beats(draw("trace", "normal rhythm", seed=0).image.pixels())
