"""Manifest -> batches -> loss -> checkpoint -> model folder.  The only wing that imports torch.

config.py                what a run is made of, as TOML
cnn14.py htsat.py        the audio towers; text.py the text tower; projection.py; clap.py
                         puts two towers into one space; build.py makes them from settings
loss.py                  the symmetric cross-entropy of the paper, and duplicate-aware ones
cache.py data.py         a manifest to named batches, pure functions of (seed, epoch, step)
step.py memory.py        gradients of a batch: plain or in chunks, one process or many
prepare.py plan.py       what a run needs before its first step; what it would need
run.py loop.py           a run's folder, and the loop that fills it
published.py layouts.py  other people's checkpoints; checkpoint.py reads them without running
                         code, compat.py reproduces their quirks
convert.py hub.py        checkpoints and runs to model folders; recipes.py says how each hears
"""
