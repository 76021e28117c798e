"""A simulated clinic's doctor, for research and not care: beliefs, and what to ask."""

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
