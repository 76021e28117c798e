"""Parts of consultations that need networks and places; for research, not for care."""
