"""`wavtext corpus ...`: describe, check and pack collections."""

from pathlib import Path

import click

from wavtext.cli.corpus_inputs import (
    caption_builder,
    corpus_names,
    full_disk_is_no_loss,
    read_clips,
    read_corpora,
)

_MANIFESTS = click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
_TEMPLATE = click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help='Make the captions from columns: "{description}".',
)


@click.group()
def corpus() -> None:
    """Describe, check and pack collections of clips."""


@corpus.command(short_help="The paper's Table 1 for any manifests: hours, clips, words.")
@_MANIFESTS
@_TEMPLATE
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "csv", "json"]),
    default="markdown",
    help="Of the table.",
)
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw the frequent words: .png or .svg."
)
@click.option("--words", type=click.IntRange(min=1), default=30, help="Words in the figure.")
def stats(
    manifests: tuple[Path, ...],
    templates: tuple[str, ...],
    form: str,
    figure: Path | None,
    words: int,
) -> None:
    """Hours, clips, captions and words: the paper's Table 1 for any manifests.

    A CSV table counts as a manifest without audio: give --template to say what its captions are.
    """
    import csv
    import json
    import sys
    from dataclasses import asdict

    from wavtext.corpora.statistics import corpus_statistics, statistics_csv, statistics_table

    rows = [
        corpus_statistics(read_clips(path), dataset=name, captions=caption_builder(path, templates))
        for path, name in zip(manifests, corpus_names(manifests), strict=True)
    ]
    if form == "json":
        for row in rows:
            click.echo(json.dumps(asdict(row)))
    elif form == "csv":
        csv.writer(sys.stdout).writerows(statistics_csv(rows))
    else:
        click.echo(statistics_table(rows))
        for row in rows:
            if row.captions < row.audios and row.mean_words and row.mean_words_per_audio:
                click.echo(
                    f"\n{row.dataset}: {row.audios - row.captions} audios have no caption. Its "
                    f"captions have {row.mean_words:.2f} words on average; counting the blank ones "
                    f"as zero words gives {row.mean_words_per_audio:.2f}."
                )
    if figure:
        _draw(manifests, templates, figure, words)


@corpus.command()
@_MANIFESTS
@_TEMPLATE
@click.option("--word", required=True, help="A word that the captions hold.")
@click.option("--count", type=click.IntRange(min=1), default=1, help="Captions of each.")
@click.option("--seed", type=int, default=0, help="Which captions are drawn.")
def sample(
    manifests: tuple[Path, ...], templates: tuple[str, ...], word: str, count: int, seed: int
) -> None:
    """Captions with a word, side by side: the paper's Table 2."""
    from wavtext.corpora.statistics import captions_of, sample_captions

    click.echo("| Source | Caption |\n|---|---|")
    for path, name in zip(manifests, corpus_names(manifests), strict=True):
        builder = caption_builder(path, templates)
        captions = (text for clip in read_clips(path) for text in captions_of(clip, builder))
        found = sample_captions(captions, word, count=count, seed=seed)
        for text in found or [f"– no caption with '{word}' –"]:
            click.echo(f"| {name} | {' '.join(text.split()).replace('|', '/')} |")


@corpus.command(short_help="Find broken, duplicate and leaked sounds, and boilerplate.")
@_MANIFESTS
@_TEMPLATE
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Another corpus, whose test and validation clips must not be in these.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the exclusion list here.")
@click.option("--report", type=click.Path(path_type=Path), help="Write every finding here.")
@click.option("--captions-only", is_flag=True, help="Do not look at the sounds.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON lines.")
def check(
    manifests: tuple[Path, ...],
    templates: tuple[str, ...],
    against: tuple[Path, ...],
    out: Path | None,
    report: Path | None,
    captions_only: bool,
    workers: int | None,
    as_json: bool,
) -> int:
    """Find what is wrong: broken, silent, duplicate and leaked sounds; boilerplate in captions.

    The exclusion list goes to --exclude of `collect` and `corpus pack`; called exclude.jsonl and
    put beside the manifest, `train` honours it. The exit status is 1 when it is not empty.
    """
    import json
    from dataclasses import asdict

    from wavtext.corpora.check import check_corpora, count_findings, to_exclusions
    from wavtext.corpora.exclusions import write_exclusions
    from wavtext.corpora.manifest import write_atomically
    from wavtext.corpora.parallel import default_workers

    corpora = read_corpora(manifests, templates, only_test=False)
    corpora += read_corpora(against, (), only_test=True)
    tables = all(path.suffix.lower() == ".csv" for path in manifests)
    with full_disk_is_no_loss(manifests[0].parent):
        findings = check_corpora(
            corpora, workers=workers or default_workers(), audio=not (captions_only or tables)
        )
    exclusions = to_exclusions(findings)
    for name, kind, count in count_findings(findings):
        if as_json:
            click.echo(json.dumps({"corpus": name, "finding": kind, "count": count}))
        else:
            click.echo(f"{name}: {count} × {kind}")
    if out:
        write_exclusions(out, exclusions)
    if report:
        lines = (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in findings)
        write_atomically(report, lines)
    total = sum(len(each.clips) for each in corpora if not each.only_test)
    click.echo(f"{len(exclusions)} of {total} clips should be excluded.", err=True)
    return 1 if exclusions else 0


