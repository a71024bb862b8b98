"""A run's folder: what it was made of, what it measured, and the checkpoints it can go on from.

RUN/config.toml        the settings
RUN/environment.json   versions, machine, git commit, the manifest and its hash
RUN/metrics.jsonl      one line a step, one line an epoch's validation
RUN/tensorboard/       the same, for TensorBoard
RUN/tokenizer.json     what captions become
RUN/last.pt            model, optimiser and place, to go on from
RUN/best.pt            the model with the best validation mAP@10
RUN/model/             the exported model folder
"""

import json
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from wavtext import __version__
from wavtext.config import differences, dumps_toml, load_config, save_config, to_dict
from wavtext.errors import TrainingError
from wavtext.training.config import TrainConfig
from wavtext.training.packs import data_digest


class RunFolder:
    """Where a run keeps what it makes; only its first process writes.

    Args:
        path: The folder.
        config: The run's settings.
        manifest: The manifest or pack it trains on.
        resume: Whether to go on with the run that is there.
        writes: Whether this process writes.

    Raises:
        TrainingError: There is a run where a new one should begin, or none where one should go
            on, or the one that is there has other settings or other data.
    """

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        manifest: Path | str,
        *,
        resume: bool,
        writes: bool,
    ) -> None:
        self.path, self.writes = Path(path), writes
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"
        self._before = self.path / ".last.before.pt"
        self._untried = self._before.exists()  # no step has been taken from the last checkpoint
        self.metrics = self.path / "metrics.jsonl"
        self.config, self.manifest, self.resume = config, manifest, resume
        self.manifest_hash = data_digest(manifest)
        if resume:
            self._check_same(config, self.manifest_hash)
        elif (self.path / "config.toml").exists() and writes:
            raise TrainingError(
                f"{self.path} already holds a run.",
                help="Go on with it: --resume, or choose another --out.",
            )
        if writes:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TrainingError(f"{self.path}: cannot be written: {error.strerror}.") from error

    def begin(self) -> None:
        """Say what the run is made of; until here a run that cannot start leaves nothing behind.

        Raises:
            TrainingError: The folder cannot be written.
        """
        if not self.writes or self.resume:
            return
        facts = environment() | {
            "manifest": str(self.manifest),
            "manifest_sha256": self.manifest_hash,
        }
        try:
            text = json.dumps(facts, indent=2)
            (self.path / "environment.json").write_text(text, encoding="utf-8")
            self.metrics.write_text("", encoding="utf-8")
            save_config(self.config, self.path / "config.toml")
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be written: {error.strerror}.") from error

    def _check_same(self, config: TrainConfig, manifest_hash: str) -> None:
        file = self.path / "config.toml"
        if not file.exists():
            raise TrainingError(f"{self.path} holds no run to resume.", help="Leave out --resume.")
        before = to_dict(load_config(TrainConfig, file))
        changed = differences(before, to_dict(config))
        # a longer run, other loading or another patience is the same run going on
        changed = [name for name in changed if name not in ("epochs", "workers", "patience")]
        if changed:
            raise TrainingError(
                f"{self.path} was started with other settings: {', '.join(changed)}.",
                help="Resume with the settings in its config.toml, or start a new run.",
            )
        facts = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        if facts["manifest_sha256"] != manifest_hash:
            raise TrainingError(
                f"{self.path} was started with another manifest: {facts['manifest']}."
            )

    def log(self, values: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        if self.writes:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that a resumed run will take again."""
        if not self.writes or not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        kept: list[str] = []
        for line in lines:
            with suppress(json.JSONDecodeError):  # the last line, cut by a kill
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        self.metrics.write_text("".join(kept), encoding="utf-8")

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint whole or not at all."""
        if self.writes:
            save_atomically(path, state)

    def save_last(self, state: dict[str, Any]) -> None:
        """Write the checkpoint to go on from; the one before stays until `trust_last`."""
        if self.writes and self.last.exists() and not self._untried:
            with suppress(OSError):  # a file system without links keeps one checkpoint
                os.link(self.last, self._before)
        self.save(self.last, state)
        self._untried = True

    def trust_last(self) -> None:
        """The last checkpoint's weights have given a finite loss: the one before may go."""
        if self._untried and self.writes:
            self._before.unlink(missing_ok=True)
        self._untried = False

    def take_back_last(self) -> bool:
        """Forget a last checkpoint that was never trusted; whether a good one is there."""
        if self._untried and self.writes:
            if self._before.exists():
                self._before.replace(self.last)
            else:
                self.last.unlink(missing_ok=True)
        return self.last.exists()


def save_atomically(path: Path, state: dict[str, Any]) -> None:
    """torch.save beside the final name, then rename; what was there stays if this fails.

    Raises:
        TrainingError: The disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        kept = " The checkpoint before it is kept." if path.exists() else ""
        raise TrainingError(
            f"{path}: the checkpoint cannot be written: {error}.{kept}",
            help="Free some space and go on with --resume.",
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of `save_atomically`, without running code from it."""
    try:
        return cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: no such checkpoint.") from error
    except Exception as error:
        raise TrainingError(f"{path}: not a checkpoint of wavtext: {error}") from error


def environment() -> dict[str, Any]:
    """What the numbers of a run depend on besides its settings."""
    commit = ""
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        commit = found.stdout.strip()
    return {
        "wavtext": __version__,
        "git_commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.platform(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
    }


def config_text(config: TrainConfig) -> str:
    """The settings as they stand in config.toml."""
    return dumps_toml(to_dict(config))
