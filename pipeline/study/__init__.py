"""Studies: many runs whose settings differ, and what their comparison says."""
