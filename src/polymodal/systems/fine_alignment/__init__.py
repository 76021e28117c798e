"""Fine-grained alignment: regions, phrases and hard negatives beside whole pictures (arXiv 2505.05071)."""
