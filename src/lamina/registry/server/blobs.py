"""Blobs: HEAD, GET with ranges, DELETE (distribution specification, "Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.content import Reader
from lamina.errors import SizeMismatch
from lamina.registry.server import byteranges, names
from lamina.registry.server.admission import DELETE, PULL, Access
from lamina.registry.server.answers import Answer, named, unchanged
from lamina.registry.server.contents import Contents
from lamina.registry.server.routes import Call


@dataclass(slots=True)
class Stream:
    """An answer whose body, of `size` bytes, is read while it is sent; whoever has it closes the reader."""

    answer: Answer
    reader: Reader
    size: int


def head(contents: Contents, access: Access, call: Call) -> Answer:
    """Whether it is there, and how large."""
    access.admit(call.headers, call.repository, PULL)
    stored = contents.blob(call.repository, names.digest(call.reference))
    if unchanged(call.headers, stored.digest):
        return Answer(304, named(stored.digest))
    return Answer(200, {**_TYPE, **named(stored.digest)}, length=stored.size)


def get(contents: Contents, access: Access, call: Call) -> Answer | Stream:
    """The blob or one range of it."""
    answer = head(contents, access, call)
    if answer.length is None:
        return answer
    digest, size = names.digest(call.reference), answer.length
    part = byteranges.wanted(call.headers, digest, size)
    start, stop = part or (0, size)
    if part is not None:
        answer.status = 206
        answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    answer.length = stop - start
    if start == stop:
        return answer
    return Stream(answer, contents.open_blob(call.repository, digest, start, stop), stop - start)


def delete(contents: Contents, access: Access, call: Call) -> Answer:
    """The repository has it no more."""
    access.admit(call.headers, call.repository, DELETE)
    contents.delete_blob(call.repository, names.digest(call.reference))
    return Answer(202)


def fill(reader: Reader, buffer: memoryview) -> None:
    """Fill the buffer, all of it; `SizeMismatch` if the blob ends before."""
    done = 0
    while done < len(buffer):
        count = reader.readinto(buffer[done:])
        if not count:
            raise SizeMismatch(f"blob ends {len(buffer) - done} bytes early")
        done += count


_TYPE = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
