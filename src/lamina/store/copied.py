"""`state/backup` of a copy: which packs backups have put there, so that what somebody else has written is known."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lamina.errors import StorageError
from lamina.storage.problems import storage_errors
from lamina.storage.writer import sync_directory

NAME: Final = "backup"
_HEX: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Copied:
    """Names (hex) of packs that backups have put into the copy, or begun to; the last journal of the view in place."""

    packs: frozenset[str] = frozenset()
    journal: int = 0

    @classmethod
    def read(cls, state_dir: Path) -> Copied:
        """What is noted; nothing where there is no note, or one that makes no sense."""
        try:
            value = json.loads((state_dir / NAME).read_bytes())
            packs, journal = value["packs"], value["journal"]
            if isinstance(journal, int) and all(_HEX.fullmatch(name) for name in packs):
                return cls(frozenset(packs), journal)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"cannot read what was copied before: {error.strerror}", state_dir / NAME) from error
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        return cls()

    def write(self, state_dir: Path) -> None:
        """Note it, durably."""
        path, new = state_dir / NAME, state_dir / f"{NAME}.new"
        text = json.dumps({"version": 1, "journal": self.journal, "packs": sorted(self.packs)}, separators=(",", ":"))
        with storage_errors("note what is copied", path):
            try:
                new.unlink(missing_ok=True)  # what an interrupted run has left
                with new.open("x") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                new.rename(path)
            finally:
                new.unlink(missing_ok=True)
            sync_directory(state_dir)
