"""`wavtext convert`: a published checkpoint or a run -> a model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from wavtext.errors import MissingExtraError, ModelError

NAMING = ("--model", "--compare", "evaluate")  # what stands before a model's name
KINDS = ("panns-cnn14", "htsat", "msclap-2022", "msclap-2023", "laion-clap", "hf-clap", "run")


@click.command()
@click.argument("kind", metavar="KIND")
@click.argument("source", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The model folder to write.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="tokenizer.json, or its folder.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "f32"]),
    default="auto",
    show_default=True,
    help="Of the audio graph; auto: bf16 where the CPU has it.",
)
@click.option(
    "--text-heads", type=click.IntRange(min=1), help="Attention heads of the text encoder."
)
def convert(
    kind: str,
    source: Path | None,
    out: Path | None,
    tokenizer: Path | None,
    precision: Literal["auto", "bf16", "f32"],
    text_heads: int | None,
) -> None:
    """Make a model folder of a published checkpoint.

    KIND and FILE are one of: panns-cnn14 FILE, htsat FILE, msclap-2022 [FILE], msclap-2023 [FILE],
    laion-clap FILE, hf-clap FOLDER, run RUN_FOLDER. Or name a CLAP on the Hugging Face hub:
    hf:laion/clap-htsat-unfused. MS-CLAP without a FILE is fetched too.
    """
    try:
        from wavtext.training.convert import convert as convert_file
        from wavtext.training.convert import export_run
        from wavtext.training.hub import convert_from_hub
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "wavtext":
            raise
        raise MissingExtraError("train", "Converting a checkpoint") from error

    if kind.startswith("hf:") or (source is None and kind in ("msclap-2022", "msclap-2023")):
        folder = convert_from_hub(kind, out, tokenizer=tokenizer, precision=precision)
    elif kind not in KINDS:
        raise ModelError(f"{kind!r} is no kind of checkpoint.", help=f"Known: {', '.join(KINDS)}.")
    elif source is None:
        raise click.UsageError(f"{kind} needs a FILE.")
    elif out is None:
        raise click.UsageError("Name the model folder to write with --out.")
    elif kind == "run":
        folder = export_run(source, out, precision=precision)
    else:
        folder = convert_file(
            kind,
            source,
            out,
            tokenizer=tokenizer,
            precision=precision,
            num_text_heads=text_heads,
        )
    click.echo(f"Model folder: {folder}")


def convert_named(arguments: Sequence[str]) -> None:
    """Fetch and convert the `hf:` models that a command line names, each on its first use.

    Raises:
        MissingExtraError: One is not converted yet, and wavtext[train] is not installed.
    """
    from wavtext.model.folder import CONFIG_FILE
    from wavtext.model.hub import PREFIX, fetch_model_folder, folder_for

    before = ""
    for argument in arguments:
        option, _, value = argument.rpartition("=")
        named = option in NAMING or (before in NAMING and not option)
        before = argument
        if not (named and value.startswith(PREFIX)):
            continue
        name = value
        if (folder_for(name) / CONFIG_FILE).is_file() or fetch_model_folder(name):
            continue
        try:
            from wavtext.training.hub import convert_from_hub
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "wavtext":
                raise
            raise MissingExtraError("train", f"Fetching {name}") from error
        click.echo(f"Fetching and converting {name}, once ...", err=True)
        convert_from_hub(name)
