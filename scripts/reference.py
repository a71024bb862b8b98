"""The reference pages that are made from the code: commands, settings, card, list of decisions.

    python scripts/reference.py            # write docs/reference/ and docs/decisions/index.md
    python scripts/reference.py --check    # exit 1 when a page is not what the code says

The Python reference is made from docstrings by mkdocstrings while the documentation is built.
"""

import argparse
import ast
import dataclasses
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NOTE = "<!-- Made by scripts/reference.py: change the code, then run it. -->\n\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    arguments = parser.parse_args()
    stale = [path for path, text in reference_pages().items() if not is_current(path, text)]
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run python scripts/reference.py")
        return 1 if stale else 0
    for path, text in reference_pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def reference_pages() -> dict[Path, str]:
    """Each made page and what it should hold."""
    return {
        DOCS / "reference" / "cli.md": NOTE + commands_page(),
        DOCS / "reference" / "settings.md": NOTE + settings_page(),
        DOCS / "reference" / "model-card.md": NOTE + card_page(),
        DOCS / "decisions" / "index.md": NOTE + decisions_page(),
    }


def is_current(path: Path, text: str) -> bool:
    """Whether a page is on the disk as the code says."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


# --- commands ---------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command's --help."""
    from wavtext.cli.main import wavtext

    parts = [
        "# Commands\n\nWhat `wavtext COMMAND --help` says. `wavtext --debug COMMAND` shows the "
        "traceback of a failure. The exit status is 0 when all is well, 1 when something failed, "
        "2 when the command was mistyped, 130 when it was interrupted.\n"
    ]
    for path, command, context in walk(wavtext, click.Context(wavtext, info_name="wavtext")):
        heading = "#" * min(len(path) + 1, 4)
        text = command.get_help(context)
        parts.append(f"{heading} {' '.join(('wavtext', *path))}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def walk(
    command: click.Command, context: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Every command below a group, with its path and a context that wraps at 92 columns."""
    if path:
        yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            inner = click.Context(
                child, parent=context, info_name=name, terminal_width=92, max_content_width=92
            )
            yield from walk(child, inner, (*path, name))


# --- settings ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a config class."""

    name: str  # with its tables: "audio.htsat.depths"
    kind: str
    default: str
    comment: str  # what the source says beside it


def settings_page() -> str:
    """The settings of training, of a model folder and of the server."""
    from wavtext.model.folder import ModelConfig
    from wavtext.server.settings import ServerSettings
    from wavtext.training.config import TrainConfig

    parts = ["# Settings\n"]
    for title, about, config in (
        ("Training", "`wavtext train CONFIG.toml`; a dot stands for a TOML table.", TrainConfig),
        ("A model folder", "`model.toml`, which training and `convert` write.", ModelConfig),
        (
            "The server",
            "`ServerSettings` in Python; `wavtext serve` takes the common ones as options.",
            ServerSettings,
        ),
    ):
        parts.append(f"## {title}\n\n{about}\n\n| setting | type | default | meaning |")
        parts.append("|---|---|---|---|")
        parts += [
            f"| `{each.name}` | {cell(each.kind)} | {cell(each.default)} | {cell(each.comment)} |"
            for each in settings_of(config)
        ]
        parts.append("")
    return "\n".join(parts)


def cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def settings_of(config: type, table: str = "") -> Iterator[Setting]:
    """The fields of a config class, those of its tables behind their names."""
    comments = source_comments(config)
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = next(
            (k for k in (hints[field.name], *typing.get_args(hints[field.name])) if is_config(k)),
            None,
        )
        if kind is not None:
            yield from settings_of(kind, f"{table}{field.name}.")
            continue
        name, comment = f"{table}{field.name}", comments.get(field.name, "")
        yield Setting(name, type_name(hints[field.name]), default_of(field), comment)


def is_config(kind: object) -> bool:
    """Whether a type is one of wavtext's config classes."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def type_name(hint: object) -> str:
    """A type as people read it."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f'`"{each}"`' for each in typing.get_args(hint))
    text = re.sub(r"\b[\w.]+\.", "", str(hint).removeprefix("<class '").removesuffix("'>"))
    return text.replace(" | None", "").replace("Path", "path")


def default_of(field: dataclasses.Field) -> str:  # type: ignore[type-arg]
    """The default as TOML writes it; empty when there is none."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`"


@cache
def source_comments(config: type) -> dict[str, str]:
    """The comments that stand on the lines of a class's fields, base classes first."""
    found: dict[str, str] = {}
    for each in reversed(config.__mro__[:-1]):
        lines = textwrap.dedent(inspect.getsource(each)).split("\n")
        [body] = ast.parse("\n".join(lines)).body
        assert isinstance(body, ast.ClassDef)
        for node in body.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                comments = (
                    re.search(r"(?<=\s)#\s*(.*)$", line)
                    for line in lines[node.lineno - 1 : node.end_lineno]
                )
                found[node.target.id] = " ".join(each[1] for each in comments if each)
    return found


def card_page() -> str:
    """The card of the model inside the package."""
    card = ROOT / "src" / "wavtext" / "model" / "compact" / "card.md"
    return card.read_text(encoding="utf-8")


# --- decisions --------------------------------------------------------------------------------


def decisions_page() -> str:
    """The decisions by number, with their titles."""
    rows = ["# Decisions\n\nContext, choice, what was rejected, consequence; a page each.\n"]
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = page.read_text(encoding="utf-8").split("\n")[0].lstrip("# ").strip()
        title = re.sub(r"^\d+[.:]?\s*", "", title)
        rows.append(f"* [{page.name[:4]}]({page.name}): {title}")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
