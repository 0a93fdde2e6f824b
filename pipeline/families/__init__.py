"""Families of networks, one module or folder each, and their registry.

A family's module holds its settings, networks, objective, inputs and sampler. Code elsewhere never
asks for a family by name; it asks what the family can do (see `family`).
"""
