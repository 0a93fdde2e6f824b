"""The code that runs in a Kaggle kernel."""
