"""What `wavtext corpus` commands are given: manifests, or tables -> clips, captions, names."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wavtext.errors import CollectError

if TYPE_CHECKING:
    from wavtext.corpora.captions import CaptionBuilder
    from wavtext.corpora.check import Corpus
    from wavtext.corpora.manifest import Clip


@contextmanager
def full_disk_is_no_loss(where: object) -> Generator[None]:
    """Turn what the operating system refuses (space, permission) into one line for the user."""
    try:
        yield
    except OSError as error:
        raise CollectError(
            f"{error.filename or where}: {error.strerror or error}.",
            help="What was finished is kept; run the command again to go on.",
        ) from error


def read_corpora(
    paths: tuple[Path, ...], templates: tuple[str, ...], *, only_test: bool
) -> "list[Corpus]":
    """The manifests with the captions that the templates make, to be checked or compared with."""
    from dataclasses import replace

    from wavtext.corpora.check import Corpus
    from wavtext.corpora.statistics import captions_of

    found: list[Corpus] = []
    for path, name in zip(paths, corpus_names(paths), strict=True):
        builder = caption_builder(path, templates)
        clips = [replace(clip, captions=captions_of(clip, builder)) for clip in read_clips(path)]
        found.append(Corpus(name, clips, folder=path.absolute().parent, only_test=only_test))
    return found


def caption_builder(path: Path, templates: tuple[str, ...]) -> "CaptionBuilder | None":
    """The templates' builder; None, for clips' own captions, where no clip has the columns."""
    if not templates:
        return None
    from wavtext.corpora.captions import CaptionBuilder, template_columns

    builder = CaptionBuilder(templates)
    names = {name for template in templates for name in template_columns(template)}
    has_them = any(names & clip.columns.keys() for clip in read_clips(path))
    return builder if has_them else None


def read_clips(path: Path) -> "Iterator[Clip]":
    """The clips of a manifest, or the rows of a CSV table as clips without a sound."""
    from wavtext.corpora.files import read_csv
    from wavtext.corpora.manifest import Clip, iter_manifest

    if path.suffix.lower() != ".csv":
        yield from iter_manifest(path)
        return
    for line, row in read_csv(path, columns=()):
        yield Clip(f"line {line}", path.parent, columns=row)


def corpus_names(manifests: tuple[Path, ...]) -> list[str]:
    """What to call each collection: its folder when the file is manifest.jsonl, else the file."""
    return [
        path.absolute().parent.name if path.name == "manifest.jsonl" else path.stem
        for path in manifests
    ]
