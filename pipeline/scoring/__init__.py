"""Feature extractors, metrics as pure functions of features, and the scoring of image sets."""
