"""The fenced blocks of the documentation, and the command lines in them.

A block that cannot run where the tests run says why, in a comment on the line before it:

    <!-- not run: it downloads 300 MB -->

It is still parsed: every `wavtext` line in it must name commands, options and values that exist.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("sh", "console", "bash", "shell")
MARKER = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str  # relative to the repository
    line: int  # of the opening fence, from 1
    language: str  # "" where none is named
    text: str
    reason: str  # why it cannot run here; empty when it can

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README and every page of the documentation, generated ones included."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def written_pages() -> list[Path]:
    """The pages that people write: not the reference, which a script makes from the code."""
    return [page for page in pages() if "reference" not in page.relative_to(ROOT).parts]


def read_blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    lines = page.read_text(encoding="utf-8").split("\n")
    found: list[Block] = []
    start, language, fence = 0, "", ""
    for number, line in enumerate(lines):
        opening = re.match(r"\s*(```+|~~~+)\s*([\w+-]*)", line)
        if not fence and opening:
            start, fence, language = number, opening[1], opening[2]
        elif fence and line.strip() == fence:
            before = next((each for each in reversed(lines[:start]) if each.strip()), "")
            marker = MARKER.search(before)
            text = "\n".join(lines[start + 1 : number]) + "\n"
            name = str(page.relative_to(ROOT))
            found.append(Block(name, start + 1, language, text, marker[1] if marker else ""))
            fence = ""
    assert not fence, f"{page}:{start + 1}: the block is not closed"
    return found


def blocks(*languages: str) -> list[Block]:
    """All blocks in these languages."""
    return [block for page in pages() for block in read_blocks(page) if block.language in languages]


def command_lines(block: Block) -> list[str]:
    """The logical lines that a reader would type: in a console block those after "$ "."""
    lines: list[str] = []
    typed = block.language != "console"
    joined = False
    for raw in block.text.split("\n"):
        line = raw.strip()
        if block.language == "console" and not joined:
            typed = line.startswith("$ ")
            line = line[2:]
        if not typed or not line or (not joined and line.startswith("#")):
            joined = False
            continue
        if joined:
            lines[-1] += " " + line.removesuffix("\\").rstrip()
        else:
            lines.append(line.removesuffix("\\").rstrip())
        joined = line.endswith("\\")
    return lines


def split_commands(line: str) -> list[list[str]]:
    """One line of shell as argument lists: `a && b | c` are three.  Assignments are dropped."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found: list[list[str]] = [[]]
    redirected = False
    for token in lexer:
        if set(token) <= set("&|;"):
            found.append([])
        elif set(token) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            found[-1].append(os.path.expanduser(token) if token.startswith("~/") else token)
    for words in found:
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
    return [words for words in found if words]


def wavtext_arguments(words: list[str]) -> list[str] | None:
    """What follows `wavtext`, `python -m wavtext` or `torchrun ... -m wavtext`; None: not ours."""
    if Path(words[0]).name == "wavtext":
        return words[1:]
    for position in range(len(words) - 1):
        if words[position] == "-m" and words[position + 1] == "wavtext":
            return words[position + 2 :]
    return None
