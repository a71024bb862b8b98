"""Where a library is, as commands take it: a folder, or a collection of Qdrant's."""

from pathlib import Path
from typing import Any

import click


class LibraryPlace(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A folder as a path; qdrant://host:6333/sounds as it is."""

    name = "DIR"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """Tell the two apart."""
        return library_place(str(value))


def library_place(text: str) -> Path | str:
    """A folder as a path; a collection's address as it is."""
    from wavtext.library.place import is_qdrant

    return text if is_qdrant(text) else Path(text)
