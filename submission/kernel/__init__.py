"""What runs on Kaggle's machines."""
