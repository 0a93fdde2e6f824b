"""The names that a server on this machine alone answers to.

A page of a stranger can let its own name lead to 127.0.0.1, after which a browser takes what is
served here for a part of that page (DNS rebinding). The request names it, as its `Host`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.service.pages import HEADERS
from pipeline.service.problems import MAX_ECHO_LENGTH, problem_response

OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"\[?(?P<name>.*?)\]?(?P<port>:\d*)?")
"""A `Host`; an address of IPv6 stands in brackets."""


class KnownHosts:
    """Refuses requests for other names."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        app = self._app
        if scope["type"] == "http":
            host = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
            name = host["name"].lower() if host else None
            if name not in self._names and name != "":  # HTTP/1.0 has none; browsers send one
                app = _refusal(name or "")
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
    address = str(listener.getsockname()[0])
    if ipaddress.ip_address(address).is_loopback:
        app.add_middleware(KnownHosts, names=[*OWN_NAMES, address, *names])
