"""The documentation. `docs.generator` writes those of its pages that come from the code."""
