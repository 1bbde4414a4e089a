"""Manifests from elsewhere into the store.

An image's config comes with its manifest, since only with it the store knows an image (`lamina images`, `gc --max-size`);
layers, and what an index names, come when they are asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina import oci
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import InvalidContent, LaminaError, LimitExceeded, NotFound, RegistryError, StorageError, StoreError
from lamina.images.served.contents import CONFIG_LIMIT
from lamina.oci import Descriptor
from lamina.store.links import AS_BLOB, AS_MANIFEST

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.routes import Claims, Place
    from lamina.images.served.proxied.upstream import Source
    from lamina.store.session import Session

log = logging.getLogger(__name__)



class Keeper:
    """Of one store.  For several threads."""

    def __init__(self, contents: StoreContents, claims: Claims, compression: str) -> None:
        self._contents, self._store, self._claims, self._compression = contents, contents.store, claims, compression

    def keep(self, place: Place, source: Source, found: Descriptor, data: bytes) -> bool:
        """Keep a manifest that has been verified, by its digest; False if that cannot be."""
        if not self._claims.take(place):
            return False
        try:
            children = oci.children(found.media_type, data, found.digest)
            with self._store.session(compression=self._compression, lenient=True) as session:
                self._bring(session, place, source, found, children)
                if not session.exists(found) or self._lacked(found):
                    session.push(found, BytesReader(data))
                if not self._store.catalog.links.reaches(place.name, found.digest, manifest=True):
                    session.tag(found, f"{place.name}@{found.digest}")
                session.commit()
        except (InvalidContent, LimitExceeded, NotFound, RegistryError, StorageError, StoreError) as error:
            log.warning("%s@%s is served and not kept: %s", place.name, found.digest, error)
            return False
        return True

    def _bring(self, session: Session, place: Place, source: Source, found: Descriptor, children: Sequence[Descriptor]) -> None:
        """The config; and what the repository has not got from there yet is left out of it, whoever else has it here.

        Else whoever pushes a manifest there could read here what he only knows the digest of.
        """
        kind = AS_MANIFEST if oci.is_index(found.media_type) else AS_BLOB
        for number, child in enumerate(children):
            if kind == AS_BLOB and number == 0:
                self._bring_config(session, place, source, child)
            elif not self._contents.has(place.name, child.digest):
                session.leave_out(place.name, child.digest, kind)

    def _bring_config(self, session: Session, place: Place, source: Source, config: Descriptor) -> None:
        if config.size > CONFIG_LIMIT:
            raise LimitExceeded(f"a config of {config.size} bytes", config.digest)
        theirs = self._store.catalog.blob(config.digest) is not None and not self._contents.has(place.name, config.digest)
        if theirs and source.blob(config.digest).size != config.size:
            raise InvalidContent("a manifest gives another size than the registry", config.digest)
        if session.exists(config):
            return
        reader = BytesReader(config.data) if config.data is not None else source.fetch(config)
        try:
            session.push(config, reader)
        finally:
            reader.close()

    def _lacked(self, found: Descriptor) -> bool:
        image = self._store.catalog.image(found.digest) if oci.is_manifest(found.media_type) else None
        return image is not None and not image.whole

    def name(self, place: Place, tag: str, digest: Digest) -> None:
        """Let a tag lead to what is kept."""
        name = f"{place.name}:{tag}"
        before, row = self._store.catalog.ref(name), self._store.catalog.blob(digest)
        if row is None or (before is not None and before.digest == digest) or not self._claims.has(place):
            return
        if not self._contents.has(place.name, row.digest):  # it is here, but could not be kept for this repository
            return
        with self._store.session(lenient=True) as session:  # which leaves the gaps that there are
            session.tag(Descriptor(row.media_type, Digest(row.digest), row.size), name)
            session.commit()

    def named(self, place: Place, tag: str) -> Digest | None:
        """Where the tag led when it was last looked at."""
        found = self._store.catalog.ref(f"{place.name}:{tag}") if self._claims.has(place) else None
        return Digest(found.digest) if found is not None else None

    def complete(self, place: Place, digest: Digest) -> None:
        """A blob has come: images all of whose layers are here now are whole."""
        catalog = self._store.catalog
        for parent in catalog.parents(digest):
            image, row = catalog.image(parent), catalog.blob(parent)
            if image is None or row is None or image.whole or not self._contents.has(place.name, parent):
                continue
            data = self._store.document(parent)
            if any(catalog.blob(one.digest) is None for one in oci.children(row.media_type, data, parent)):
                continue
            with suppress(LaminaError), self._store.session(compression=self._compression, lenient=True) as session:
                session.push(Descriptor(row.media_type, Digest(parent), row.size), BytesReader(data))
                session.commit()
