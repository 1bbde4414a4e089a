"""The part of a blob that is asked for: `Range` (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamina.digest import Digest
from lamina.registry.server.refusal import Refusal

# One range.  Several are not served: the whole is then the answer, which the RFC allows, and no list can be too long.
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE | re.ASCII)


def wanted(headers: Mapping[str, str], digest: Digest, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole.  `RANGE_INVALID` (416) for what is not there."""
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or found.group() == "" or headers.get("If-Range", f'"{digest}"').strip() != f'"{digest}"':
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        if size == 0 and int(last):
            return None
        start, stop = max(size - int(last), 0), size
    else:
        # An end before the start is no range, and might be ignored; the conformance programme wants it refused.
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= stop:
        raise Refusal("RANGE_INVALID", headers={"Content-Range": f"bytes */{size}"})
    return start, stop
