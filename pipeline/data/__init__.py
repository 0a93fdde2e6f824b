"""Where paintings come from and how they become tensors."""
