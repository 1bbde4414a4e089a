"""Every error that Lamina raises on purpose.

    LaminaError                 something the user can act on; the CLI prints it in one line, exit 1
    |-- UsageError              the call itself is wrong; exit 125
    |-- InvalidReference        a name that is no image reference
    |-- InvalidDigest           a text that is no digest
    |-- InvalidContent          bytes that are not what they claim to be
    |   |-- DigestMismatch      ... by their digest
    |   |-- SizeMismatch        ... by their size
    |   `-- ArchiveError        ... as an archive or layout
    |-- NotFound                a blob, manifest, tag or image that is not there
    |-- Conflict                something in the way (an image in use by several tags, ...)
    |-- LimitExceeded           input beyond a stated limit
    |-- StorageError            the disk said no (full, read-only, I/O error)
    |-- RegistryError           a registry said no, or made no sense
    |   |-- Unauthorized        ... it does not know us, or we may not (401, 403)
    |   `-- RegistryUnavailable ... it cannot be reached, broke off, or is overloaded beyond our patience
    `-- StoreError              the store itself cannot be used
        |-- StoreDamaged        what is stored does not check out
        |-- StoreTooNew         written by a later format version
        |-- StoreLocked         the catalog stayed locked beyond the time-out
        `-- LeaseLost           the session's lease is gone; its work was not published

A message says WHAT, WHERE and WHAT TO DO; the three parts are kept apart so that the CLI can print
`lamina: error: WHAT, WHERE, WHAT TO DO` and a program can read them.
"""

from __future__ import annotations


class LaminaError(Exception):
    """Base of all; `what`, and where known `where` (a path, a digest, a name) and `hint` (what to do)."""

    exit_code = 1

    def __init__(self, what: str, where: object = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, str(where), hint
        super().__init__(", ".join(part for part in (what, self.where, hint) if part))


class UsageError(LaminaError):
    """The call itself is wrong."""

    exit_code = 125


class InvalidReference(LaminaError):
    """A name that is no image reference."""


class InvalidDigest(LaminaError):
    """A text that is no digest."""


class InvalidContent(LaminaError):
    """Bytes that are not what they claim to be."""


class DigestMismatch(InvalidContent):
    """Bytes whose digest is another than the one asked for."""


class SizeMismatch(InvalidContent):
    """Fewer or more bytes than announced."""


class ArchiveError(InvalidContent):
    """An archive or layout that does not hold together."""


class NotFound(LaminaError):
    """A blob, manifest, tag or image that is not there."""


class Conflict(LaminaError):
    """Something is in the way."""


class LimitExceeded(LaminaError):
    """Input beyond a stated limit."""


class StorageError(LaminaError):
    """The disk said no."""


class RegistryError(LaminaError):
    """A registry said no, or made no sense."""


class Unauthorized(RegistryError):
    """A registry does not know us, or we may not."""


class RegistryUnavailable(RegistryError):
    """A registry cannot be reached, broke off, or is overloaded beyond our patience."""


class StoreError(LaminaError):
    """The store itself cannot be used."""


class StoreDamaged(StoreError):
    """What is stored does not check out."""


class StoreTooNew(StoreError):
    """Written by a later format version."""


class StoreLocked(StoreError):
    """The catalog stayed locked beyond the time-out."""


class LeaseLost(StoreError):
    """The session's lease is gone; its work was not published."""
