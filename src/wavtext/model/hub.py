"""Models of the Hugging Face hub, by name -> a model folder on this machine.

`hf:owner/name`, or with `@REVISION`. Two kinds of repository: a model folder as `wavtext push`
puts it there, which is fetched (no torch); and a CLAP of transformers, such as
`hf:laion/clap-htsat-unfused`, which is converted once (wavtext.training.hub, with torch; the
command line does it on a name's first use). What is here is used from then on, without a network,
so that a name keeps meaning the same weights.
"""

import os
from pathlib import Path

from wavtext.errors import ConfigError, ModelError
from wavtext.model.folder import CONFIG_FILE, read_folder

PREFIX = "hf:"


def cached_folder(name: str) -> Path:
    """The model folder of a `hf:` model: converted here before, or fetched from the hub.

    Raises:
        ModelError: It has to be converted first, or cannot be fetched; says how.
    """
    folder = folder_for(name)
    if (folder / CONFIG_FILE).is_file():
        return folder
    fetched = fetch_model_folder(name)
    if fetched is None:
        raise ModelError(
            f"{name} was not fetched on this machine yet.",
            help=f'Fetch it: pip install "wavtext[train]" && wavtext convert {name}',
        )
    return fetched


def fetch_model_folder(name: str) -> Path | None:
    """A repository that holds a model folder of wavtext, in the hub's cache.

    The cache is asked first; the network only when something is missing.

    Returns:
        None when the repository is no model folder, or when huggingface_hub is not installed.

    Raises:
        ModelError: It cannot be fetched.
    """
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ModuleNotFoundError:
        return None
    repository, revision = split_name(name)
    cache = hub_cache()

    def snapshot(*, local: bool) -> Path:
        found = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[CONFIG_FILE, "*.onnx", "tokenizer.json", "card.md"],
            cache_dir=cache,
            local_files_only=local,
        )
        read_folder(Path(found))  # are all its files there?
        return Path(found)

    try:
        return snapshot(local=True)
    except (OSError, ModelError, ConfigError):
        pass  # not here, or not all of it
    try:
        hf_hub_download(repository, CONFIG_FILE, revision=revision, cache_dir=cache)
    except EntryNotFoundError:  # another kind of repository; or offline, and not here
        return None
    except Exception as error:  # the hub's client raises what it likes
        raise not_fetched(repository, revision, error) from error
    try:
        return snapshot(local=False)
    except ModelError:
        raise
    except Exception as error:  # the same
        raise not_fetched(repository, revision, error) from error


def hub_cache() -> str | None:
    """The hub's cache as its environment variables say now; None for its default."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return os.environ[name]
    home = os.environ.get("HF_HOME")
    return str(Path(home) / "hub") if home else None


def not_fetched(repository: str, revision: str, error: Exception) -> ModelError:
    """The error of a repository that cannot be had, with the first line of the reason."""
    reason = str(error).strip().split("\n", maxsplit=1)[0]
    return ModelError(
        f"{repository}@{revision} cannot be fetched from the Hugging Face hub: {reason}",
        help="Check the name and the network; what lies in the hub's cache needs neither.",
    )


def folder_for(name: str) -> Path:
    """Where a `hf:` model is kept in the user's cache: models/ORGANISATION--NAME@REVISION."""
    repository, revision = split_name(name)
    base = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(base) if base else Path.home() / ".cache") / "wavtext" / "models"
    return cache / f"{repository.replace('/', '--')}@{revision.replace('/', '--')}"


def split_name(name: str) -> tuple[str, str]:
    """`hf:organisation/name@revision` as repository and revision, "main" where it names none.

    Raises:
        ModelError: It is no such name.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    parts = repository.split("/")
    if len(parts) > 2 or not all(part and part.strip(".") for part in parts):
        raise ModelError(
            f"{name!r} is no name on the Hugging Face hub.",
            help="Such as hf:laion/clap-htsat-unfused",
        )
    return repository, revision or "main"
