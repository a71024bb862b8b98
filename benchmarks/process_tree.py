"""How much memory a process and its children hold.  Linux, read from /proc."""

import resource
from contextlib import suppress
from pathlib import Path


def tree_memory(root: int) -> list[float]:
    """MiB of a process and of each of its descendants, its own first (Linux)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                after_name = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(after_name[1])
    family = [root]
    for member in family:  # grows while it is walked
        family += [pid for pid, parent in parents.items() if parent == member]
    held: list[float] = []
    for pid in family:
        with suppress(OSError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            held.append(pages * resource.getpagesize() / 2**20)
    return held
