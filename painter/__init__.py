"""painter, installed: the one name that it takes among the packages of a Python.

The program itself lies in `painter/program/` as it does in the repository, with the names that its
parts have there. Only a process that runs painter, or that calls `find_program`, sees them: so a
package of somebody else's that is called `kernels` or `pipeline` can be installed beside it.
"""

import sys
from pathlib import Path


def find_program() -> Path:
    """Make painter's own packages importable in this process, and return the folder they are in."""
    here = Path(__file__).resolve().parent
    program = here / "program" if (here / "program").is_dir() else here.parent  # a checkout
    if str(program) not in sys.path:
        sys.path.insert(0, str(program))
    return program


def main() -> None:
    """Run the command line."""
    find_program()
    from pipeline.__main__ import main

    main()
