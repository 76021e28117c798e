"""REVEAL: many-turn talks with picture and policy, judged for defects and refusals (arXiv 2505.04673)."""
