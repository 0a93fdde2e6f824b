"""Studies: many runs whose settings differ, and their comparison."""
