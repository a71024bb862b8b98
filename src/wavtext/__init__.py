"""wavtext: find sounds by describing them; train and evaluate the models that do it.

import wavtext

    library = wavtext.SoundLibrary.open("sounds/")
    library.index()
    for result in library.search("a single crow at night", limit=5):
        print(f"{result.score:.2f}  {result.path}  {result.start:.1f}-{result.end:.1f} s")

Every public name is loaded on first use, so that `import wavtext` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wavtext.audio.decode import load_audio
    from wavtext.audio.log_mel import LogMelConfig, log_mel
    from wavtext.audio.waveform import Waveform
    from wavtext.errors import WavtextError
    from wavtext.library.library import SearchResult, SoundLibrary
    from wavtext.model.model import Model, Window, load_model

__version__ = "0.1.0"

_HOME = {
    "LogMelConfig": "wavtext.audio.log_mel",
    "Model": "wavtext.model.model",
    "SearchResult": "wavtext.library.library",
    "SoundLibrary": "wavtext.library.library",
    "Waveform": "wavtext.audio.waveform",
    "WavtextError": "wavtext.errors",
    "Window": "wavtext.model.model",
    "load_audio": "wavtext.audio.decode",
    "load_model": "wavtext.model.model",
}

__all__ = [
    "LogMelConfig",
    "Model",
    "SearchResult",
    "SoundLibrary",
    "Waveform",
    "WavtextError",
    "Window",
    "load_audio",
    "load_model",
    "log_mel",
]


def __getattr__(name: str) -> object:
    if name == "log_mel":
        value = import_module("wavtext.audio.log_mel").log_mel
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'wavtext' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
