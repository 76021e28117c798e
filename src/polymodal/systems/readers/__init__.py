"""What reads pictures of artefacts: nets, trained on drawn ones or on a person's own."""
