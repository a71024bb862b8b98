import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavtext.audio.log_mel import LogMelConfig, log_mel
from wavtext.corpora.inspection import CACHE_NAME, inspect_files
from wavtext.corpora.manifest import Clip, read_manifest
from wavtext.corpora.pack import PackOptions, pack
from wavtext.corpora.packed import (
    is_pack,
    pack_digest,
    pack_options,
    read_packed,
    read_packed_clips,
    unpack,
)
from wavtext.corpora.shards import ShardStore
from wavtext.errors import ManifestError, WavtextError

FRONT_END = LogMelConfig(sample_rate=16_000, n_mels=32, f_max=8_000.0)
OPTIONS = PackOptions(sample_rate=16_000, log_mel=FRONT_END, clips_per_shard=3, max_duration=2.0)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    random = np.random.default_rng(0)
    found: list[Clip] = []
    for number in range(7):
        path = tmp_path / f"{number}.wav"
        rate = 16_000 if number < 5 else 22_050
        soundfile.write(path, random.uniform(-0.5, 0.5, rate // (number + 1)), rate, "PCM_16")
        found.append(
            Clip(f"c{number}", path, (f"clip {number}", "noise"), "train", columns={"title": "Ü"})
        )
    return found


def test_a_pack_holds_the_same_sounds_captions_and_log_mels(
    clips: list[Clip], tmp_path: Path
) -> None:
    summary = pack(clips, str(tmp_path / "pack"), options=OPTIONS, workers=1)
    assert (summary.clips, summary.shards, summary.new_shards) == (7, 3, 3)
    for clip, packed in zip(clips, read_packed(str(tmp_path / "pack")), strict=True):
        assert packed.clip.clip_id == clip.clip_id
        assert packed.clip.captions == clip.captions
        assert packed.clip.columns == clip.columns
        assert packed.waveform.sample_rate == 16_000
        assert packed.log_mel is not None
        mels = log_mel(packed.waveform.samples, FRONT_END)
        assert packed.log_mel.shape == mels.shape
        assert np.abs(packed.log_mel - mels).max() < 0.15  # dB: 16 bits of audio, half floats
    first = next(read_packed(str(tmp_path / "pack")))
    assert np.array_equal(first.waveform.samples, soundfile.read(clips[0].path, dtype="float32")[0])


def test_an_interrupted_pack_goes_on_and_a_changed_manifest_packs_what_changed(
    clips: list[Clip], tmp_path: Path
) -> None:
    url = str(tmp_path / "pack")
    pack(clips, url, options=OPTIONS, workers=1)
    shards = sorted((tmp_path / "pack").glob("part-*"))
    shards[1].write_bytes(shards[1].read_bytes()[:100])  # killed within the second shard
    assert pack(clips, url, options=OPTIONS, workers=1).new_shards == 1
    assert len(list(read_packed(url))) == 7
    changed = [*clips[:6], Clip("new", clips[6].path, ("new",))]
    assert pack(changed, url, options=OPTIONS, workers=1).new_shards == 1
    assert [packed.clip.clip_id for packed in read_packed(url)][-1] == "new"
    assert len(list((tmp_path / "pack").glob("part-*"))) == 3  # no shard of the old manifest


def test_what_cannot_be_packed_is_listed_with_its_reason(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html>")
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16_000)
    soundfile.write(tmp_path / "long.wav", np.ones(16_000 * 3) * 0.5, 16_000)
    bad = [
        Clip(name, tmp_path / f"{name}.wav", ("x",)) for name in ("page", "silent", "gone", "long")
    ]
    summary = pack([*clips, *bad], str(tmp_path / "pack"), options=OPTIONS, workers=1)
    assert summary.rejected == {"not audio": 1, "silent audio": 1, "missing audio": 1}
    assert (summary.clips, summary.cut) == (8, 1)
    lines = (tmp_path / "pack" / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["clip_id"] for line in lines] == ["page", "silent", "gone"]
    assert list(read_packed(str(tmp_path / "pack")))[-1].waveform.duration == 2.0


def test_packing_leaves_what_check_would_find_out(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / CACHE_NAME
    pack(clips, str(tmp_path / "pack"), options=OPTIONS, workers=1, cache=cache)
    monkeypatch.setattr("wavtext.corpora.inspection.inspect_file", None)
    found = list(inspect_files([clip.path for clip in clips], cache=cache, workers=1))
    assert [each.sample_rate for each in found] == [16_000] * 5 + [22_050] * 2
    assert all(each.words is not None for each in found)


def test_a_pack_can_be_kept_in_object_storage(clips: list[Clip]) -> None:
    url = "memory://bucket/pack"
    pack(clips[:2], url, options=OPTIONS, workers=1)
    assert [packed.clip.clip_id for packed in read_packed(url)] == ["c0", "c1"]
    assert is_pack(url)
    assert pack_options(url) == OPTIONS


def test_clips_are_listed_without_their_sounds_and_some_without_the_others(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "pack")
    pack(clips, url, options=OPTIONS, workers=1)
    whole = [packed.clip for packed in read_packed(url)]
    assert [replace(clip, path=Path()) for clip in read_packed_clips(url)] == [
        replace(clip, path=Path()) for clip in whole
    ]
    fetched: list[str] = []
    read_rows = ShardStore.read_rows

    def watched(store: ShardStore, name: str, columns: tuple[str, ...] | None = None) -> object:
        if columns is None:
            fetched.append(name)
        return read_rows(store, name, columns)

    monkeypatch.setattr(ShardStore, "read_rows", watched)
    assert [packed.clip.clip_id for packed in read_packed(url, only={"c4"})] == ["c4"]
    assert len(fetched) == 1  # of three shards


def test_a_pack_is_known_by_its_content(clips: list[Clip], tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(clips, str(tmp_path / name), options=OPTIONS, workers=1)
    assert pack_digest(str(tmp_path / "one")) == pack_digest(str(tmp_path / "two"))
    pack(clips[1:], str(tmp_path / "two"), options=OPTIONS, workers=1)
    assert pack_digest(str(tmp_path / "one")) != pack_digest(str(tmp_path / "two"))
    assert not is_pack(tmp_path)


def test_a_pack_can_be_unpacked_into_files_and_a_manifest(
    clips: list[Clip], tmp_path: Path
) -> None:
    pack(clips, str(tmp_path / "pack"), options=OPTIONS, workers=1)
    assert unpack(str(tmp_path / "pack"), tmp_path / "out") == 7
    again = read_manifest(tmp_path / "out" / "manifest.jsonl", check_files=True)
    assert [clip.captions for clip in again] == [clip.captions for clip in clips]
    assert soundfile.info(again[6].path).samplerate == 16_000


def test_shards_tell_datasets_that_audio_is_audio(clips: list[Clip], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pack(clips, str(tmp_path / "pack"), options=OPTIONS, workers=1)
    schema = pq.read_schema(next((tmp_path / "pack").glob("part-*")))
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["audio"] == {"_type": "Audio", "sampling_rate": 16_000}
    assert list(features) == schema.names


def test_hugging_face_datasets_reads_a_pack(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    url = str(tmp_path / "pack")
    pack(clips, url, options=OPTIONS, workers=1)
    found = datasets.load_dataset(
        "parquet", data_files=f"{url}/*.parquet", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found.features["audio"] == datasets.Audio(sampling_rate=16_000)
    found = found.cast_column("audio", datasets.Audio(decode=False))
    assert len(found) == 7
    for row, packed in zip(found, read_packed(url), strict=True):
        assert row["clip_id"] == packed.clip.clip_id
        assert tuple(row["captions"]) == packed.clip.captions
        assert row["audio"]["bytes"] == packed.audio
        assert packed.log_mel is not None
        image = np.frombuffer(row["log_mel"], "<f2").reshape(row["frames"], -1)
        assert np.array_equal(image, packed.log_mel)


def test_a_pack_can_be_kept_on_an_s3_server(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server_of = pytest.importorskip("moto.server", reason="moto is not installed")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        s3fs.S3FileSystem().mkdir("bucket")
        url = "s3://bucket/packs/mine"
        assert pack(clips, url, options=OPTIONS, workers=1).new_shards == 3
        assert pack(clips, url, options=OPTIONS, workers=1).new_shards == 0
        assert [each.clip_id for each in read_packed_clips(url)] == [f"c{n}" for n in range(7)]
        (fourth,) = read_packed(url, only={"c3"})
        assert fourth.waveform.sample_rate == 16_000
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


def test_bad_packs_and_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"pack\.json"):
        next(read_packed(str(tmp_path)))
    with pytest.raises(ManifestError, match="must agree"):
        PackOptions(sample_rate=8_000, log_mel=FRONT_END)
    with pytest.raises(WavtextError, match="nosuch"):
        next(read_packed("nosuch://x"))
