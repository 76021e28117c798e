"""People in the chairs of a consultation, in rooms of a study."""
