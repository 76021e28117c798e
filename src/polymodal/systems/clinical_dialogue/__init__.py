"""Consultations that ask for what they do not yet know (arXiv 2505.04653). For research, not for care."""
