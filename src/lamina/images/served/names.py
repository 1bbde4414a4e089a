"""NAME in a URL, and the names of the store: a repository is asked for as `lamina images` shows it."""

from __future__ import annotations

from lamina.errors import InvalidReference
from lamina.reference import Reference
from lamina.registry.server.names import is_repository
from lamina.registry.server.refusal import Refusal


def full_name(repository: str) -> str:
    """`app`, `library/app` -> `docker.io/library/app`, `quay.io/app` as it is; `NAME_INVALID`.

    So several spellings are one repository: rules are asked by the one that `one_name` gives.
    """
    try:
        reference = Reference.parse(repository, "")
    except InvalidReference as error:
        raise Refusal("NAME_INVALID", error.what) from error
    if reference.tag or reference.digest:
        raise Refusal("NAME_INVALID", repository[:160])
    return reference.name


def one_name(repository: str) -> str:
    """The spelling that the catalog shows, and that rules are about: `library/app` -> `app`."""
    try:
        return Reference.parse(repository, "").familiar_name
    except InvalidReference:
        return repository


def repository_of(name: str) -> str | None:
    """Of a name of the store; None where no URL can say it (a registry's port, a root without a name)."""
    if name.startswith("@"):
        return None
    try:
        reference = Reference.parse(name, "")
    except InvalidReference:
        return None
    familiar = reference.familiar_name
    if not is_repository(familiar):
        return None
    try:  # docker.io/localhost/app would be read as another one's
        return familiar if full_name(familiar) == reference.name else None
    except Refusal:
        return None


def tag_of(name: str, repository: str) -> str | None:
    """The tag of a name that begins with the full name of a repository; None for one with a digest."""
    rest = name[len(repository) :]
    return rest[1:] if rest[:1] == ":" and "@" not in rest else None
