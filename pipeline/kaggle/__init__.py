"""The wrapper around Kaggle's own client."""
