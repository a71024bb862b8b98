"""What is wrong with a collection.  Manifests -> findings, and an exclusion list.

Unreadable and silent audio; duplicate and near-duplicate audio; families and sounds on both sides
of a split, or in another corpus's test set; repeated captions; credits and boilerplate in captions.
Of two clips that are one sound, the one in a held-out set stays, else the earlier one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wavtext.corpora.captions import CLEANING_RULES
from wavtext.corpora.duplicates import near_duplicates
from wavtext.corpora.exclusions import Exclusion
from wavtext.corpora.inspection import CACHE_NAME, Inspection, inspect_files
from wavtext.corpora.manifest import Clip

# Rules that mark a caption as saying something else than what is heard.
BOILERPLATE_RULES = ("urls", "credits", "requests", "licences", "advertising", "cross_references")
HELD_OUT = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    corpus: str  # the manifest's name
    clip_id: str
    detail: str = ""
    exclude: bool = True  # whether the clip should not be used because of it
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A manifest under examination."""

    name: str
    clips: Sequence[Clip]
    folder: Path | None = None  # where findings about its files are kept; None: nowhere
    only_test: bool = False  # compared with, not checked: only what it holds out counts


@dataclass(frozen=True, slots=True)
class _Entry:
    corpus: Corpus
    clip: Clip

    @property
    def held_out(self) -> bool:
        return self.clip.split in HELD_OUT or (self.corpus.only_test and not self.clip.split)


def check_corpora(corpora: Sequence[Corpus], *, workers: int, audio: bool = True) -> list[Finding]:
    """Everything that is wrong, file by file and across the collections.

    Args:
        corpora: Those to check, and those whose test sets must stay apart (`only_test`).
        workers: Processes that decode.
        audio: Whether to look at the sounds; without, captions and families only.
    """
    checked = [corpus for corpus in corpora if not corpus.only_test]
    entries = [_Entry(corpus, clip) for corpus in corpora for clip in corpus.clips]
    entries = [each for each in entries if not each.corpus.only_test or each.held_out]
    findings: list[Finding] = []
    if audio:
        inspections: list[Inspection] = []  # without their fingerprints
        near = list(near_duplicates(_noting(_inspect(entries, workers), inspections)))
        findings += _audio_faults(entries, inspections)
        findings += _duplicates(entries, inspections)
        findings += _near_duplicates(entries, inspections, near)
    findings += _split_families(entries)
    for corpus in checked:
        findings += _captions(corpus)
    return findings


def to_exclusions(findings: Iterable[Finding]) -> list[Exclusion]:
    """The clips to leave out, each once, with the first reason found."""
    chosen: dict[tuple[str, str], Exclusion] = {}
    for each in findings:
        if each.exclude:
            key = (each.clip_id, each.checksum)
            chosen.setdefault(key, Exclusion(each.clip_id, each.kind, each.detail, each.checksum))
    return list(chosen.values())


def _inspect(entries: Sequence[_Entry], workers: int) -> Iterator[Inspection]:
    start = 0
    while start < len(entries):  # entries of one corpus stand together
        corpus = entries[start].corpus
        end = start
        while end < len(entries) and entries[end].corpus is corpus:
            end += 1
        cache = corpus.folder / CACHE_NAME if corpus.folder else None
        paths = [entry.clip.path for entry in entries[start:end]]
        yield from inspect_files(paths, cache=cache, workers=workers)
        start = end


def _noting(found: Iterable[Inspection], notes: list[Inspection]) -> Iterator[Inspection]:
    for each in found:
        notes.append(replace(each, words=None, descriptor=None))
        yield each


def _audio_faults(
    entries: Sequence[_Entry], inspections: Sequence[Inspection]
) -> Iterator[Finding]:
    for entry, found in zip(entries, inspections, strict=True):
        if found.fault and not entry.corpus.only_test:
            yield _finding(found.fault, entry, found.detail)


def _duplicates(entries: Sequence[_Entry], inspections: Sequence[Inspection]) -> Iterator[Finding]:
    by_checksum: dict[str, list[int]] = {}
    for i, found in enumerate(inspections):
        if found.checksum and not found.fault:
            by_checksum.setdefault(found.checksum, []).append(i)
    for same in by_checksum.values():
        kept = min(same, key=lambda i: (not entries[i].held_out, i))
        for i in same:
            if i != kept:
                yield from _pair(entries, kept, i, "duplicate audio", inspections[i].checksum, "")


def _near_duplicates(
    entries: Sequence[_Entry],
    inspections: Sequence[Inspection],
    pairs: Iterable[tuple[int, int, float]],
) -> Iterator[Finding]:
    for i, j, apart in pairs:
        kept, dropped = sorted((i, j), key=lambda k: (not entries[k].held_out, k))
        how = f", fingerprints differ by {apart:.2f}"
        checksum = inspections[dropped].checksum
        yield from _pair(entries, kept, dropped, "near-duplicate audio", checksum, how)


def _pair(
    entries: Sequence[_Entry], kept: int, dropped: int, kind: str, checksum: str, how: str
) -> Iterator[Finding]:
    one, other = entries[kept], entries[dropped]
    if other.corpus.only_test:
        return  # two of another corpus's own test clips
    detail = f"as {one.clip.clip_id} of {one.corpus.name}{how}"
    if one.held_out and not other.held_out:
        kind = f"{kind} of a held-out clip"
    # two held-out clips are reported and both kept: a test set stays what its authors published
    exclude = not (one.held_out and other.held_out)
    yield _finding(kind, other, detail, checksum=checksum, exclude=exclude)


def _split_families(entries: Sequence[_Entry]) -> Iterator[Finding]:
    """Clips for training whose family has a clip in a test or validation set."""
    held_out = {e.clip.group: e for e in entries if e.held_out and e.clip.group}
    for entry in entries:
        other = held_out.get(entry.clip.group)
        if other is not None and not entry.held_out:
            detail = f"as {other.clip.clip_id} of {other.corpus.name}, in {other.clip.split}"
            yield _finding("family in a held-out set", entry, detail)


def _captions(corpus: Corpus) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for clip in corpus.clips:
        for caption in clip.captions:
            text = caption.strip()
            if not text:
                continue
            if text in seen:
                detail = f"as {seen[text]}: {text}"
                yield Finding("repeated caption", corpus.name, clip.clip_id, detail, exclude=False)
            else:
                seen[text] = clip.clip_id
            for rule in BOILERPLATE_RULES:
                if CLEANING_RULES[rule][1](text) != text:
                    kind = f"{rule.replace('_', ' ')} in caption"
                    yield Finding(kind, corpus.name, clip.clip_id, text, exclude=False)
        if not any(caption.strip() for caption in clip.captions):
            yield Finding("no caption", corpus.name, clip.clip_id)


def count_findings(findings: Iterable[Finding]) -> list[tuple[str, str, int]]:
    """(corpus, kind, how many), in the order they were first found."""
    counts = Counter((each.corpus, each.kind) for each in findings)
    return [(corpus, kind, count) for (corpus, kind), count in counts.items()]


def _finding(
    kind: str, entry: _Entry, detail: str, *, checksum: str = "", exclude: bool = True
) -> Finding:
    return Finding(
        kind=kind,
        corpus=entry.corpus.name,
        clip_id=entry.clip.clip_id,
        detail=detail,
        checksum=checksum or entry.clip.checksum,
        exclude=exclude,
    )
