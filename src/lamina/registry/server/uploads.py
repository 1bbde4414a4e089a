"""Uploads: POST, PATCH, PUT, status, cancel, mount (distribution specification, "Pushing blobs").

What has arrived stays with the session when a client goes away: the next request goes on from there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.registry.server import names
from lamina.registry.server.admission import PULL, PUSH, Access
from lamina.registry.server.answers import Answer
from lamina.registry.server.bodies import Body
from lamina.registry.server.buffers import Buffers
from lamina.registry.server.contents import Contents, Stored, Upload
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import Call
from lamina.registry.server.settings import Limits
from lamina.registry.server.threads import Threads, settled

# As the specification has it, and as HTTP has it for answers.
_RANGE = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Uploads:
    """The ways to bring in a blob."""

    contents: Contents
    access: Access
    threads: Threads
    buffers: Buffers
    limits: Limits

    async def post(self, call: Call, body: Body) -> Answer:
        """Begin an upload, mount a blob, or take one whole."""
        begun = await self.threads.quick(self._begin, call, body.length)
        if isinstance(begun, Answer):
            return begun
        upload_id, digest = begun
        try:
            async with self._held(call, upload_id) as upload:
                await self._take(body, upload, None)
                return await self._finished(call, upload, digest)
        except BaseException:
            # Nobody has been told of the session, so nobody would end it.
            with suppress(LaminaError):
                await self.threads.bulk(self._drop, call, upload_id)
            raise

    async def patch(self, call: Call, body: Body) -> Answer:
        """The next bytes."""
        async with self._admitted(call) as upload:
            await self._take(body, upload, self._announced(call, body, upload.offset))
            return Answer(202, _state(call, upload.offset))

    async def put(self, call: Call, body: Body) -> Answer:
        """The last bytes, if any, and the digest of all."""
        text = call.one("digest")
        if text is None:
            raise Refusal("DIGEST_INVALID", "the digest of the blob is missing")
        digest = names.digest(text)
        async with self._admitted(call) as upload:
            await self._take(body, upload, self._announced(call, body, upload.offset))
            return await self._finished(call, upload, digest)

    def status(self, call: Call) -> Answer:
        """How far it is."""
        self.access.admit(call.headers, call.repository, PUSH)
        with self.contents.upload(call.repository, names.upload(call.reference)) as upload:
            return Answer(204, _state(call, upload.offset))

    def cancel(self, call: Call) -> Answer:
        """End it, and forget what has come."""
        self.access.admit(call.headers, call.repository, PUSH)
        self._drop(call, names.upload(call.reference))
        return Answer(204)

    def _begin(self, call: Call, length: int | None) -> Answer | tuple[str, Digest]:
        digest, mount, algorithm = call.one("digest"), call.one("mount"), call.one("digest-algorithm")
        given = call.one("from")
        also = [(given, PULL)] if mount is not None and given is not None and names.is_repository(given) else []
        grant = self.access.admit(call.headers, call.repository, PUSH, also)
        if algorithm is not None:
            names.algorithm(algorithm)
        whole = None if digest is None else names.digest(digest)
        if mount is not None:
            source, named = given, names.digest(mount)
            # A source that the client may not read is one that cannot be had: the answer tells nothing of what it holds.
            if source is None or (names.is_repository(source) and grant.may(source, PULL)):
                stored = self.contents.mount(call.repository, named, source, lambda name: grant.may(name, PULL))
                if stored is not None:
                    return _created(call, stored)
        if length is not None and length > self.limits.blob:
            raise self._too_large()
        upload_id = self.contents.begin_upload(call.repository)
        return _answer_begun(call, upload_id) if whole is None else (upload_id, whole)

    def _announced(self, call: Call, body: Body, offset: int) -> int | None:
        """How many bytes Content-Range announces; `BLOB_UPLOAD_INVALID` (416) if they are not the next ones."""
        text = call.headers.get("Content-Range")
        if text is None:
            return None
        found = _RANGE.fullmatch(text.strip())
        first, last = (int(one) for one in found.groups()) if found else (-1, -1)
        if first != offset or last < first:
            raise Refusal("BLOB_UPLOAD_INVALID", f"the next byte is {offset}", headers=_state(call, offset))
        size = last + 1 - first
        if body.length is not None and body.length != size:
            raise Refusal("SIZE_INVALID", f"a range of {size} bytes with a body of {body.length}")
        return size

    async def _take(self, body: Body, upload: Upload, announced: int | None) -> None:
        """Hand on the body, a buffer at a time; `SIZE_INVALID` if it is not what was announced."""
        room = self.limits.blob - upload.offset
        most = min(room, announced) if announced is not None else room
        if body.length is not None and body.length > room:
            raise self._too_large()
        writing = _Writing(self.threads, self.buffers, upload)
        done = 0
        try:
            while body.length != 0:
                view = writing.buffer()[: most - done + 1]  # A byte too many shows that there are too many.
                try:
                    await body.readinto(view)
                finally:
                    # What came before the client broke off counts as well.
                    await writing.write(view[: min(body.filled, most - done)])
                    done += body.filled
                if done > most:
                    raise Refusal("SIZE_INVALID", f"more than {announced} bytes") if most == announced else self._too_large()
                if body.filled < len(view):
                    break
        finally:
            await writing.end()
        if announced is not None and done != announced:
            raise Refusal("SIZE_INVALID", f"{done} bytes of {announced}")

    async def _finished(self, call: Call, upload: Upload, digest: Digest) -> Answer:
        return _created(call, await self.threads.bulk(upload.finish, digest))

    def _drop(self, call: Call, upload_id: str) -> None:
        with self.contents.upload(call.repository, upload_id) as upload:
            upload.cancel()

    def _too_large(self) -> Refusal:
        return Refusal("SIZE_INVALID", f"at most {self.limits.blob} bytes are taken", status=413)

    @asynccontextmanager
    async def _admitted(self, call: Call) -> AsyncIterator[Upload]:
        await self.threads.quick(self.access.admit, call.headers, call.repository, PUSH)
        async with self._held(call, names.upload(call.reference)) as upload:
            yield upload

    @asynccontextmanager
    async def _held(self, call: Call, upload_id: str) -> AsyncIterator[Upload]:
        """The upload, and nobody else has it; what has arrived is kept however the block is left."""
        hold = _Hold(self.contents.upload(call.repository, upload_id))
        try:
            yield await self.threads.bulk(hold.enter)
        finally:
            await self.threads.bulk(hold.leave)


class _Writing:
    """Writes one buffer while the next is filled: a stream does not wait for the network, then the disk, then the network."""

    def __init__(self, threads: Threads, buffers: Buffers, upload: Upload) -> None:
        self._threads, self._buffers, self._upload = threads, buffers, upload
        self._filling, self._other = buffers.take(), memoryview(b"")
        self._write: asyncio.Task[None] | None = None

    def buffer(self) -> memoryview:
        """The one to fill next."""
        return self._filling

    async def write(self, data: memoryview) -> None:
        """Begin to write what has been filled, once the one before is written; what that met with is raised."""
        await self._written()
        if len(data):
            self._write = asyncio.create_task(self._threads.bulk(self._upload.write, data))
            # A body that fits into one buffer gets no other.
            other = self._other if self._other or len(data) < len(self._filling) else self._buffers.take()
            self._filling, self._other = (other, self._filling) if other else (self._filling, other)

    async def end(self) -> None:
        """Wait for the last one, and let the buffers go."""
        try:
            await self._written()
        finally:
            self._buffers.give(self._filling)
            if self._other:
                self._buffers.give(self._other)

    async def _written(self) -> None:
        write, self._write = self._write, None
        if write is None:
            return
        try:
            await asyncio.shield(write)
        finally:
            await settled(write)  # no thread is at the buffer when it is used again, whoever has been told to stop


class _Hold:
    """A context manager that is entered in one thread and left in another, if it was entered at all."""

    def __init__(self, manager: AbstractContextManager[Upload]) -> None:
        self._manager, self._entered = manager, False

    def enter(self) -> Upload:
        upload = self._manager.__enter__()
        self._entered = True
        return upload

    def leave(self) -> None:
        if self._entered:
            self._manager.__exit__(None, None, None)


def _created(call: Call, stored: Stored) -> Answer:
    digest = str(stored.digest)
    return Answer(201, {"Location": call.path("blobs", digest), "Docker-Content-Digest": digest})


def _answer_begun(call: Call, upload_id: str) -> Answer:
    return Answer(202, {"Location": call.path("blobs", "uploads", upload_id), "Range": "0-0",
                        "Docker-Upload-UUID": upload_id})


def _state(call: Call, offset: int) -> dict[str, str]:
    """Where the upload is, and how far.  Of no bytes at all the range is `0-0` too, as every registry says it."""
    return {"Location": call.path("blobs", "uploads", call.reference), "Range": f"0-{max(offset - 1, 0)}",
            "Docker-Upload-UUID": call.reference}


