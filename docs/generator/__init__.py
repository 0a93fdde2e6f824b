"""Pages that are made from the code, so that they say what it does: `make reference`.

Nothing on them depends on the machine: no paths, no number of cores, no width of a terminal.
"""
