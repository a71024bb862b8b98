"""`wavtext describe FILE`: audio to text, over the user's captions or the package's bank."""

import json
from pathlib import Path

import click


@click.command(short_help="Find the captions that fit a sound.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Captions, one a line, or a manifest.  [default: the package's own bank]",
)
@click.option(
    "--model", default="compact", show_default=True, metavar="NAME", help="A name or a folder."
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Captions at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def describe(file: Path, captions: Path | None, model: str, limit: int, as_json: bool) -> None:
    """Find the captions that fit a sound: wavtext describe door.wav --captions captions.txt."""
    from wavtext.model.captions import CAPTION_BANK
    from wavtext.model.model import load_model

    found = load_model(model).describe(file, captions or CAPTION_BANK, limit=limit)
    for rank, caption in enumerate(found, 1):
        if as_json:
            row = {"rank": rank, "caption": caption.caption, "score": round(caption.score, 4)}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{caption.score:.2f}  {caption.caption}")
