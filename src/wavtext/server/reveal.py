"""Show a file in the desktop's file manager.  A path -> a program started, no shell between."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Launch = Callable[[list[str]], None]


def reveal_command(path: Path, platform: str = sys.platform) -> list[str]:
    """The program and arguments that show `path`, selected where the desktop can do that."""
    if platform == "darwin":
        return ["open", "-R", str(path)]
    if platform == "win32":
        return ["explorer", f"/select,{path}"]
    return [
        "gdbus",
        "call",
        "--session",
        "--dest=org.freedesktop.FileManager1",
        "--object-path=/org/freedesktop/FileManager1",
        "--method=org.freedesktop.FileManager1.ShowItems",
        f"['{_escaped(path.as_uri())}']",
        "",
    ]


def launch(command: list[str]) -> None:
    """Start a program and do not wait; an OSError when there is none such."""
    subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _escaped(uri: str) -> str:
    # as_uri() leaves a few characters that a GVariant string would end at.
    return uri.replace("\\", "%5C").replace("'", "%27")
