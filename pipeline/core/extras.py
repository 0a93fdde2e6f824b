"""How messages say what to install: by the name that painter has on the package index.

`painter` there is somebody else's package; ours is `painter-gan`, and its command `painter`.
"""

DISTRIBUTION = "painter-gan"


def install_extra(name: str) -> str:
    """Return the command that installs what an optional part of painter needs."""
    return f"pip install '{DISTRIBUTION}[{name}]'"
