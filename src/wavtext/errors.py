"""The errors wavtext raises.  One class for each thing a caller would handle.

WavtextError
├── ConfigError            a setting is unknown, of the wrong type or out of range
├── AudioError             a sound cannot be used
│   ├── DecodeError        missing, not audio, truncated before the first sample
│   └── EmptyAudioError    decodes to nothing, to silence, or to values that are not numbers
├── ModelError             a model folder is missing, damaged, or not what was asked for
├── LibraryError           a library cannot be opened, read or written
│   ├── ModelMismatchError the library was made by another model
│   ├── DamagedLibraryError the library's file is truncated or overwritten
│   ├── BusyLibraryError   another process is indexing into it
│   └── QueryError         a search asks for nothing, or for what no library can answer
├── CollectError           a source of sounds cannot be reached or read
├── ManifestError          a manifest, caption file or corpus folder is not as its format says
├── EvaluationError        scores, relevance or labels that no metric is defined for
├── TrainingError          a run cannot start or go on
├── ServerError            the server cannot start as asked
└── MissingExtraError      an optional part of wavtext is not installed

Every message says what, where and why; `help` says what to do.
"""


class WavtextError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: What went wrong, where, and why, in one line.
        help: What the user can do about it, in one line; shown after the message.
    """

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.help}" if self.help else message


class ConfigError(WavtextError):
    """A setting is unknown, of the wrong type or out of range."""


class AudioError(WavtextError):
    """A sound cannot be used."""


class DecodeError(AudioError):
    """The file is missing, is not audio, or breaks before its first sample."""


class EmptyAudioError(AudioError):
    """The sound holds no samples, only silence, or values that are not numbers."""


class ModelError(WavtextError):
    """A model folder is missing, damaged, or not what was asked for."""


class LibraryError(WavtextError):
    """A library cannot be opened, read or written."""


class ModelMismatchError(LibraryError):
    """The library was made by another model than the one that asks."""


class DamagedLibraryError(LibraryError):
    """The library's file is truncated, overwritten or not a library."""


class BusyLibraryError(LibraryError):
    """Another process is writing to the library."""


class QueryError(LibraryError):
    """A search asks for nothing, or for what no library can answer."""


class CollectError(WavtextError):
    """A source of sounds cannot be reached, fetched or unpacked."""


class ManifestError(WavtextError):
    """A manifest, caption file or corpus folder is not as its format says."""


class EvaluationError(WavtextError):
    """Scores, relevance or labels that no metric is defined for."""


class TrainingError(WavtextError):
    """A training run cannot start or go on."""


class ServerError(WavtextError):
    """The server cannot start as asked."""


class MissingExtraError(WavtextError):
    """An optional part of wavtext is needed and not installed.

    Args:
        extra: The extra's name, as in `pip install "wavtext[train]"`.
        purpose: What needs it.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs wavtext[{extra}], which is not installed.",
            help=f'Install it: pip install "wavtext[{extra}]"',
        )
