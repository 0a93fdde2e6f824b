"""Run folders: the files of a training run, and how they are read."""
