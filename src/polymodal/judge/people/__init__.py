"""People as judges: the study web app."""
