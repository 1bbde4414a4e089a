"""The commands, told in plain data: `--help` and completion list them without importing any.

Each name leads to (module under `lamina.cli.commands`, one line of help, what its arguments are, its options that take a
value).  A test holds the last against the commands themselves.
"""

from __future__ import annotations

IMAGES, IMAGE, FILES, NOTHING = "images", "image", "files", ""

Entry = tuple[str, str, str, str]

_LOAD = ("load", "Load images from archives or standard input", FILES, "-i --input --platform --compression")
_SAVE = ("save", "Save images to an archive or standard output", IMAGES, "-o --output --format --platform")
_PULL = ("pull", "Pull images from registries", IMAGES, "--platform --compression --format")
_PUSH = ("push", "Push images to registries", IMAGES, "--platform --compression --format")
_IMPORT = ("import_", "Make an image from a root file system tar", FILES, "-c --change -m --message --platform")
_LIST = ("images", "List images", IMAGE, "-f --filter --format")
_INSPECT = ("inspect", "Show all that is known of images", IMAGES, "-f --format")
_HISTORY = ("history", "Show how an image was made", IMAGE, "--format")
_TAG = ("tag", "Give an image another name", IMAGE, "")
_REMOVE = ("rmi", "Remove images", IMAGES, "")
_PRUNE = ("prune", "Remove images without a name", NOTHING, "--filter")

COMMANDS: dict[str, Entry] = {
    "pull": _PULL,
    "push": _PUSH,
    "copy": ("copy", "Copy an image between registries, layouts, archives and the store", IMAGES,
             "--platform --compression --format"),
    "mirror": ("mirror", "Keep repositories in step with those that a file lists", FILES, "--compression --format"),
    "serve": ("serve", "Serve the store as a registry", NOTHING,
              "--listen --tls-cert --tls-key --config --proxy --workers --compression --grace"),
    "tags": ("tags", "List the tags of a repository in a registry", NOTHING, "--format"),
    "manifest": ("", "Look at manifests in registries", NOTHING, ""),
    "load": _LOAD,
    "save": _SAVE,
    "import": _IMPORT,
    "images": _LIST,
    "inspect": _INSPECT,
    "history": _HISTORY,
    "tag": _TAG,
    "rmi": _REMOVE,
    "pin": ("pin", "Keep names from being removed by rule, or list those that are kept", IMAGES, "--format"),
    "unpin": ("unpin", "Let go of pinned names", IMAGES, ""),
    "tree": ("tree", "Draw parents and children with what each adds", NOTHING, "--format"),
    "login": ("login", "Log in to a registry", NOTHING, "-u --username -p --password"),
    "logout": ("logout", "Log out of a registry", NOTHING, ""),
    "image": ("", "Manage images", NOTHING, ""),
    "system": ("", "Manage the store", NOTHING, ""),
    "gc": ("gc", "Free what no image refers to", NOTHING, "--max-unused --max-size --format"),
    "optimize": ("optimize", "Store what is in use anew, smaller", NOTHING, "--level --budget --memory --format"),
    "verify": ("verify", "Read everything back and check it", IMAGES, "--sample --seed --since --format"),
    "backup": ("backup", "Copy what is new into a directory that is a store, too", FILES, "--format"),
    "repair": ("repair", "Repair damage, with the help of other places", NOTHING, "--from --compression --format"),
    "info": ("info", "Show the store, versions and processor features", NOTHING, "-f --format"),
    "bench": ("bench", "Measure layers and stages on your images, compare settings and programs", FILES,
              "--sweep --against --runs --format --report --work"),
    "demo": ("demo", "Show deduplication on files of this machine", NOTHING, ""),
    "completion": ("completion", "Print the completion script of a shell", NOTHING, ""),
}

GROUPS: dict[str, dict[str, Entry]] = {
    "image": {
        "ls": _LIST, "list": _LIST, "rm": _REMOVE, "remove": _REMOVE, "pull": _PULL, "push": _PUSH, "load": _LOAD,
        "save": _SAVE, "import": _IMPORT,
        "inspect": _INSPECT, "history": _HISTORY, "tag": _TAG, "prune": _PRUNE,
    },
    "manifest": {"inspect": ("manifest", "Show a manifest as its registry has it", IMAGE, "")},
    "system": {"df": ("df", "Show what images, layers and chunks take", NOTHING, "--format")},
}

# Other names for a command in its group: they work, help does not list them.
ALIASES = {"list", "remove"}
# Options of `lamina` itself that take a value.
ROOT_VALUES = ("--store",)
SHELLS = ("bash", "zsh", "fish")

# The headings of `lamina --help` and what stands under them, in this order; the other commands follow under OTHERS.
SECTIONS = {
    "Images": ("load", "save", "import", "images", "inspect", "history", "tag", "rmi", "pin", "unpin", "tree", "image"),
    "Registries": ("pull", "push", "copy", "mirror", "tags", "manifest", "serve", "login", "logout"),
    "Store": ("gc", "optimize", "verify", "repair", "backup", "info", "system"),
}
OTHERS = "More"
