"""Doctors of a simulated clinic: exact beliefs and what to ask next. For research, not for care."""

from polymodal.envs.doctor.beliefs import (
    EPSILON,
    FLOOR,
    POLICIES,
    RETAKES,
    Beds,
    Choices,
    Sight,
    flagged,
    foreseen,
    gain_of,
    gains,
    inferred,
    scored,
    top,
    update,
)

# fmt: off
__all__ = [
    "EPSILON", "FLOOR", "POLICIES", "RETAKES", "Beds", "Choices", "Sight", "flagged", "foreseen", "gain_of",
    "gains", "inferred", "scored", "top", "update",
]
# fmt: on
