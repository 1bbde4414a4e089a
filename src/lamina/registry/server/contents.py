"""What a registry server serves: the one interface between HTTP and whatever holds the content.

Every method blocks and is called from threads of the server, several at a time.  `repository` is the NAME of the distribution
specification, checked by the caller (`names.py`); digests are checked too.  What is refused is a `Refusal`, whose code is the
specification's; any other `LaminaError` is the server's own failure (500, or 507 where the disk is full).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from lamina.content import Reader
from lamina.digest import Digest
from lamina.oci import Descriptor


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob or manifest that a repository has."""

    digest: Digest
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index: its bytes, and under which digest it was asked for or put."""

    digest: Digest
    media_type: str
    data: bytes


class Upload(Protocol):
    """One upload, held by one request at a time."""

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""

    def write(self, data: memoryview, /) -> None:
        """The next bytes, at `offset`; waits where more comes than can be taken in.  The buffer is the caller's again after."""

    def finish(self, digest: Digest, /) -> Stored:
        """That was all: it is durable and the repository has it when this returns; `DIGEST_INVALID` and the upload is over."""

    def cancel(self) -> None:
        """It is over, and nothing is left of it."""


class Contents(Protocol):
    """Repositories with manifests, tags and blobs."""

    def repositories(self, after: str, limit: int) -> list[str]:
        """Names of repositories that have a manifest, above `after` in lexical order."""

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Tags above `after` in lexical order; `NAME_UNKNOWN` for a repository that has nothing at all."""

    def manifest(self, repository: str, reference: str) -> Document:
        """By tag or digest; `MANIFEST_UNKNOWN`."""

    def put_manifest(self, repository: str, document: Document, tags: Sequence[str]) -> None:
        """Keep it under its digest (which the caller has checked) and these tags, durable when this returns.

        `MANIFEST_INVALID`, `MANIFEST_BLOB_UNKNOWN` (a config or layer that the repository has not).
        """

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """And every tag of the repository that leads to it; `MANIFEST_UNKNOWN`."""

    def delete_tag(self, repository: str, tag: str) -> None:
        """The tag alone; `MANIFEST_UNKNOWN`."""

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """What the repository has whose subject is that digest, which need not be there; with artifact type and annotations."""

    def blob(self, repository: str, digest: Digest) -> Stored:
        """`BLOB_UNKNOWN`."""

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> Reader:
        """Bytes `start` to `stop` (not included) of a blob; the caller closes it.  `BLOB_UNKNOWN`.

        If it is the whole blob, the digest is checked when the last bytes are read: a `LaminaError` instead of them.  What is
        known to be right already, and lies in files as it is, may come as `FileRuns`: over plain HTTP the kernel sends it.
        """

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """The repository has it no more; `BLOB_UNKNOWN`, `DENIED` while a manifest of the repository names it."""

    def mount(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> Stored | None:
        """Let the repository have what `source` has (any that `may_pull`, if there is none); None if it cannot be had so."""

    def begin_upload(self, repository: str) -> str:
        """The id of a new upload: letters and digits that nobody guesses."""

    def upload(self, repository: str, upload_id: str) -> AbstractContextManager[Upload]:
        """`BLOB_UPLOAD_UNKNOWN`; `TOOMANYREQUESTS` while another request holds it.

        Leaving it keeps what has arrived: the next request, of whatever worker, or after a restart, goes on from `offset`.
        """
