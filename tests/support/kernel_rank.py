"""`submission.kernel.distributed` as a process of a test: five images make a submission."""

import sys
from pathlib import Path

import torch

from submission import archive
from submission.kernel.distributed import run_rank

if __name__ == "__main__":
    torch.set_num_threads(1)
    vars(archive)["MINIMUM_IMAGES"] = 5
    run_rank(Path(sys.argv[1]))
