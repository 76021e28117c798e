"""A simulated clinic's doctor, for research and not care: beliefs, and what to ask."""

from polymodal.envs.doctor.bayes import BayesDoctor, concluded
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
from polymodal.envs.doctor.ladder import Outcome, ladder
from polymodal.envs.doctor.stopping import Stop, cut, learned_stop, learned_stops

# fmt: off
__all__ = [
    "EPSILON", "FLOOR", "POLICIES", "RETAKES", "BayesDoctor", "Beds", "Choices", "Outcome", "Sight", "Stop",
    "concluded", "cut", "flagged", "foreseen", "gain_of", "gains", "inferred", "ladder", "learned_stop",
    "learned_stops",     "scored", "top", "update",
]
# fmt: on
