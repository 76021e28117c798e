"""Consultations that ask for what they do not yet know; for research, not for care."""
