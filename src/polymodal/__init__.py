"""A workbench for models that see, read, listen and act."""

__version__ = "0.1.0"
