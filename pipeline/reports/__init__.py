"""Pages, charts and pictures for people."""
