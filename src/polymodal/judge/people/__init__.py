"""People as judges: a study, its plan, its answers, and the web page that asks."""

from polymodal.judge.people.design import Plan, PlanError, plan
from polymodal.judge.people.study import Design, Study, StudyError, check, load, study_of

__all__ = ["Design", "Plan", "PlanError", "Study", "StudyError", "check", "load", "plan", "study_of"]
