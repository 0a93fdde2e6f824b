"""`submission.kernel.distributed` as torchrun starts it in a test: a rank that is forked off.

What torchrun starts is a new interpreter. It imports no torch, but asks the test's process, by the
environment's address, to fork the rank with this environment, and ends as that does.
"""

import os
import sys
from multiprocessing.connection import Client

ADDRESS = "TEST_RANKS_ADDRESS"

if __name__ == "__main__":
    with Client(os.environ[ADDRESS]) as desk:
        desk.send((dict(os.environ), sys.argv[1]))
        printed, code = desk.recv()
    sys.stdout.write(printed)
    sys.exit(code)
