"""WavText5K: the released table -> downloaded, verified, resampled clips (Deshmukh et al. 2022).

    view_link, download_link, title, description, fname, tags

Each sound is fetched from where the table says or, when that link is dead, in another format of the
same host; decoded to prove that it is sound; and written as 44.1 kHz mono FLAC of 24 bits, as the
paper resampled. Rows that do not survive are logged with the reason.

    OUT/audio/<fname>.flac      what survived
    OUT/downloads.jsonl         one line for each row tried: URL, attempts, checksum, reasons
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import soundfile

from wavtext.audio.decode import stream_audio
from wavtext.audio.waveform import SILENCE, peak
from wavtext.corpora.collection import Rejected
from wavtext.corpora.download import DownloadOptions, Job, Outcome, download_all, read_log
from wavtext.corpora.files import read_csv
from wavtext.corpora.manifest import Clip
from wavtext.errors import AudioError, EmptyAudioError

SAMPLE_RATE = 44_100  # Hz, section 2.1
COLUMNS = ("view_link", "download_link", "title", "description", "fname", "tags")

# When a link is dead: (pattern of the link, what to try instead). BigSoundBank has withdrawn its
# .wav files (microsoft/WavText5K pull request 2); SoundBible serves both formats of each sound.
_INSTEAD = (
    (r"/UPLOAD/wav/([^/]+)\.wav$", (r"/UPLOAD/aiff/\1.aiff", r"/UPLOAD/flac/\1.flac")),
    (r"(/grab\.php\?id=\d+)&type=wav$", (r"\1&type=mp3",)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    clip: Clip  # without its audio looked at
    urls: tuple[str, ...]


def wavtext5k_rows(
    table: Path, audio: Path, *, only: tuple[str, ...] = ()
) -> Iterator[Row | Rejected]:
    """The rows of the table that have text and a link.

    Args:
        table: The released CSV.
        audio: The folder where each clip's FLAC is, or will be.
        only: Columns that a row must have filled in.

    Raises:
        ManifestError: The table is not in the released format.
    """
    for line, row in read_csv(table, columns=(*COLUMNS, *only)):
        stem = re.sub(r"\.\w+$", "", row["fname"].strip())
        clip_id = f"wavtext5k/{stem}" if stem else f"wavtext5k/line {line}"
        columns = {name: row[name].strip() for name in ("title", "description")}
        columns["tags"] = ", ".join(re.findall(r"['\"](.+?)['\"](?:,|\])", row["tags"]))
        missing = [name for name in only if not row[name].strip()]
        if not (columns["title"] or columns["description"]):
            yield Rejected(clip_id, "empty metadata", "neither title nor description")
        elif missing:
            yield Rejected(clip_id, "not asked for", f"no {', '.join(missing)}")
        elif not stem or not urlsplit(row["download_link"]).netloc:
            yield Rejected(clip_id, "broken link", row["download_link"] or "no link")
        else:
            yield Row(
                Clip(
                    clip_id=clip_id,
                    path=audio / f"{_safe_name(stem)}.flac",
                    split="train",
                    source=urlsplit(row["view_link"]).netloc or "WavText5K",
                    license="unclear",  # both sites say royalty-free; the table says nothing
                    credit=row["view_link"],
                    columns={name: value for name, value in columns.items() if value},
                ),
                alternative_urls(row["download_link"].strip()),
            )


def wavtext5k_table_clips(
    table: Path, out: Path, *, only: tuple[str, ...] = ()
) -> Iterator[Clip | Rejected]:
    """The table's clips for their captions alone: nothing is fetched."""
    for row in wavtext5k_rows(table, out / "audio", only=only):
        yield row.clip if isinstance(row, Row) else row


def alternative_urls(url: str) -> tuple[str, ...]:
    """The link itself, then the same sound in other formats."""
    found = [url]
    for pattern, replacements in _INSTEAD:
        if re.search(pattern, url):
            found += [re.sub(pattern, replacement, url) for replacement in replacements]
    return tuple(found)


def wavtext5k_clips(
    table: Path,
    out: Path,
    *,
    options: DownloadOptions,
    only: tuple[str, ...] = (),
    limit: int | None = None,
    rename_url: Callable[[str], str] = str,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Iterator[Clip | Rejected]:
    """Fetch what is not there yet; then the clips and the rejections in the table's order.

    Args:
        table: The released CSV.
        out: The collection's folder.
        options: Of the downloads.
        only: Columns that a row must have filled in.
        limit: Rows to consider at most.
        rename_url: Applied to every URL before it is asked: a mirror.
        on_outcome: Told of each download, for a progress bar.
    """
    rows = list(islice(wavtext5k_rows(table, out / "audio", only=only), limit))
    log = out / "downloads.jsonl"
    jobs = [
        Job(row.clip.clip_id, tuple(rename_url(url) for url in row.urls), row.clip.path)
        for row in rows
        if isinstance(row, Row) and not row.clip.path.is_file()
    ]
    for outcome in download_all(jobs, options=options, log=log, accept=convert):
        on_outcome(outcome)
    outcomes = read_log(log)
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        outcome = outcomes.get(row.clip.clip_id)
        if row.clip.path.is_file():
            original = {"original_checksum": outcome.checksum} if outcome else {}
            yield replace(row.clip, columns={**row.clip.columns, **original})
        else:
            yield Rejected(row.clip.clip_id, *_why(outcome))


def convert(download: Path) -> str:
    """Turn a download into 44.1 kHz mono FLAC in place; why it cannot be, if so.

    The sound is streamed: an hour needs no more memory than a minute.
    """
    partial = download.with_name(download.name + ".flac")
    loudest = 0.0
    try:
        blocks = stream_audio(download, SAMPLE_RATE, on_warning=lambda warning: None)
        with soundfile.SoundFile(
            partial, "w", SAMPLE_RATE, 1, subtype="PCM_24", format="FLAC"
        ) as file:
            for block in blocks:
                loudest = max(loudest, peak(block))
                file.write(block)
    except EmptyAudioError:
        partial.unlink(missing_ok=True)
        return "empty audio"
    except AudioError:
        partial.unlink(missing_ok=True)
        return "not audio"
    except (AssertionError, soundfile.LibsndfileError) as error:  # fewer samples were written
        partial.unlink(missing_ok=True)
        full = errno.ENOSPC
        raise OSError(full, os.strerror(full), str(partial)) from error
    if loudest < SILENCE:
        partial.unlink()
        return "silent audio"
    partial.replace(download)
    return ""


def _why(outcome: Outcome | None) -> tuple[str, str]:
    """The reason of the last URL, which is counted, and the whole story."""
    if outcome is None:
        return "download failed", "not tried"
    last = outcome.reason.rsplit("; ", 1)[-1]
    known = ("empty audio", "not audio", "silent audio", "too large", "private address")
    reason = next((each for each in known if last.startswith(each)), "broken link")
    return reason, f"{outcome.url}: {outcome.reason}"


def _safe_name(stem: str) -> str:
    """The name without what would leave the folder or upset a file system."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", stem).strip(". ") or "_"
