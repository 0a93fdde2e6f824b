"""The names that a server on this machine alone answers to.

A page of a stranger can let its own name lead to 127.0.0.1, after which a browser takes what is
served here for a part of that page (DNS rebinding). The request names it, as its `Host`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from contextlib import suppress

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.core.errors import ConfigError
from pipeline.service.pages import HEADERS
from pipeline.service.problems import MAX_ECHO_LENGTH, problem_response

OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"\[?(?P<name>.*?)\]?\.?(?P<port>:\d*)?")
"""A `Host`, as far as it counts; an address of IPv6 stands in brackets."""
_OF_NO_STRANGER = ".localhost"
"""RFC 6761, section 6.3: such names lead to the machine itself."""


def known_name(text: str) -> str:
    """Return a name as a request's `Host` gives it, without port and brackets.

    Raises:
        ConfigError: if no `Host` can be so, such as a whole address of a page.
    """
    with suppress(ValueError):
        return str(ipaddress.ip_address(text.strip("[]")))
    found = None if "/" in text else _HOST.fullmatch(text)
    with suppress(UnicodeError):  # too long a part, or an empty one
        if name := (found["name"] if found else "").encode("idna").decode():
            return name.lower()
    raise ConfigError(
        f"{text!r}, given by --allow-host, is no name of a machine. Give what a browser has "
        "between :// and the next slash, such as painter.example.org"
    )


class KnownHosts:
    """Refuses requests for other names."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        app = self._app
        if scope["type"] == "http":
            host = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
            name = host["name"].lower() if host else ""
            # HTTP/1.0 has none; browsers send one.
            if name and name not in self._names and not name.endswith(_OF_NO_STRANGER):
                app = _refusal(name)
        await app(scope, receive, send)


def _refusal(name: str) -> ASGIApp:
    text = (
        f"What listens here is for this machine alone, under its own names ({OWN_NAMES[0]}), and "
        f"was asked for as {name[:MAX_ECHO_LENGTH]!r}. If a proxy of yours passes that name on, "
        "give it to painter with --allow-host."
    )
    return problem_response(421, text, headers=dict(HEADERS))


def limit_hosts(app: FastAPI, listener: socket.socket, names: Collection[str]) -> None:
    """Let an application answer to this machine's names alone, if nobody else reaches it.

    Args:
        app: the application.
        listener: where it listens.
        names: that it answers to besides.
    """
    known = [known_name(name) for name in names]
    address = ipaddress.ip_address(str(listener.getsockname()[0]))
    if (getattr(address, "ipv4_mapped", None) or address).is_loopback:
        app.add_middleware(KnownHosts, names=[*OWN_NAMES, str(address), *known])
