"""The operating system: files, caches, locks, standard streams, memory, threads."""
