"""A study: arms trained in folds and told to a book of estimates, controls and curves."""

from polymodal.training.study.answers import answers
from polymodal.training.study.book import Book, P
from polymodal.training.study.cohort import Cohort, gathered, plan, splits_of, study, usable, ways_of
from polymodal.training.study.reading import Ways, choose, encoder, reader
from polymodal.training.study.said import Said, said
from polymodal.training.study.trial import (
    Arm,
    Fitting,
    baselines,
    final,
    judged,
    latency,
    prepared,
)

# fmt: off
__all__ = [
    "Arm", "Book", "Cohort", "Fitting", "P", "Said", "Ways", "answers", "baselines", "choose",
    "encoder", "final", "gathered", "judged", "latency", "plan", "prepared", "reader", "said",
    "splits_of", "study", "usable", "ways_of",
]
# fmt: on
