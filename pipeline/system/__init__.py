"""The machine that painter runs on: files, caches, locks, streams, memory, cores."""
