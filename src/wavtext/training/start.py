"""What a run begins with instead of random weights.  A run or checkpoint -> its tensors.

All of a model's weights come from there, those of pretrained towers that the settings also name
included.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from torch import nn

from wavtext.config import load_config, to_dict
from wavtext.errors import TrainingError
from wavtext.model.folder import CONFIG_FILE, ModelConfig
from wavtext.model.push import WEIGHTS_FILE
from wavtext.training.build import Built, build
from wavtext.training.checkpoint import read_tensors, shorten
from wavtext.training.config import TrainConfig
from wavtext.training.text import load_tokenizer

CHECKPOINTS = ("best.pt", WEIGHTS_FILE, "last.pt")  # in a folder, the first that is there


def start_file(start: Path) -> Path:
    """The file of weights that a `start` setting means.

    Raises:
        TrainingError: There is none.
    """
    if start.is_file():
        return start
    for name in CHECKPOINTS:
        if (start / name).is_file():
            return start / name
    missing = "holds none of " + ", ".join(CHECKPOINTS) if start.is_dir() else "does not exist"
    raise TrainingError(
        f"'start' is {start}, which {missing}.",
        help="Name a run's folder, a model folder with its weights, or a checkpoint.",
    )


def build_new(config: TrainConfig, captions: Iterable[str]) -> Built:
    """The model that a new run of these settings trains, with the weights of `start` if any.

    The tokenizer beside those weights comes along: their token embeddings mean nothing with
    another, as their filters mean nothing to another front end.

    Raises:
        TrainingError: The weights are not there, or not of the settings' towers, tokenizer or
            front end.
        ModelError: The file is no checkpoint.
    """
    if config.start is None:
        return build(config, captions)
    file = start_file(config.start)
    _check_front_end(file.parent, config)
    built = build(config, captions, tokenizer=_tokenizer_of(file, config))
    _load(built.model, file)
    return built


def _tokenizer_of(file: Path, config: TrainConfig) -> Tokenizer | None:
    """The tokenizer beside the weights; None where a pretrained text encoder brings its own."""
    beside, named = file.with_name("tokenizer.json"), config.text.tokenizer
    if not beside.is_file():
        if config.text.name == "random" and named is None:
            raise TrainingError(
                f"{file}: no tokenizer.json lies beside it, and another would give its token "
                "embeddings other words.",
                help="Name the one it was trained with: [text] tokenizer.",
            )
        return None
    tokenizer = load_tokenizer(beside)
    if named is not None and load_tokenizer(named).get_vocab() != tokenizer.get_vocab():
        raise TrainingError(
            f"{named}: its tokens are not those of {beside}, with which the weights were trained.",
            help="Leave [text] tokenizer out.",
        )
    return tokenizer


def _check_front_end(folder: Path, config: TrainConfig) -> None:
    """Compare the settings' log-mel with what the weights heard, where their folder tells."""
    if (folder / "config.toml").is_file():
        heard = load_config(TrainConfig, folder / "config.toml").front_end
    elif (folder / CONFIG_FILE).is_file():
        heard = load_config(ModelConfig, folder / CONFIG_FILE).log_mel
    else:
        return
    if heard != config.front_end:
        ours, theirs = to_dict(config.front_end), to_dict(heard)
        differ = [f"{name} {theirs[name]}" for name in theirs if theirs[name] != ours.get(name)]
        raise TrainingError(
            f"{folder}: its weights heard another front end than 'front_end' says: "
            f"{', '.join(differ)}.",
            help="Copy [front_end] too.",
        )


def _load(model: nn.Module, file: Path) -> None:
    """Give a model a file's weights; all of them must fit.

    Raises:
        TrainingError: Some are missing, unknown or of another shape.
        ModelError: The file is no checkpoint.
    """
    found, wanted = read_tensors(file), model.state_dict()
    wrong = sorted(
        [f"{name} is missing" for name in wanted.keys() - found.keys()]
        + [f"{name} is unknown" for name in found.keys() - wanted.keys()]
        + [
            f"{name} is {tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
            for name in wanted.keys() & found.keys()
            if found[name].shape != wanted[name].shape
        ]
    )
    if wrong:
        raise TrainingError(
            f"{file}: its weights are not of the settings' towers: {shorten(wrong)}.",
            help="Copy [front_end], [audio], [text] and [projection] from the run's config.toml.",
        )
    model.load_state_dict(found)
