"""Imported last by the server that processes are forked off: what is loaded stays as it is.

A collection of garbage writes to every object that it looks at. Without this, each process would
soon have a copy of all that the server has loaded.
"""

import gc

gc.collect()
gc.freeze()
gc.set_threshold(10_000, 10, 10)  # as in the tests
