"""Layers and ways to draw weights that several families use."""
