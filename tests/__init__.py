"""Tests: one file a module; fakes that behave, closed forms, independent references."""
