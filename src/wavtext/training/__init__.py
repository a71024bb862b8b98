"""Manifest -> batches -> loss -> checkpoint -> model folder.  The only wing that imports torch.

config.py     what a run is made of, as TOML
cnn14.py htsat.py text.py projection.py   the towers;  clap.py puts two of them into one space
loss.py       the symmetric cross-entropy of the paper, and its duplicate-aware variants
cache.py data.py   a manifest to named batches, a pure function of (seed, epoch, step)
step.py       gradients of one batch: plainly, or in chunks with gradient caching; one process or
many run.py loop.py     a run's folder, and the loop that fills it published.py  layouts.py
other people's checkpoints
"""
