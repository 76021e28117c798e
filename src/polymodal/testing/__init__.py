"""The public contracts: call one on your own part, encoder, metric, split or recipe."""

from polymodal.testing.nets import check_encoder, check_fusion
from polymodal.testing.numbers import check_metric, check_recipe
from polymodal.testing.samples import check_part, check_split

__all__ = ["check_encoder", "check_fusion", "check_metric", "check_part", "check_recipe", "check_split"]
