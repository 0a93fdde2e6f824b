"""How the folders of the repository lie in a wheel: all below the one package `painter`.

An editable installation leaves them where they are.
"""

import sys

from setuptools import find_packages, setup

ours = find_packages(include=["pipeline*", "submission*", "kernels*", "pretrained*"])
if "editable_wheel" in sys.argv:
    setup(packages=["painter", *ours])
else:
    inside = {f"painter.program.{name}": name.replace(".", "/") for name in ours}
    setup(packages=["painter", *inside], package_dir=inside)
