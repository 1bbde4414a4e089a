"""Pull-through: repositories of other registries, served and kept when they are asked for (CONFIG.md, "Pull-through").

    routes.py     which repository comes from where, under which name of the store it is kept, and whose that name is
    upstream.py   one registry behind: how many ask it at once, and that it is left alone for a while when it is away
    keeping.py    manifests into the store, under the names that clients ask by
    fetching.py   blobs into the store, and to the clients that wait for them while they come in
    memory.py     what is known for a while: where tags lead, lists
    contents.py   the `Contents` that puts all this before the store's own
"""
