"""From a source's clips to a collection on disk.  clips -> manifest, rejections, summary.

Every source ends here: each sound file is decoded once, what cannot be used is rejected with its
reason, and the survivors are written to `manifest.jsonl`. Two runs over the same source give the
same manifest, byte for byte.

    OUT/manifest.jsonl     the clips that can be used
    OUT/rejected.jsonl     one line for each row that cannot, with the reason
    OUT/collection.json    source, settings, counts, and the hash of the subset that survived
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from wavtext import __version__
from wavtext.corpora.captions import CaptionBuilder
from wavtext.corpora.exclusions import Exclusions
from wavtext.corpora.inspection import CACHE_NAME, Inspection, inspect_files
from wavtext.corpora.manifest import Clip, write_atomically, write_manifest
from wavtext.corpora.parallel import default_workers


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a source that does not become a clip."""

    clip_id: str
    reason: str  # few, fixed words: they are counted
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """What every source takes."""

    captions: CaptionBuilder | None = None  # None: the source's own captions, not cleaned
    exclusions: Exclusions | None = None
    captions_only: bool = False  # keep clips whose audio is missing
    limit: int | None = None  # rows of the source; None: all
    workers: int = field(default_factory=default_workers)


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a collection."""

    source: str
    rows: int
    clips: int
    captions: int
    duration: float  # s, all clips together
    missing_audio: int  # clips kept for their captions alone
    rejected: dict[str, int]  # reason -> rows
    subset: str  # SHA-256 over the surviving ids, captions and checksums


def write_collection(
    rows: Iterable[Clip | Rejected], out: Path, *, source: str, options: CollectOptions
) -> Summary:
    """Check every clip's audio and captions; write manifest, rejections and summary under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    limited = list(islice(rows, options.limit))
    rejected: list[Rejected] = []
    kept = list(_checked(limited, out, rejected, options))
    write_manifest(out / "manifest.jsonl", kept)
    write_atomically(
        out / "rejected.jsonl",
        (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in rejected),
    )
    summary = Summary(
        source=source,
        rows=len(limited),
        clips=len(kept),
        captions=sum(len(clip.captions) for clip in kept),
        duration=round(sum(clip.duration or 0.0 for clip in kept), 3),
        missing_audio=sum(1 for clip in kept if clip.duration is None),
        rejected=dict(sorted(Counter(each.reason for each in rejected).items())),
        subset=subset_hash(kept),
    )
    settings = _settings(options)
    text = json.dumps({"wavtext": __version__, **asdict(summary), "settings": settings}, indent=2)
    write_atomically(out / "collection.json", [text + "\n"])
    return summary


def subset_hash(clips: Iterable[Clip]) -> str:
    """One hash for which clips these are, with which captions and sounds, in whatever order."""
    lines = sorted(
        json.dumps([clip.clip_id, clip.checksum, list(clip.captions)], ensure_ascii=False)
        for clip in clips
    )
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _checked(
    rows: list[Clip | Rejected], out: Path, rejected: list[Rejected], options: CollectOptions
) -> Iterator[Clip]:
    seen: set[str] = set()
    captioned: list[Clip] = []
    for row in rows:
        clip = row if isinstance(row, Rejected) else _captioned(row, options)
        if isinstance(clip, Clip) and clip.clip_id in seen:
            clip = Rejected(clip.clip_id, "id comes twice", str(clip.path))
        if isinstance(clip, Rejected):
            rejected.append(clip)
        else:
            seen.add(clip.clip_id)
            captioned.append(clip)
    inspections = inspect_files(
        (clip.path for clip in captioned), cache=out / CACHE_NAME, workers=options.workers
    )
    for clip, found in zip(captioned, inspections, strict=True):
        checked = _with_inspection(clip, found, options)
        if isinstance(checked, Rejected):
            rejected.append(checked)
        else:
            yield checked


def _captioned(clip: Clip, options: CollectOptions) -> Clip | Rejected:
    if options.captions is not None:
        if clip.columns and not clip.captions:
            captions = options.captions.build(clip.columns)
        else:
            cleaned = (options.captions.clean(caption) for caption in clip.captions)
            captions = tuple(dict.fromkeys(caption for caption in cleaned if caption))
        clip = replace(clip, captions=captions)
    if not any(caption.strip() for caption in clip.captions):
        return Rejected(clip.clip_id, "no caption", str(clip.path.name))
    return clip


def _with_inspection(clip: Clip, found: Inspection, options: CollectOptions) -> Clip | Rejected:
    if found.fault == "missing audio" and options.captions_only:
        return clip
    if found.fault:
        return Rejected(clip.clip_id, found.fault, found.detail)
    clip = replace(
        clip,
        duration=found.duration,
        sample_rate=found.sample_rate,
        checksum=found.checksum,
    )
    reason = options.exclusions.reason(clip) if options.exclusions else ""
    return Rejected(clip.clip_id, "excluded", reason) if reason else clip


def _settings(options: CollectOptions) -> dict[str, Any]:
    return {
        "templates": list(options.captions.templates) if options.captions else [],
        "cleaning_rules": list(options.captions.rules) if options.captions else [],
        "captions_only": options.captions_only,
        "limit": options.limit,
        "exclusions": str(options.exclusions.path) if options.exclusions else "",
    }
