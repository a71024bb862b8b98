"""What an experiment trains on and with: TOMLs and manifests under one root.

    ROOT/audiocaps/manifest.jsonl         as `wavtext collect` makes it; so for every dataset
    ROOT/weights/...                      the encoders' checkpoints

Where the paper's datasets cannot be had, `Corpora` names other folders that stand in for them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np

from wavtext.config import differences, from_dict, load_config, read_toml, save_config, to_dict
from wavtext.corpora.captions import PAPER_TEMPLATE, CaptionBuilder
from wavtext.corpora.exclusions import read_usable_clips
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.errors import ConfigError, ManifestError
from wavtext.evaluation.paper_tables import TABLES, TEST_SETS
from wavtext.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One training of the tables."""

    datasets: tuple[str, ...]
    wavtext5k_caption: str = PAPER_TEMPLATE
    clips_per_dataset: int | None = None  # None: all; a seeded choice otherwise
    train: TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """The folder of each dataset under the root; another name is a stand-in for it."""

    audiocaps: str = "audiocaps"
    clotho: str = "clotho"
    macs: str = "macs"
    sounddescs: str = "sounddescs"
    wavtext5k: str = "wavtext5k"

    def __post_init__(self) -> None:
        folders = list(asdict(self).values())
        twice = {each for each in folders if folders.count(each) > 1}
        if twice:
            raise ConfigError(
                f"'{min(twice)}' stands in for two datasets.",
                help="Each needs clips of its own: what one trains on, another may test.",
            )

    @property
    def stand_ins(self) -> dict[str, str]:
        """Dataset -> folder, where they differ."""
        return {name: folder for name, folder in asdict(self).items() if name != folder}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where data comes from and results go."""

    data: Path  # one folder a dataset, each with the manifest.jsonl of `wavtext collect`
    out: Path
    scale: str | Path = "paper"  # "paper", "cpu", or a TOML that is laid over every training
    corpora: Corpora = field(default_factory=Corpora)
    cache: Path | None = None  # of log-mels; None: the user's
    device: str | None = None

    def manifest_of(self, dataset: str) -> Path:
        """The manifest of a dataset, or of what stands in for it."""
        return self.data / getattr(self.corpora, dataset) / "manifest.jsonl"


def read_corpora(path: Path) -> Corpora:
    """What stands in for which dataset: a TOML with lines such as macs = "my-scenes"."""
    return from_dict(Corpora, read_toml(path), where=path.name)


def load_experiment(name: str, setting: Setting) -> Experiment:
    """A training's TOML with the scale's laid over it; weights are looked for under the data."""
    folder = config_folder()
    values = dict(read_toml(folder / "experiments" / "trainings.toml")[name])
    values["train"] = read_toml(folder / "paper" / values.pop("settings"))
    if setting.scale != "paper":
        cpu = folder / "experiments" / "cpu.toml"
        over = cpu if setting.scale == "cpu" else Path(setting.scale)
        values = _laid_over(values, read_toml(over))
    experiment = from_dict(Experiment, values, where=f"trainings.toml, {name}")
    audio = experiment.train.audio
    found = {
        field: setting.data / path
        for field in ("cnn14_weights", "htsat_weights")
        if (path := getattr(audio, field)) is not None
    }
    audio = replace(audio, **cast(Any, found))
    return replace(experiment, train=replace(experiment.train, audio=audio))


def config_folder() -> Path:
    """configs/, in the package where it is installed, in the repository otherwise."""
    here = Path(__file__).parent
    for folder in (here / "configs", here.parents[2] / "configs"):
        if (folder / "experiments").is_dir():
            return folder
    raise ConfigError("the experiments' settings are not installed.", help="Reinstall wavtext.")


def missing_data(table: str, setting: Setting) -> list[str]:
    """What the table's trainings need and do not find, a line each."""
    experiments = [load_experiment(name, setting) for name in TABLES[table]]
    wanted = dict.fromkeys(name for each in experiments for name in each.datasets)
    missing: list[str] = []
    for dataset in wanted:
        missing += _missing_dataset(dataset, setting)
    for experiment in experiments:
        audio, text = experiment.train.audio, experiment.train.text
        for weights in (audio.cnn14_weights, audio.htsat_weights):
            if weights is not None and not weights.is_file():
                missing.append(f"{weights}: the encoder's weights (docs/training.md says whence)")
        if text.name != "random" and not _has_text_model(text.name):
            missing.append(f"the text encoder {text.name}: a folder, or in Hugging Face's cache")
    return list(dict.fromkeys(missing))


