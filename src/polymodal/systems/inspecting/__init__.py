"""Tasks of Inspect AI that are more than a talk and a judge of it."""
