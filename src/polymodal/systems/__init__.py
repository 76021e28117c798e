"""The twenty systems, each a box with the same files inside."""
