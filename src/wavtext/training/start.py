"""What a run begins with instead of random weights.  A run or checkpoint -> its tensors.

All of a model's weights come from there, those of pretrained towers that the settings also name
included.
"""

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from wavtext.errors import TrainingError
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
    another.

    Raises:
        TrainingError: The weights are not there, or not of the settings' towers.
    """
    if config.start is None:
        return build(config, captions)
    beside = start_file(config.start).with_name("tokenizer.json")
    built = build(config, captions, tokenizer=load_tokenizer(beside) if beside.is_file() else None)
    load_start(built.model, config.start)
    return built


def load_start(model: nn.Module, start: Path) -> None:
    """Give a model the weights of `start`; all of them must fit.

    Raises:
        TrainingError: Some are missing, unknown or of another shape.
    """
    file = start_file(start)
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
            help="Copy [audio], [text] and [projection] from the run's config.toml.",
        )
    model.load_state_dict(found)