def write_training_manifest(experiment: Experiment, setting: Setting, name: str) -> int:
    """Train on all datasets, validate on AudioCaps' and Clotho's validation parts; clips written.

    Of MACS, SoundDescs and WavText5K every clip trains, whatever its split, as in the paper's
    counts; of WavText5K those with title and description.
    """
    clips: list[Clip] = []
    tested: set[str] = set()
    for dataset in experiment.datasets:
        found = read_usable_clips(setting.manifest_of(dataset))
        if dataset == "wavtext5k":
            builder = CaptionBuilder(templates=(experiment.wavtext5k_caption,))
            found = [
                replace(clip, captions=builder.build(clip.columns))
                for clip in found
                if clip.columns.get("title", "").strip()
                and clip.columns.get("description", "").strip()
            ]
        if dataset in TEST_SETS:
            tested |= {_identity(clip) for clip in found if clip.split == "test"}
            held = [clip for clip in found if clip.split == "validation"]
            clips += chosen_clips(held, experiment.clips_per_dataset)
            found = [clip for clip in found if clip.split == "train"]
        chosen = chosen_clips(found, experiment.clips_per_dataset)
        clips += [replace(clip, split="train") for clip in chosen]
    kept = [
        replace(clip, clip_id=f"{number}/{clip.clip_id}")
        for number, clip in enumerate(clips)
        if _identity(clip) not in tested
    ]
    path = setting.out / name / "manifest.jsonl"
    if not path.exists():
        write_manifest(path, kept)
    return len(kept)


def check_same(name: str, setting: Setting) -> None:
    """Refuse a folder whose training was made from other settings or data; note these if new.

    Raises:
        ConfigError: The folder holds another training's results.
    """
    experiment = load_experiment(name, replace(setting, data=Path()))  # wherever the root lies
    datasets = dict.fromkeys((*experiment.datasets, *TEST_SETS))
    data = {each: sha256(setting.manifest_of(each).read_bytes()).hexdigest() for each in datasets}
    folder = setting.out / name
    settings_file, data_file = folder / "experiment.toml", folder / "manifests.json"
    if settings_file.exists():  # read through Experiment: a setting that is new has its default
        before = to_dict(load_config(Experiment, settings_file))
        changed = differences(before, to_dict(experiment))
        data_before = json.loads(data_file.read_text(encoding="utf-8"))
        changed += [f"the manifest of {each}" for each in differences(data_before, data)]
        if changed:
            raise ConfigError(
                f"{folder}: made from other settings or data: {', '.join(changed)}.",
                help="Name another folder: --out.",
            )
    folder.mkdir(parents=True, exist_ok=True)
    data_file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    save_config(experiment, settings_file)


def _identity(clip: Clip) -> str:
    return clip.checksum or str(clip.path)


def _missing_dataset(dataset: str, setting: Setting) -> list[str]:
    path = setting.manifest_of(dataset)
    if not path.is_file():
        if dataset in setting.corpora.stand_ins:
            return [f"{path}: the clips that stand in for {dataset}"]
        return [f"{path}: wavtext collect {dataset} FOLDER --out {path.parent}"]
    try:
        clips = read_manifest(path)
    except ManifestError as error:
        return [str(error)]
    missing: list[str] = []
    if dataset in TEST_SETS:
        for split in ("train", "validation", "test"):
            if not any(clip.split == split for clip in clips):
                missing.append(f"{path}: the split '{split}' is empty")
    gone = [clip.path for clip in clips if not clip.path.is_file()]
    if gone:
        missing.append(f"{path}: {len(gone)} of {len(clips)} sounds, the first {gone[0]}")
    return missing


def _has_text_model(name: str) -> bool:
    if Path(name).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def chosen_clips(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    """All clips, or a seeded choice of `limit` in their order."""
    if limit is None or len(clips) <= limit:
        return list(clips)
    rows = np.random.default_rng(0).choice(len(clips), limit, replace=False)
    return [clips[row] for row in sorted(rows)]


def _laid_over(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables merged; an empty text takes a setting away."""
    result = dict(values)
    for name, value in over.items():
        if isinstance(value, Mapping):
            inner = cast(Mapping[str, Any], value)
            result[name] = _laid_over(cast(Mapping[str, Any], result.get(name, {})), inner)
        elif value == "":
            result.pop(name, None)
        else:
            result[name] = value
    return result
