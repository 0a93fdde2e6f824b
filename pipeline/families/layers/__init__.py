"""Layers and weight initialisations that several families use."""
