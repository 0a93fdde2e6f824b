"""Feature extractors, pure metrics on features, and the score stage."""
