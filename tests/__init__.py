"""Tests: in folders as the packages are; fakes that behave, closed forms, independent references.

`house/` is about the repository as a whole, `support/` is what many tests use.
"""
