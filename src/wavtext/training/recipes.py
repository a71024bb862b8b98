"""How each published network hears: its front end, its windows, its tokenizer, its licence."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wavtext.audio.log_mel import LogMelConfig
from wavtext.audio.mel import mel_bank
from wavtext.audio.windows import WindowConfig
from wavtext.errors import ConfigError, ModelError
from wavtext.model.folder import TextGraphConfig
from wavtext.training.checkpoint import read_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a layout's authors feed their network, and under which licence they give its weights."""

    log_mel: LogMelConfig
    windows: WindowConfig
    license: str
    source: str
    text: TextGraphConfig | None = None
    tokenizer: str = ""  # the Hugging Face repository whose tokenizer it uses


_PANNS = LogMelConfig(sample_rate=32_000, f_min=50.0, f_max=14_000.0)
_LAION = LogMelConfig(sample_rate=48_000, hop_length=480, f_min=50.0, f_max=14_000.0)


def whole_windows(duration: float) -> WindowConfig:
    """Windows of one length; shorter sounds repeat to it, as the originals tile them."""
    return WindowConfig(duration=duration, hop=duration, min_duration=duration)


RECIPES = {
    "panns-cnn14": Recipe(
        log_mel=_PANNS,
        windows=WindowConfig(duration=10.0, hop=10.0, min_duration=1.25),
        license="CC-BY-4.0",
        source="Kong et al. 2020, zenodo record 3987831",
    ),
    "htsat": Recipe(
        log_mel=_PANNS,
        windows=whole_windows(10.0),
        license="unclear",
        source="Chen et al. 2022, HTS-AT",
    ),
    "msclap-2022": Recipe(
        log_mel=LogMelConfig(sample_rate=44_100, f_min=50.0, f_max=14_000.0),
        windows=whole_windows(5.0),
        license="MIT",
        source="microsoft/msclap, CLAP_weights_2022.pth",
        text=TextGraphConfig(max_tokens=100),
        tokenizer="bert-base-uncased",
    ),
    "msclap-2023": Recipe(
        # the settings beside its weights say 8 kHz; the bank in its weights is what it hears with
        log_mel=LogMelConfig(
            sample_rate=44_100, f_min=50.0, f_max=14_000.0, bank_sample_rate=32_000
        ),
        windows=whole_windows(7.0),
        license="MIT",
        source="microsoft/msclap, CLAP_weights_2023.pth",
        text=TextGraphConfig(suffix=" <|endoftext|>"),
        tokenizer="gpt2",
    ),
    "laion-clap": Recipe(
        log_mel=_LAION,
        windows=whole_windows(10.0),
        license="CC0-1.0",
        source="LAION-AI/CLAP",
        text=TextGraphConfig(),
        tokenizer="roberta-base",
    ),
}


def own_front_end(source: Path, recipe: LogMelConfig) -> LogMelConfig:
    """The recipe's front end, corrected by the mel bank that the checkpoint carries, if it does."""
    banks = [v for k, v in read_tensors(source).items() if k.endswith("logmel_extractor.melW")]
    if not banks:
        return recipe
    theirs = banks[0].numpy()  # (bins, mels)
    for rate in dict.fromkeys(
        (recipe.bank_sample_rate or recipe.sample_rate, 32_000, 44_100, 48_000)
    ):
        for f_max in (recipe.f_max, 8_000.0, 14_000.0):
            ours = mel_bank(
                sample_rate=rate,
                n_fft=2 * (theirs.shape[0] - 1),
                n_mels=theirs.shape[1],
                f_min=recipe.f_min,
                f_max=f_max,
                scale="slaney",
                norm="slaney",
            )
            if np.allclose(ours, theirs, rtol=1e-3, atol=1e-6):
                other = None if rate == recipe.sample_rate else rate
                return replace(recipe, f_max=f_max, bank_sample_rate=other, n_mels=theirs.shape[1])
    raise ModelError(
        f"{source}: its mel bank ({theirs.shape[0]} bins, {theirs.shape[1]} bands) is not one "
        f"that is known."
    )


def hugging_face_recipe(folder: Path) -> Recipe:
    """The front end of a folder's preprocessor_config.json."""
    file = folder / "preprocessor_config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        fused = values.get("truncation") == "fusion"
        log_mel = LogMelConfig(
            sample_rate=int(values["sampling_rate"]),
            win_length=int(values["fft_window_size"]),
            hop_length=int(values["hop_length"]),
            n_mels=int(values["feature_size"]),
            f_min=float(values["frequency_min"]),
            f_max=float(values["frequency_max"]),
            mel_scale="htk" if fused else "slaney",
            mel_norm="none" if fused else "slaney",
        )
        duration = float(values.get("max_length_s", 10))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: it has no preprocessor_config.json.") from error
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(
            f"{file}: not the settings of a CLAP feature extractor: {error}"
        ) from error
    return Recipe(
        log_mel=log_mel,
        windows=whole_windows(duration),
        license="unclear",
        source=folder.name,
        text=TextGraphConfig(),
        tokenizer=str(folder),
    )
