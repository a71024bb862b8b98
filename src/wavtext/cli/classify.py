"""`wavtext classify FILE --labels "dog, rain"`: which of a few names fits a sound."""

import json
from pathlib import Path

import click


@click.command(short_help="Say which of a few names fits a sound.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option("--labels", required=True, metavar="NAMES", help='Names, with commas: "dog, rain".')
@click.option(
    "--model", default="compact", show_default=True, metavar="NAME", help="A name or a folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
def classify(files: tuple[Path, ...], labels: str, model: str, as_json: bool) -> int:
    """Say which of a few names fits a sound: wavtext classify a.wav --labels "dog, rain"."""
    from wavtext.errors import AudioError
    from wavtext.model.model import load_model

    names = [name.strip() for name in labels.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("there is no name in it.", param_hint="--labels")
    loaded = load_model(model)
    failed = 0
    for file in files:
        try:
            shares = loaded.classify(file, names)
        except AudioError as error:
            click.echo(f"wavtext: {error}", err=True)
            failed += 1
            continue
        if as_json:
            scores = {share.caption: round(share.score, 4) for share in shares}
            click.echo(json.dumps({"path": str(file), "labels": scores}))
        else:
            ranked = "  ".join(f"{share.caption} {share.score:.0%}" for share in shares[:5])
            click.echo(f"{file}: {ranked}")
    if failed:
        click.echo(
            f"{len(files) - failed} of {len(files)} files classified; {failed} failed.", err=True
        )
    return 1 if failed else 0
