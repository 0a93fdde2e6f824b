"""Families of networks, one module or folder each, and their registry.

A family's room holds all that is its own: settings, networks, objective, inputs, sampler. Nothing
outside asks which family it has to do with; it asks what the family can do (see `family`).
"""
