"""What a user's word for an image leads to: a name, `repository@digest`, an image id or the start of one."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.errors import Conflict, InvalidReference, NotFound
from lamina.images.view import Image, Root, View
from lamina.oci import Platform, matches
from lamina.reference import Reference, is_hex_id

_SHA256 = "sha256:"


@dataclass(frozen=True, slots=True)
class Found:
    """The image, and the root it was found by; `named` if the word was a name (then `root` is that name's)."""

    image: Image
    root: Root | None
    named: bool


def find(view: View, word: str, platform: str | Platform | None = None) -> Found:
    """The image that a word means; of an index, that of `platform` (by default the host's, or the first whole).

    Names go before ids, as in docker.  `NotFound`, `InvalidReference`, `Conflict` (the start of several ids).
    """
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    root = by_name(view, word)
    if root is not None:
        return Found(_of_platform(view, root, wanted, word), root, True)
    found = _by_id(view, word)
    if found is None:
        raise not_found(word)
    if isinstance(found, Root):
        return Found(_of_platform(view, found, wanted, word), found, False)
    if wanted is not None and not matches(wanted, found.platform):
        raise _other_platform(word, wanted, [found])
    entry = view.entries.get(found.id)
    return Found(found, entry.roots[0] if entry else None, False)


def by_name(view: View, word: str) -> Root | None:
    """The root that a name leads to; None if the word is no name or nothing has it."""
    hexadecimal = word.removeprefix(_SHA256)
    if is_hex_id(hexadecimal) and (word.startswith(_SHA256) or len(word) == 64):
        return None
    reference = Reference.parse(word)
    if reference.digest is None:
        return view.roots.get(str(reference))
    # With tag and digest the digest counts.
    return next((root for root in view.roots.values() if root.reference
                 and root.reference.name == reference.name and reference.digest in _digests(view, root)), None)


def not_found(word: str) -> NotFound:
    """In docker's words: names in full, ids as given."""
    try:
        shown = Reference.parse(word).familiar()
    except InvalidReference:
        shown = word[:160]
    return NotFound(f"No such image: {shown}")


def short_id(image_id: str) -> str:
    """Twelve digits."""
    return image_id.partition(":")[2][:12]


def _by_id(view: View, word: str) -> Image | Root | None:
    start = word.removeprefix(_SHA256)
    if not is_hex_id(start):
        return None
    start = _SHA256 + start
    ids = {image.id: image for image in view.images.values() if image.id.startswith(start)}
    ids |= {key: entry.image for key, entry in view.entries.items() if key.startswith(start)}
    if len(ids) > 1:
        raise Conflict(f"ambiguous digest string: {word}", hint=f"{len(ids)} images begin so, give more digits")
    if ids:
        return next(iter(ids.values()))
    if len(start) == len(_SHA256) + 64:
        root = next((root for root in view.roots.values() if root.digest == start), None)
        return root or view.images.get(start)
    return None


def _digests(view: View, root: Root) -> set[str | None]:
    """All digests that a repository's name may be asked for with."""
    named = root.reference.digest if root.reference else None
    return {root.digest, named, view.digest_of(root), *(image.manifest for image in view.reached(root.digest))}


def _of_platform(view: View, root: Root, wanted: Platform | None, word: str) -> Image:
    if wanted is None:
        return view.image_of(root)
    images = view.reached(root.digest)
    fitting = [image for image in images if matches(wanted, image.platform)]
    if not fitting:
        raise _other_platform(word, wanted, images)
    return next((image for image in fitting if image.whole), fitting[0])


def _other_platform(word: str, wanted: Platform, images: list[Image] | tuple[Image, ...]) -> NotFound:
    actual = ", ".join(str(image.platform) for image in images) or "none"
    return NotFound(f"image with reference {word} was found but does not match the specified platform: "
                    f"wanted {wanted}, actual: {actual}")
