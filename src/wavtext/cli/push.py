"""`wavtext push FOLDER owner/name`: a model folder goes to the Hugging Face hub."""

from pathlib import Path

import click


@click.command(short_help="Put a model folder on the Hugging Face hub.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--no-weights", is_flag=True, help="Leave out what only training goes on from.")
@click.option("--message", default="", metavar="TEXT", help="Of the commit.")
@click.option("--dry-run", is_flag=True, help="Show what would go there; connect to nothing.")
def push(
    folder: Path, repository: str, private: bool, no_weights: bool, message: str, dry_run: bool
) -> None:
    """Put a model folder on the Hugging Face hub, with its card as the README.

    Log in once with `hf auth login`, or set HF_TOKEN. Others then use it as hf:OWNER/NAME.
    """
    from wavtext.model.push import prepare_push
    from wavtext.model.push import push as push_to_hub

    what = prepare_push(folder, repository, weights=not no_weights)
    if dry_run:
        for name, path in what.files.items():
            click.echo(f"{path.stat().st_size / 1e6:8.1f} MB  {name}")
        click.echo(f"{len(what.readme.encode()) / 1e6:8.1f} MB  README.md\n")
        click.echo(what.readme.split("---\n")[1].strip())
        click.echo(f"\n{what.size / 1e6:.1f} MB would go to {what.repository}. Nothing was sent.")
        return
    click.echo(push_to_hub(what, private=private, message=message))
    click.echo(f"In Python: wavtext.load_model('hf:{what.repository}')")
