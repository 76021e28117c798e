"""Envs: places to look at and act in."""
