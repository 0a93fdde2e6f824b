"""Kaggle kernels: bundle the code, push it, watch it, pull its output."""
