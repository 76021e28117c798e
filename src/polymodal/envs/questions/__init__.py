"""Questions about scenes: families of perception and of reasoning, answers balanced."""

from polymodal.envs.questions.asking import FAMILIES, ask
from polymodal.envs.questions.question import Question

__all__ = ["FAMILIES", "Question", "ask"]
