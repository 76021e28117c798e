"""Parts of consultations that need networks and places to act in; for research, not for care."""
