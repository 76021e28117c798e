"""Consultations that ask for what they do not know (2505.04653); for research, not care."""
