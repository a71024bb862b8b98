"""Sound file -> waveform -> windows -> log-mel.

decode.py turns any file into mono samples, windows.py cuts a stream of samples into
deterministic windows, log_mel.py turns a window into what a model hears.
"""
