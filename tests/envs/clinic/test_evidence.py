"""Frequency words and information, by hand."""

import numpy as np
import pytest

from polymodal.envs.clinic.evidence import FREQUENCY, information, likelihood


def test_frequency_words_and_information_by_hand() -> None:
    assert [*FREQUENCY.values()] == [0.02, 0.1, 0.35, 0.7, 0.95]
    assert likelihood(["usual"], 2) == pytest.approx([0.7, 0.3])
    assert likelihood([], 4) == pytest.approx([0.25] * 4)
    even = np.array([0.5, 0.5])
    assert information(even, np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(np.log(2))
    assert information(even, np.array([[0.3, 0.7], [0.3, 0.7]])) == pytest.approx(0, abs=1e-12)
    assert information(even, np.array([[0.9, 0.1], [0.1, 0.9]])) == pytest.approx(
        np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    )
