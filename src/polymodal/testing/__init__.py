"""The public contracts: call one on your own part, net, metric, model, judge or recipe."""

from polymodal.testing.chat import check_chat_model
from polymodal.testing.envs import check_env, check_policy
from polymodal.testing.judges import check_judge, check_subject
from polymodal.testing.nets import check_encoder, check_fusion
from polymodal.testing.numbers import check_metric, check_recipe
from polymodal.testing.samples import check_part, check_split

__all__ = [
    "check_chat_model",
    "check_encoder",
    "check_env",
    "check_fusion",
    "check_judge",
    "check_metric",
    "check_part",
    "check_policy",
    "check_recipe",
    "check_split",
    "check_subject",
]
