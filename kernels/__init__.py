"""The way to Kaggle's machines and back: bundle the code, push it, watch it, pull its output."""
