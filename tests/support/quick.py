"""What takes time in many tests and what none of them is about, made cheap by being imported.

The process of tests imports it, and the server that others are forked off: both compute the same.
New interpreters, torchrun and what a kernel's script unpacks do without it.
"""

import bz2
import os
from functools import cache
from types import SimpleNamespace

from kernels import bundle
from pipeline.training import run_logger
from pipeline.training.ema import RECALIBRATION_BATCH_SIZE

# Each checkpoint takes the statistics of the averaged generator over generated images: with its
# 1,024 half the time of a tiny run. Two batches are averaged as sixteen are.
vars(run_logger)["RECALIBRATION_IMAGES"] = 2 * RECALIBRATION_BATCH_SIZE

# Tests end processes, never the machine.
vars(os)["fsync"] = lambda file: None

# The same sources in the kernel of each push. The server's own call serves all forked processes.
compress = cache(bz2.compress)
compress(bundle.pack(bundle._packages()))
vars(bundle)["bz2"] = SimpleNamespace(compress=compress)
