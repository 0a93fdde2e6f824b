"""Trained generators: snapshots, precision, inference, samplers."""
