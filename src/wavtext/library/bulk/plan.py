"""What is to be embedded -> the parts that are missing.

Which files are finished is read from the parts that are there; rows of files that have changed
leave their part, which is written anew.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from wavtext.errors import LibraryError, ModelMismatchError, WavtextError
from wavtext.library.bulk.listing import Listing, SourceFile, list_sources
from wavtext.library.bulk.parts import ModelLabel, Part, arrow, part_writer
from wavtext.library.bulk.places import Place, join
from wavtext.library.notes import Notes, manifest_notes

PART_FILES = 500  # sounds in a part: what a killed machine loses at most


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that is to be made."""

    name: str
    files: tuple[SourceFile, ...]
    notes: dict[str, Notes] = field(default_factory=dict[str, Notes])  # from a manifest


@dataclass(slots=True)
class Plan:
    """What is there and what is to be done."""

    listing: Listing
    parts: list[PartPlan]
    finished: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])


def make_plan(
    sources: Sequence[str | Path],
    out: str,
    model: ModelLabel,
    *,
    part_files: int = PART_FILES,
    retry: bool = False,
) -> Plan:
    """List the sources and the finished parts; rows of files that have changed leave their part."""
    arrow()
    place = Place(out)
    place.clear("part-")
    listing = list_sources(sources, leave_out="" if place.remote else place.url)
    plan = Plan(listing, [])
    wanted = {file.path: file for file in listing.files}
    finished: set[str] = set()
    for name in part_names(place):
        states = _checked_states(place, name, model, listing.root)
        stale: set[str] = set()
        for path, (size, mtime_ns, error) in states.items():
            file = wanted.get(path)
            if file is None:
                continue
            if (file.size, file.mtime_ns) != (size, mtime_ns) or (error and retry):
                stale.add(path)
                continue
            finished.add(path)
            if error:
                plan.failures[path] = error
        if stale:
            _leave_out(place, name, stale)
    plan.finished = len(finished) - len(plan.failures)
    notes = _manifest(listing)
    left = [file for file in listing.files if file.path not in finished]
    for begin in range(0, len(left), part_files):
        files = tuple(left[begin : begin + part_files])
        written = {file.path: notes[file.path] for file in files if file.path in notes}
        states = [(file.path, file.size, file.mtime_ns) for file in files]
        plan.parts.append(PartPlan(_part_name(model.identity, states), files, written))
    return plan


def part_names(place: Place) -> list[str]:
    """The Parquet files that `embed` wrote there."""
    return [name for name in place.names(".parquet") if name.startswith("part-")]


def _checked_states(
    place: Place, name: str, model: ModelLabel, root: str
) -> dict[str, tuple[int, int, str]]:
    """What a finished part holds; it must be of this model and these sounds."""
    address = join(place.url, name)
    with place.open(name) as file, closing(Part(file, address)) as part:
        if part.model.identity != model.identity:
            raise ModelMismatchError(
                f"{place.url}: holds embeddings by {part.model.name}@{part.model.identity[:6]}, "
                f"not by {model.name}@{model.identity[:6]}.",
                help="Name another --out.",
            )
        if part.root != root:
            raise LibraryError(
                f"{place.url}: holds the sounds of {part.root}, not of {root}.",
                help="Name another --out, or give all sources at once.",
            )
        return part.states()


def _leave_out(place: Place, name: str, paths: set[str]) -> None:
    """Write a part anew without some files; the old one goes when the new one is there."""
    with place.open(name) as file, closing(Part(file, join(place.url, name))) as part:
        kept = [
            (path, size, mtime_ns)
            for path, (size, mtime_ns, _) in part.states().items()
            if path not in paths
        ]
        if kept:
            new = _part_name(part.model.identity, kept)
            with (
                place.writing(new) as path,
                part_writer(path, part.model, part.root) as writer,
            ):
                for clip in part.clips():
                    if clip.path not in paths:
                        writer.write(clip)
    place.remove(name)


def _part_name(identity: str, states: Sequence[tuple[str, int, int]]) -> str:
    text = "\n".join([identity, *(f"{path}\0{size}\0{time}" for path, size, time in states)])
    return f"part-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.parquet"


def _manifest(listing: Listing) -> dict[str, Notes]:
    """What a manifest of `wavtext collect` beside the sounds says of them."""
    place = Place(listing.root)
    if place.state("manifest.jsonl") is None:
        return {}
    try:
        if not place.remote:
            return manifest_notes(Path(listing.root, "manifest.jsonl"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "manifest.jsonl")
            place.fetch("manifest.jsonl", path)
            return manifest_notes(path)
    except WavtextError as error:
        listing.problems["manifest.jsonl"] = str(error)
        return {}
