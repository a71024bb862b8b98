"""`wavtext collect SOURCE`: gather sounds and captions into a folder with a manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavtext.cli.corpus_inputs import full_disk_is_no_loss

if TYPE_CHECKING:
    from wavtext.corpora.collection import CollectOptions, Rejected, Summary
    from wavtext.corpora.manifest import Clip

SOURCES = {
    "wavtext5k": "the released table (CSV); downloads the sounds",
    "clotho": "the folder with Clotho's captions and audio",
    "audiocaps": "the folder with AudioCaps' lists and audio",
    "macs": "the folder with MACS.yaml and audio",
    "sounddescs": "the folder with SoundDescs' lists, descriptions and audio",
    "folder": "a folder of sounds of your own",
    "table": "a CSV or JSON table of your own",
    "debian": "nothing: fetches sound packages of Debian",
}
# Faults of the source, after which the exit status is 1; the others are what was asked for.
_FAULTS = ("missing audio", "not audio", "broken link", "decoder crashed", "package failed")


@click.command()
@click.argument("source", type=click.Choice(list(SOURCES)), metavar="SOURCE")
@click.argument("input", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The collection.")
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help='A caption from columns: "{title}. {description}". May be repeated.',
)
@click.option(
    "--clean", "rules", multiple=True, metavar="RULE", help="Use only these cleaning rules, or all."
)
@click.option("--no-clean", "no_rules", multiple=True, metavar="RULE", help="Leave a rule out.")
@click.option("--exclude", type=click.Path(path_type=Path), help="An exclusion list to honour.")
@click.option("--limit", type=click.IntRange(min=1), help="Rows to consider at most.")
@click.option("--only", default="", metavar="COLUMNS", help="Rows that have these columns filled.")
@click.option("--captions-only", is_flag=True, help="Keep clips whose audio is missing.")
@click.option(
    "--lists", type=click.Choice(["2019", "mei"]), default="2019", help="AudioCaps' lists."
)
@click.option(
    "--min-competence", type=float, default=0.0, help="MACS: leave out weaker annotators, 0 to 1."
)
@click.option("--packages", type=click.Path(path_type=Path), help="Debian: another package list.")
@click.option(
    "--max-megabytes", type=click.IntRange(min=1), default=1024, help="Of one file downloaded."
)
@click.option("--per-host", type=click.IntRange(min=1), default=2, help="Connections to one host.")
@click.option("--allow-private", is_flag=True, help="Also download from the local network.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def collect(source: str, input: Path | None, out: Path, **options: Any) -> int:
    """Gather sounds and captions into a manifest.

    SOURCE and what INPUT is for it:

    \b
      wavtext5k   the released table (CSV); downloads the sounds
      clotho      the folder with Clotho's captions and audio
      audiocaps   the folder with AudioCaps' lists and audio
      macs        the folder with MACS.yaml and audio
      sounddescs  the folder with SoundDescs' lists, descriptions and audio
      folder      a folder of sounds of your own
      table       a CSV or JSON table of your own
      debian      nothing: fetches sound packages of Debian

    OUT/manifest.jsonl holds what can be used, OUT/rejected.jsonl the rest with reasons. The exit
    status is 1 when audio was missing, broken or could not be fetched. An interrupted run goes on
    where it stopped when it is started again.
    """  # noqa: D301 - click reads \b as "keep these lines"
    if input is None and source != "debian":
        raise click.UsageError(f"'{source}' needs INPUT: {SOURCES[source]}.")
    from wavtext.corpora.captions import DEFAULT_RULES, PAPER_TEMPLATE, CaptionBuilder, choose_rules
    from wavtext.corpora.collection import CollectOptions, write_collection
    from wavtext.corpora.exclusions import Exclusions
    from wavtext.corpora.parallel import default_workers

    rules = choose_rules(options["rules"] or DEFAULT_RULES, turned_off=options["no_rules"])
    collect_options = CollectOptions(
        captions=CaptionBuilder(tuple(options["templates"]) or (PAPER_TEMPLATE,), rules),
        exclusions=Exclusions.read(options["exclude"]) if options["exclude"] else None,
        captions_only=options["captions_only"],
        limit=options["limit"],
        workers=options["workers"] or default_workers(),
    )
    with full_disk_is_no_loss(out):
        rows = _rows(source, input or Path(), out, collect_options, options)
        summary = write_collection(rows, out, source=source, options=collect_options)
    _report(summary, out, as_json=options["as_json"])
    return 1 if any(summary.rejected.get(reason) for reason in _FAULTS) else 0


def _rows(
    source: str, input: Path, out: Path, collect_options: "CollectOptions", options: dict[str, Any]
) -> "Iterator[Clip | Rejected]":
    only = tuple(name.strip() for name in options["only"].split(",") if name.strip())
    if source == "wavtext5k":
        from wavtext.corpora.wavtext5k import wavtext5k_clips, wavtext5k_table_clips

        if collect_options.captions_only:
            return wavtext5k_table_clips(input, out, only=only)
        return wavtext5k_clips(
            input, out, options=_download_options(options), only=only, limit=options["limit"]
        )
    if source == "clotho":
        from wavtext.corpora.clotho import clotho_clips

        return clotho_clips(input)
    if source == "audiocaps":
        from wavtext.corpora.audiocaps import audiocaps_clips

        return audiocaps_clips(input, lists=options["lists"])
    if source == "macs":
        from wavtext.corpora.macs import macs_clips

        return macs_clips(input, min_competence=options["min_competence"])
    if source == "sounddescs":
        from wavtext.corpora.sounddescs import sounddescs_clips

        return sounddescs_clips(input)
    if source == "folder":
        from wavtext.corpora.folder import folder_clips

        return folder_clips(input)
    if source == "table":
        from wavtext.corpora.folder import table_clips

        return table_clips(input, only=only)
    from wavtext.corpora.debian import debian_clips

    return debian_clips(out, packages=options["packages"], say=_say)


def _download_options(options: dict[str, Any]) -> Any:
    from wavtext.corpora.download import DownloadOptions

    return DownloadOptions(
        max_bytes=options["max_megabytes"] * 2**20,
        per_host=options["per_host"],
        allow_private=options["allow_private"],
    )


def _say(line: str) -> None:
    click.echo(line, err=True)


def _report(summary: "Summary", out: Path, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    if as_json:
        click.echo(json.dumps(asdict(summary)))
        return
    captions_only = summary.missing_audio
    audio = f"{summary.duration / 3600:.2f} h" if captions_only < summary.clips else "no audio"
    click.echo(
        f"{summary.clips} of {summary.rows} rows are clips: {summary.captions} captions, {audio}."
    )
    for reason, count in summary.rejected.items():
        click.echo(f"  {count} rejected: {reason}")
    click.echo(f"Manifest: {out / 'manifest.jsonl'}")
    click.echo(f"Subset:   {summary.subset}")
    if summary.rejected:
        click.echo(f"Reasons:  {out / 'rejected.jsonl'}")
