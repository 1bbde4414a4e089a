"""`copy`: an image from one place to another, with every digest as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.archive import OciLayout, atomic_output, write_docker_archive, write_oci_archive
from lamina.archive.writing import index_entries
from lamina.content.copy import CopyResult
from lamina.content.graph import Graph
from lamina.content.memory import MemoryTarget
from lamina.content.progress import Progress, Silent
from lamina.errors import DigestMismatch, RegistryError, RegistryUnavailable, Unauthorized, UsageError
from lamina.images.places import DOCKER, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, STORE, Opened, Place, in_full, opened, parse_place
from lamina.images.platforms import chosen_manifest, parse_wanted
from lamina.images.remotes import Network, Remote
from lamina.images.tagging import Tagger
from lamina.images.transfer import LANES, Reporter, transfer
from lamina.images.uses import used
from lamina.images.watched import Watched
from lamina.oci import Platform
from lamina.reference import Reference
from lamina.store.tuning import Tuning

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.session import Session


@dataclass(frozen=True, slots=True)
class Copied:
    """What went where: `digest` is the same at both ends; blobs and documents that went over, and that were there."""

    source: str
    destination: str
    digest: str
    pushed: int
    skipped: int
    referrers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Copy:
    """One copy."""

    store: BlobStore
    network: Network
    destination: Place
    host: Platform | None
    referrers: bool
    progress: Progress


def copy(
    store: BlobStore,
    network: Network,
    source: str,
    destination: str,
    *,
    platform: str | None = None,
    referrers: bool = False,
    compression: str = "zstd:1",
    progress: Progress | None = None,
) -> Copied:
    """Copy what `source` means to `destination` (see `lamina.images.places`): all platforms of an index, or with `platform`
    that one's manifest by itself; with `referrers` what refers to it.

    Digests never change: layers go as they are, plain ones plain.  A docker-archive holds plain tars of what is under zstd as
    well, as `save` writes it.  A destination with a digest takes that digest alone.

    `UsageError`, `InvalidReference`, `NotFound`, `DigestMismatch`; errors as of `transfer`.  No name has moved then.
    """
    wanted = parse_wanted(platform)
    begin, end = parse_place(source), parse_place(destination)
    if end.kind != DOCKER and end.name:
        in_full(end.name)
    if end.kind == DOCKER_ARCHIVE and referrers:
        raise UsageError("a docker-archive holds no referrers", destination, "write an oci-archive")
    host = wanted if isinstance(wanted, Platform) else None
    work = _Copy(store, network, end, host, referrers, progress or Silent())
    with ExitStack() as stack:
        session = None
        if end.kind == STORE:
            session = stack.enter_context(store.session(compression=compression, progress=progress, tuning=Tuning(lanes=LANES)))
        found = stack.enter_context(opened(begin, store, network, session))
        meant = found.root.digest
        if host is not None:
            found = replace(found, root=chosen_manifest(found.source, found.root, host, str(begin)))
        result = _WAYS[end.kind](work, found, session)
    if begin.kind == STORE:
        used(store, [meant])
    return Copied(str(begin), str(end), str(found.root.digest), result.pushed, result.skipped,
                  tuple(str(one.digest) for one in result.referrers), tuple(_warnings(str(begin), result)))


def _to_registry(work: _Copy, found: Opened, session: Session | None) -> CopyResult:
    reference = work.destination.reference
    assert reference is not None
    _check_digest(reference, found)
    remote = work.network.target(reference, uploads=work.store.uploads)
    let_mount(remote, reference, found.name if _is_remote(found) else None)
    reporter = Reporter(work.progress, "uploading", "pushed")
    try:
        return transfer(found.source, remote, found.root, referrers=work.referrers, observer=reporter, tag=reference.tag)
    except (RegistryUnavailable, Unauthorized):
        raise
    except RegistryError as error:
        if error.hint or not _is_sparse(found):
            raise
        hint = "the source has some of the index's platforms only: name one with --platform"
        raise type(error)(error.what, error.where, hint) from error


def _is_sparse(found: Opened) -> bool:
    """Whether an index names what the source has not, which registries may refuse."""
    graph = Graph(found.source, MemoryTarget(), found.root)
    return not all(graph.has(leaf) for leaf, _ in graph.leaves(attestations=True))


def _is_remote(found: Opened) -> bool:
    """Whether it comes from a registry, where its repository can be named."""
    return hasattr(found.source, "mount_from")


def let_mount(remote: Remote, reference: Reference, source: Reference | None) -> None:
    """Let a registry take blobs out of its own repository."""
    if source is not None and source.domain == reference.domain and source.path != reference.path:
        path = source.path
        remote.mount_from = lambda digest: (path,)


def _to_layout(work: _Copy, found: Opened, session: Session | None) -> CopyResult:
    layout = OciLayout(work.destination.path, create=True)
    reporter = Reporter(work.progress, ended="saved")
    name = in_full(work.destination.name) if work.destination.name else ""
    result = transfer(found.source, layout, found.root, referrers=work.referrers, observer=reporter)
    layout.add(index_entries(found.source, found.root, [name]))
    return result


def _to_archive(work: _Copy, found: Opened, session: Session | None) -> CopyResult:
    name = work.destination.name or (str(found.name) if found.name and found.name.tag else "")
    roots = [(found.root, [name] if name else [])]
    reporter = Reporter(work.progress, ended="saved")
    source = Watched(found.source, reporter.advanced)
    with atomic_output(work.destination.path) as out:
        if work.destination.kind == OCI_ARCHIVE:
            return write_oci_archive(out, source, roots, observer=reporter, referrers=work.referrers)[0]
        return write_docker_archive(out, source, roots, host=work.host, observer=reporter)[0]


def _to_store(work: _Copy, found: Opened, session: Session | None) -> CopyResult:
    assert session is not None
    reference = Reference.parse(work.destination.name)
    _check_digest(reference, found)
    if reference.digest is not None and reference.tag:
        reference = replace(reference, digest=None)
    result = transfer(found.source, session, found.root, referrers=work.referrers, observer=Reporter(work.progress))
    if found.made:
        for manifest in result.manifests:
            session.mark_made(manifest)
    tagger = Tagger(work.store, session)
    tagger.name(found.root, reference)
    tagger.finish()
    session.commit()
    return result


_WAYS: dict[str, Callable[[_Copy, Opened, Session | None], CopyResult]] = {
    DOCKER: _to_registry, OCI: _to_layout, OCI_ARCHIVE: _to_archive, DOCKER_ARCHIVE: _to_archive, STORE: _to_store,
}


def _check_digest(reference: Reference, found: Opened) -> None:
    """A destination that names a digest takes nothing else."""
    if reference.digest is not None and reference.digest != found.root.digest:
        raise DigestMismatch(f"the source has the digest {found.root.digest}", reference.familiar(),
                             "name the destination by a tag")


def _warnings(source: str, result: CopyResult) -> Iterator[str]:
    """What is said of the parts that did not go over."""
    for lost, parent in result.missing:
        yield f"{source}: {lost.digest}, named by {parent.digest}, is not there"
    for lost, parent in result.foreign:
        yield f"{source}: the layer {lost.digest} of {parent.digest} lies elsewhere and was left there"
