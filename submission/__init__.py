"""The competition's side: the format of `images.zip` and, later stages, Kaggle's site."""
