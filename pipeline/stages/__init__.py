"""The stages (train, generate, ...), called by the command line, kernels, studies and dry runs."""
