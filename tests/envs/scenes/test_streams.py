from hashlib import shake_128

import numpy as np
import pytest
from scipy import stats

from polymodal.envs.scenes import Stream


def test_numbers_are_those_of_shake_for_the_key_and_a_counter():
    words = np.frombuffer(shake_128(b"7\x1ftrain\x1f3\x1f1").digest(256), dtype="<u8")
    stream = Stream(7, "train", np.int64(3))
    assert [stream.uniform() for _ in range(32)] == [float(w >> np.uint64(11)) / 2**53 for w in words[::-1]]


def test_a_key_is_a_stream_and_another_key_another():
    draws = [
        [stream.uniform() for _ in range(100)]
        for stream in (Stream(1, "a"), Stream(1, "a"), Stream(1, "b"), Stream("1a"))
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]


def test_draws_are_uniform():
    stream = Stream(0, "uniform")
    assert stats.kstest([stream.uniform() for _ in range(5000)], "uniform").pvalue > 0.01
    counts = np.bincount([stream.below(7) for _ in range(7000)], minlength=7)
    assert stats.chisquare(counts).pvalue > 0.01
    orders = ["".join(stream.shuffled("abc")) for _ in range(6000)]
    assert stats.chisquare([orders.count(order) for order in sorted(set(orders))]).pvalue > 0.01
    assert len(set(orders)) == 6
    assert {stream.pick("xy") for _ in range(50)} == {"x", "y"}


@pytest.mark.parametrize("n", [1, 12288])
def test_noise_is_nearly_normal(n):
    noise = Stream(0, "noise").noise(n, 4.0)
    assert noise.shape == (n,)
    if n > 1:
        assert noise.mean() == pytest.approx(0, abs=0.15)
        assert noise.std() == pytest.approx(4, rel=0.02)
        assert abs(stats.kurtosis(noise)) < 0.45  # −.3 for the sum of four
