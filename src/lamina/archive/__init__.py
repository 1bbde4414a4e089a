"""Image archives, in and out: docker-archive and OCI image layout, as files, directories and streams."""

from lamina.archive.layout_dir import OciLayout, write_oci_dir
from lamina.archive.opening import open_source
from lamina.archive.output import atomic_output
from lamina.archive.source import ArchiveSource
from lamina.archive.writing import write_docker_archive, write_oci_archive

__all__ = [
    "ArchiveSource",
    "OciLayout",
    "atomic_output",
    "open_source",
    "write_docker_archive",
    "write_oci_archive",
    "write_oci_dir",
]
