"""The store as a registry serves it: `lamina.registry.server.contents.Contents` over a `BlobStore`.

    names.py      a repository's NAME and the names of the store: what `lamina images` shows as REPOSITORY
    contents.py   blobs, manifests, tags
    intake.py     blobs on their way in, through the store's pipeline while they arrive
    heap.py       memory that is given back
    handover.py   uploads that another process has in its pipeline
    little.py     blobs so small that several share a session
    uploads.py    uploads: what has arrived lies in a file, and goes on from there
    verbatim.py   blobs that are stored as they came, and go out by the kernel
    readings.py   readers' leases that requests share

A repository has a blob if it was pushed or mounted there (a link), or if a name of the repository leads to it.  A manifest is
kept by a name of the store: `repository:tag`, and `repository@digest` until it is deleted by its digest.
"""
