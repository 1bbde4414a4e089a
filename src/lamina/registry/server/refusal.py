"""What a registry answers when it does not do what was asked: the error codes of the distribution specification."""

from __future__ import annotations

from typing import Final

from lamina.errors import LaminaError

# Code -> (status, message), by the specification's "Error Codes".
CODES: Final = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (416, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (404, "manifest references a manifest or blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown to registry"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "UNAUTHORIZED": (401, "authentication required"),
    "DENIED": (403, "requested access to the resource is denied"),
    "UNSUPPORTED": (405, "the operation is unsupported"),
    "TOOMANYREQUESTS": (429, "too many requests"),
    # Not of the specification, but of every registry.
    "TAG_INVALID": (400, "manifest tag did not match URI"),
    "RANGE_INVALID": (416, "invalid content range"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "UNAVAILABLE": (503, "service unavailable"),
    "UNKNOWN": (500, "unknown error"),
}


class Refusal(LaminaError):
    """`code` and `detail` go into the error envelope; `status` is the code's own unless given."""

    def __init__(self, code: str, detail: str = "", status: int = 0, headers: dict[str, str] | None = None) -> None:
        default, self.message = CODES[code]
        self.code, self.detail, self.status, self.headers = code, detail, status or default, headers or {}
        super().__init__(self.message, detail)
