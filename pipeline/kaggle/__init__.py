"""The one wrapper round Kaggle's own client."""
