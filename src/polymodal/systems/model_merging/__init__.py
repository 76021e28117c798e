"""Does merging with a reasoning language model teach a model that sees to reason? (arXiv 2505.05464)."""
