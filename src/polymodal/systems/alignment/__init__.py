"""What systems that align pictures and texts share: pictures with regions, training, scores."""
