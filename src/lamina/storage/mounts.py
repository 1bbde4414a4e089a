"""Which file systems may hold the local state: file locks and shared mappings must work as on a local disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lamina.errors import StoreError

_MOUNTS = Path("/proc/self/mountinfo")

# Locks or shared memory that another machine (or the other side of a virtual one) does not see.
NETWORK = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fhgfs", "fuse.ceph", "fuse.ceph-fuse",
    "fuse.cephfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.mfs",
    "fuse.mount-s3", "fuse.nfs", "fuse.ossfs", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs",
    "fuse.curlftpfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncp", "ncpfs", "nfs", "nfs3", "nfs4",
    "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs",
))

_OCTAL = re.compile(rb"\\([0-7]{3})")


def file_system(path: Path, mountinfo: bytes) -> tuple[str, str]:
    """(type, mount point) of what holds an absolute, resolved path; ("", "") if the table (proc(5)) does not tell."""
    target, best, kind = os.fsencode(path), b"", b""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(b" - ")
        fields = left.split()
        if not dash or len(fields) < 5 or not right:
            continue
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 255]), fields[4])
        inside = target == point or target.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= len(best):  # of equal ones the later mount hides the earlier
            best, kind = point, right.split()[0]
    return os.fsdecode(kind), os.fsdecode(best)


def refuse_network(path: Path, mountinfo: bytes | None = None) -> None:
    """`StoreError` if the path lies on a network file system; without a table of mounts all is taken."""
    if mountinfo is None:
        if not _MOUNTS.exists():
            return
        mountinfo = _MOUNTS.read_bytes()
    kind, point = file_system(path.resolve(), mountinfo)
    if kind in NETWORK:
        raise StoreError(f"the store is on a network file system ({kind}, mounted at {point})", path,
                         "choose a store on a local disk with --store or LAMINA_STORE")
