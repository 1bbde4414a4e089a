"""Pull-through: repositories of other registries, served and kept when they are asked for (CONFIG.md, "Pull-through").

    routes.py     which repository comes from where, under which name of the store it is kept, and whose that name is
    upstream.py   one registry behind: how many ask it at once, and that it is left alone for a while when it is away
    memory.py     what is known for a while
    keeping.py    manifests into the store, under the names that clients ask by
    fetch.py      one blob into the store, and to the clients that wait for it while it comes in
    fetching.py   all that are on their way
    manifests.py  which manifest is served: the store's, or the other registry's
    lists.py      the same of tags and referrers
    blobs.py      the same of blobs
    contents.py   the `Contents` that puts all this before the store's own
"""
