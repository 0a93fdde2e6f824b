"""ASGI responses: computed while the client waits, sent in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.connection import CHUNK_SIZE

Content = AbstractAsyncContextManager[bytes]
"""Gives the bytes of a response; held until they are sent."""


class GeneratedResponse(Response):
    """A response that is computed when it is to be sent, as long as the client is connected."""

    def __init__(
        self, content: Callable[[], Content], headers: Mapping[str, str], media_type: str
    ) -> None:
        """Compute nothing yet.

        Args:
            content: computes what is to be sent.
            headers: but for length and type.
            media_type: of the content.
        """
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compute and send the response; stop as soon as the client disconnects.

        Raises:
            ServiceBusy: if there is not enough capacity.
            WorkFailed: if it cannot be computed.
        """
        del scope  # the same for all
        await until_disconnected(self._make_and_send(send), receive)

    async def _make_and_send(self, send: Send) -> None:
        async with self._content() as content:
            self.headers["content-length"] = str(len(content))
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for start in range(0, len(content), CHUNK_SIZE):
                chunk = content[start : start + CHUNK_SIZE]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            # Waits until the last chunk has left.
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class UploadResponse(GeneratedResponse):
    """A response that is computed from the body of its request, which is read first."""

    def __init__(
        self,
        read: Callable[[Receive], AbstractAsyncContextManager[Callable[[], Content]]],
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        """Read nothing yet.

        Args:
            read: reads the body; gives what computes the content, and is held until that is sent.
            headers: but for length and type.
            media_type: of the content.
        """
        super().__init__(_nothing, headers, media_type)
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, compute and send the response; stop when the client disconnects.

        Raises:
            HTTPException: if the body is not what was expected.
            ServiceBusy: if there is not enough capacity.
            WorkFailed: if it cannot be computed.
        """
        with suppress(ClientDisconnect):
            async with self._read(receive) as self._content:
                await super().__call__(scope, receive, send)


def _nothing() -> Content:
    return nullcontext(b"")


def file_response(*media_types: str) -> dict[str, Any]:
    """Return the OpenAPI description of a response that is a file."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "The file.", "content": dict.fromkeys(media_types, binary)}


async def until_disconnected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do some work for a client, and cancel it when the client disconnects."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_disconnect(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class HeadAsGet:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_no_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_no_body)
