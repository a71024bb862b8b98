"""A model folder -> a repository on the Hugging Face hub, in one commit.

    wavtext push runs/small/model owner/name

What is put there is the folder's own files and a README.md: the folder's card under the hub's
metadata. `wavtext.load_model("hf:owner/name")` takes it from there.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavtext.errors import MissingExtraError, ModelError
from wavtext.model.folder import CONFIG_FILE, ModelConfig, files_of, read_folder
from wavtext.model.hub import split_name

CARD_FILE = "card.md"
WEIGHTS_FILE = "weights.safetensors"
# Licences that the hub knows by name; all others are "other", with their own name.
HUB_LICENSES = frozenset(
    {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "gpl-3.0"}
)


@dataclass(frozen=True, slots=True)
class Push:
    """What goes to a repository."""

    repository: str  # owner/name
    files: dict[str, Path]  # name in the repository -> file here
    readme: str  # the card under its metadata

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files.values()) + len(self.readme.encode())


def prepare_push(folder: Path | str, repository: str, *, weights: bool = True) -> Push:
    """Check a model folder and gather what would go to `owner/name`.

    Args:
        folder: A model folder whose files are all there.
        repository: `owner/name`.
        weights: Also weights.safetensors, from which training can go on.

    Raises:
        ModelError: It is no model folder, it has no card, or the name is none.
    """
    folder = Path(folder)
    name, _ = split_name(repository)
    if "/" not in name or "@" in repository:
        raise ModelError(
            f"{repository!r} is no repository to push to.", help="Name it as owner/name."
        )
    config = read_folder(folder)
    if not (folder / CARD_FILE).is_file():
        raise ModelError(
            f"{folder}: there is no {CARD_FILE}.",
            help="Write one: what the model was trained on, under which licences, how good it is.",
        )
    names = [CONFIG_FILE, *files_of(config), CARD_FILE]
    if weights and (folder / WEIGHTS_FILE).is_file():
        names.append(WEIGHTS_FILE)
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    return Push(name, {each: folder / each for each in names}, metadata(config) + card)


def metadata(config: ModelConfig) -> str:
    """The YAML that the hub reads at the top of a README.md.

    A JSON string is a YAML string, so what a licence is called cannot break out of its line.
    """
    tags = ["wavtext", "audio", "clap"] + (["text-to-audio-retrieval"] if config.text else [])
    lines = ["---", "library_name: wavtext", f"tags: {json.dumps(tags)}"]
    license = config.license.strip().lower()
    if license in HUB_LICENSES:
        lines.append(f"license: {license}")
    elif license not in ("", "unclear"):
        lines += ["license: other", f"license_name: {json.dumps(config.license)}"]
    return "\n".join([*lines, "---", "", ""])


def push(what: Push, *, private: bool = False, message: str = "", api: Any = None) -> str:
    """Make the repository where there is none, and commit the files; returns its address.

    Args:
        what: From `prepare_push`.
        private: Make a new repository private; one that exists stays as it is.
        message: Of the commit.
        api: A huggingface_hub.HfApi; by default one with the user's own token.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        ModelError: The hub refuses or cannot be reached.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ModuleNotFoundError as error:
        raise MissingExtraError("hub", "wavtext push") from error
    api = api or HfApi(library_name="wavtext")
    files: dict[str, Path | bytes] = {**what.files, "README.md": what.readme.encode()}
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in files.items()
    ]
    try:
        api.create_repo(what.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            what.repository, operations, commit_message=message or "Push a wavtext model folder"
        )
    except Exception as error:  # the hub's client raises what it likes
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(
            f"{what.repository} was not pushed: {reason}",
            help="Log in once with `hf auth login`, or set HF_TOKEN to a token that may write.",
        ) from error
    return str(getattr(commit, "repo_url", "") or what.repository)
