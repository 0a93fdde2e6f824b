"""The body of a request: read up to a limit, and in a limited time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

MAX_UPLOAD_BYTES = 2**25
"""Of a photo's file: a photo of 16 million pixels as JPEG takes a quarter of it."""
UPLOAD_TIMEOUT = 60.0
"""Seconds in which a photo must arrive."""
HOW_TO_SEND = "Send the file itself: `curl --data-binary @photo.jpg`"


def declared_size(headers: Headers) -> int:
    """Return how many bytes a request's body may have: as it says, else the most.

    Raises:
        HTTPException: 413 if they are too many, 415 if the body is no file as it is.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise HTTPException(415, f"The body is a form ({kind}). {HOW_TO_SEND}")
    if encoding := headers.get("content-encoding", "").strip():
        raise HTTPException(415, f"The body is compressed ({encoding[:20]}). {HOW_TO_SEND}")
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return MAX_UPLOAD_BYTES
    if int(length) > MAX_UPLOAD_BYTES:
        raise _too_large(f"{int(length) / 1e6:,.1f} MB")
    return int(length)


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request; nothing beyond the limit is kept.

    Raises:
        HTTPException: 413 if it is too large, 408 if it does not arrive in time.
        ClientDisconnect: if the client leaves before its end.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > MAX_UPLOAD_BYTES:
                    raise _too_large("more")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        text = (
            f"Of the photo {len(body):,} bytes came in {UPLOAD_TIMEOUT:.0f} seconds, not all. "
            "Send a smaller one."
        )
        raise HTTPException(408, text, {"Connection": "close"}) from None


def _too_large(found: str) -> HTTPException:
    most = f"{MAX_UPLOAD_BYTES / 1e6:.1f} MB"
    return HTTPException(413, f"The photo has {found}; at most {most} are taken. Shrink it first.")