@corpus.command(short_help="Pack sounds and log-mels into Parquet shards.")
@click.argument("manifest", type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, metavar="URL", help="A folder, s3://, gs://, ...")
@click.option("--sample-rate", type=click.IntRange(min=1), default=44_100, help="Hz.")
@click.option("--log-mel", is_flag=True, help="Also pack log-mels, of the paper's front end.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True),
    help="A run's settings (TOML): pack the log-mels of their [front_end].",
)
@click.option("--max-duration", type=float, default=300.0, help="Seconds; longer clips are cut.")
@click.option("--shard-size", type=click.IntRange(min=1), default=256, help="Clips in a shard.")
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    help="An exclusion list  [default: exclude.jsonl beside the manifest, if there is one].",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: all cores.")
def pack(
    manifest: Path,
    out: str,
    sample_rate: int,
    log_mel: bool,
    config: Path | None,
    max_duration: float,
    shard_size: int,
    exclude: Path | None,
    workers: int | None,
) -> int:
    """Pack resampled audio and log-mels into Parquet shards, checking each clip on the way."""
    from wavtext.audio.log_mel import LogMelConfig
    from wavtext.config import from_dict, read_toml
    from wavtext.corpora.exclusions import Exclusions, read_usable_clips
    from wavtext.corpora.inspection import CACHE_NAME
    from wavtext.corpora.manifest import read_manifest
    from wavtext.corpora.pack import PackOptions
    from wavtext.corpora.pack import pack as pack_clips

    front_end = None
    if config:
        tables = read_toml(config)
        name = "log_mel" if "log_mel" in tables else "front_end"  # of a run's settings
        front_end = from_dict(LogMelConfig, tables.get(name, {}), where=str(config), table=name)
        sample_rate = front_end.sample_rate
    elif log_mel:
        front_end = LogMelConfig(sample_rate=sample_rate)
    clips = (
        Exclusions.read(exclude).keep(read_manifest(manifest))
        if exclude
        else read_usable_clips(manifest)
    )
    options = PackOptions(
        sample_rate=sample_rate,
        log_mel=front_end,
        max_duration=max_duration,
        clips_per_shard=shard_size,
    )
    cache = manifest.absolute().parent / CACHE_NAME
    with full_disk_is_no_loss(out):
        summary = pack_clips(clips, out, options=options, workers=workers, cache=cache)
    click.echo(
        f"{summary.clips} of {len(clips)} clips, {summary.duration / 3600:.2f} h, in"
        f" {summary.shards} shards ({summary.new_shards} new); {summary.cut} cut at"
        f" {max_duration:g} s."
    )
    for reason, count in summary.rejected.items():
        click.echo(f"  {count} rejected: {reason}")
    return 1 if summary.rejected else 0


@corpus.command()
@click.argument("url")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder to fill.")
def unpack(url: str, out: Path) -> None:
    """Write a pack's clips as FLAC files with a manifest."""
    from wavtext.corpora.packed import unpack as unpack_clips

    with full_disk_is_no_loss(out):
        count = unpack_clips(url, out)
    click.echo(f"{count} clips: {out / 'manifest.jsonl'}")


def _draw(
    manifests: tuple[Path, ...], templates: tuple[str, ...], figure: Path, words: int
) -> None:
    from wavtext.corpora.figure import save_word_figure
    from wavtext.corpora.statistics import captions_of, frequent_words, read_stop_words

    stop_words = read_stop_words()
    captions = (
        text
        for path in manifests
        for builder in [caption_builder(path, templates)]
        for clip in read_clips(path)
        for text in captions_of(clip, builder)
    )
    frequent = frequent_words(captions, stop_words=stop_words, limit=words)
    title = "Most frequent words in " + ", ".join(corpus_names(manifests))
    save_word_figure(frequent, figure, title=title)
    click.echo(f"\n{figure}: the {len(frequent)} most frequent words, without these:", err=True)
    click.echo(" ".join(sorted(stop_words)), err=True)
