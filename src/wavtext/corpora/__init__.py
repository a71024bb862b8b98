"""Gather, check, describe and pack collections of audio-text pairs.  A source -> a manifest.

`manifest` is the joint that every other wing reads; each source has one file; `stats`, `check` and
`pack` work on any manifest.
"""

from wavtext.corpora.manifest import Clip, iter_manifest, read_manifest, write_manifest

__all__ = ["Clip", "iter_manifest", "read_manifest", "write_manifest"]
