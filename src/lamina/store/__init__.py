"""The store: blobs taken apart into chunks, packed, indexed, catalogued, and put together again (FORMAT.md)."""

from lamina.store.blobstore import BlobStore, Reading

__all__ = ["BlobStore", "Reading"]
