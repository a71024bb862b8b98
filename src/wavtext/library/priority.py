"""The priority of indexing: whoever searches meanwhile goes first."""

import os

LOWEST = 19  # of the niceness that Unix knows


def step_back() -> None:
    """Give this process, and the threads it starts from now on, the lowest priority.

    Indexing then takes what processors have to spare; where nobody else wants them, that is all.
    Call it before a model is loaded, which starts threads. Windows has no niceness: no effect.
    """
    if hasattr(os, "nice"):
        os.nice(LOWEST)
