"""A name on the Hugging Face hub -> a model folder, fetched and converted once.

Only weights, settings and tokenizers are fetched, safetensors where there are any; nothing that a
repository holds is run.  The commit that was fetched is written into the folder's model.toml.
"""

import shutil
from pathlib import Path
from typing import Any

from wavtext.errors import ModelError
from wavtext.model.folder import CONFIG_FILE, Precision
from wavtext.model.hub import (
    PREFIX,
    fetch_model_folder,
    folder_for,
    hub_cache,
    not_fetched,
    split_name,
)
from wavtext.training.convert import convert
from wavtext.training.recipes import RECIPES

SETTINGS = ["*.json", "vocab.txt", "merges.txt"]
MSCLAP = "microsoft/msclap"
MSCLAP_FILES = {"msclap-2022": "CLAP_weights_2022.pth", "msclap-2023": "CLAP_weights_2023.pth"}


def convert_from_hub(
    name: str,
    out: Path | None = None,
    *,
    tokenizer: Path | None = None,
    precision: Precision = "auto",
) -> Path:
    """Fetch a model and make a model folder of it; one that is there already is used as it is.

    Args:
        name: `hf:organisation/name`, with `@revision` for another than main; or a kind of
            checkpoint that lies in a known place, such as "msclap-2023".
        out: The model folder; by default in the user's cache, where `--model hf:...` looks.
        tokenizer: As `convert`.
        precision: As `convert`.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or it is not a CLAP.
    """
    target = out or folder_for(name)
    if out is None and (target / CONFIG_FILE).is_file():
        return target
    repository, revision = split_name(name)
    kind = repository if repository in MSCLAP_FILES else ""
    if repository == MSCLAP:
        kind = "msclap-2023"
    options: dict[str, Any] = {"tokenizer": tokenizer, "precision": precision}
    label = name if name.startswith(PREFIX) else kind or name
    if kind:
        file = fetch_file(MSCLAP, MSCLAP_FILES[kind], revision)
        options["provenance"] = {"repository": MSCLAP, "revision": file.parent.name}
        return convert(kind, file, target, name=label, **options)
    if repository in RECIPES:
        raise ModelError(
            f"{repository} is not fetched by wavtext.",
            help=f"Download the file yourself: wavtext convert {repository} FILE --out FOLDER",
        )
    ready = fetch_model_folder(name)
    if ready is not None:  # a model folder needs no conversion
        return ready if out is None else Path(shutil.copytree(ready, out, dirs_exist_ok=True))
    folder = fetch_folder(repository, revision)
    options["provenance"] = {"repository": repository, "revision": folder.name}
    return convert("hf-clap", folder, target, name=label, **options)


def fetch_folder(repository: str, revision: str) -> Path:
    """A snapshot of a repository's settings, tokenizer and weights, in the hub's cache."""
    from huggingface_hub import snapshot_download

    def fetch(weights: str) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[*SETTINGS, weights],
                cache_dir=hub_cache(),
            )
        )

    try:
        folder = fetch("*.safetensors")
        if not any(folder.glob("*.safetensors")):
            folder = fetch("pytorch_model*.bin")
    except Exception as error:  # the hub's client raises what it likes
        raise not_fetched(repository, revision, error) from error
    return folder


def fetch_file(repository: str, file: str, revision: str) -> Path:
    """One file of a repository, in the hub's cache."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=hub_cache()))
    except Exception as error:  # the hub's client raises what it likes
        raise not_fetched(repository, revision, error) from error
