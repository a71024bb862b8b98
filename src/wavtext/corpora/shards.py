"""Parquet shards at any place fsspec knows.  Rows <-> shards, each written whole or not at all."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

from wavtext.errors import ManifestError, MissingExtraError

INDEX = "pack.json"
# Of a row, what makes a clip: everything but sound and log-mel.
CLIP_COLUMNS = (
    "clip_id", "captions", "split", "group", "source", "license", "credit", "checksum", "columns",
    "duration", "sample_rate",
)  # fmt: skip
_ROWS = 32  # in a row group: what is in memory at a time


class ShardStore:
    """A folder of shards, local or remote.

    Args:
        url: A path, or a URL such as s3://bucket/pack.

    Raises:
        MissingExtraError: pyarrow or fsspec is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
            import pyarrow
        except ImportError as error:
            raise MissingExtraError("corpora", "packing clips into Parquet shards") from error
        self.url = url
        self.written_by = f"pyarrow {pyarrow.__version__}"
        try:
            self._system, self._root = cast(Any, fsspec).core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ManifestError(f"{url}: {error}.") from error

    def read_note(self, name: str) -> dict[str, Any] | None:
        """The note of a shard that is there; None when it is not, or is damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = f"{self._root}/{name}"
        if not self._system.exists(path):
            return None
        try:
            with self._system.open(path, "rb") as file:
                metadata = pq.read_metadata(file).metadata or {}
            return json.loads(metadata[b"wavtext"])
        except (pa.ArrowException, KeyError, ValueError, OSError):
            return None

    def write_rows(
        self, name: str, rows: Iterable[dict[str, Any]], *, note: dict[str, Any], sample_rate: int
    ) -> None:
        """Write a shard; `note` is stored in it as it is when the last row has been taken."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = _schema(sample_rate)
        self._system.makedirs(self._root, exist_ok=True)
        path, partial = f"{self._root}/{name}", f"{self._root}/.{name}.partial"
        remaining = iter(rows)
        try:
            with (
                self._system.open(partial, "wb") as file,
                # Audio is compressed already.
                pq.ParquetWriter(
                    file, schema, compression="none", write_statistics=False
                ) as writer,
            ):
                while batch := list(islice(remaining, _ROWS)):
                    writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                writer.add_key_value_metadata({"wavtext": json.dumps(note)})
            self._system.mv(partial, path)
        finally:
            if self._system.exists(partial):
                self._system.rm(partial)

    def finish(
        self,
        shards: list[dict[str, Any]],
        *,
        settings: dict[str, Any],
        rejected: list[dict[str, Any]],
    ) -> None:
        """Write the index and the rejections; remove shards of earlier packs."""
        content = {
            "shards": [{k: v for k, v in shard.items() if k != "rejected"} for shard in shards],
            "settings": settings,
            "written_by": self.written_by,
        }
        self._system.makedirs(self._root, exist_ok=True)
        lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rejected)
        self._write_text("rejected.jsonl", lines)
        self._write_text(INDEX, json.dumps(content, indent=2) + "\n")
        names = {shard["name"] for shard in shards}
        for path in self._system.glob(f"{self._root}/part-*.parquet"):
            if str(path).rsplit("/", 1)[-1] not in names:
                self._system.rm(path)

    def read_index(self) -> dict[str, Any]:
        """The pack's shards and settings."""
        try:
            with self._system.open(f"{self._root}/{INDEX}", "rb") as file:
                return json.loads(file.read())
        except FileNotFoundError as error:
            raise ManifestError(
                f"{self.url}: no {INDEX}.", help="Make one: wavtext corpus pack MANIFEST --out URL"
            ) from error
        except ValueError as error:
            raise ManifestError(f"{self.url}/{INDEX}: damaged: {error}.") from error

    def read_rows(
        self, name: str, columns: Sequence[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of a shard, a row group at a time; with `columns`, only those are fetched."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self._system.open(f"{self._root}/{name}", "rb") as file:
                for batch in pq.ParquetFile(file).iter_batches(
                    _ROWS, columns=columns and list(columns)
                ):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(f"{self.url}/{name}: damaged or missing: {error}.") from error

    def _write_text(self, name: str, text: str) -> None:
        path, partial = f"{self._root}/{name}", f"{self._root}/.{name}.partial"
        with self._system.open(partial, "wb") as file:
            file.write(text.encode())
        self._system.mv(partial, path)


def _schema(sample_rate: int) -> Any:
    import pyarrow as pa

    text = ("clip_id", "split", "group", "source", "license", "credit", "checksum", "columns")
    fields = [
        pa.field("clip_id", pa.string()),
        pa.field("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("captions", pa.list_(pa.string())),
        *(pa.field(name, pa.string()) for name in text[1:]),
        pa.field("duration", pa.float64()),
        pa.field("sample_rate", pa.int32()),
        pa.field("log_mel", pa.binary()),
        pa.field("frames", pa.int32()),
    ]
    # What Hugging Face `datasets` looks for: without it, audio would be bytes to its users.
    value = {"_type": "Value", "dtype": "string"}
    features: dict[str, Any] = dict.fromkeys(text, value)
    features |= {
        "audio": {"_type": "Audio", "sampling_rate": sample_rate},
        "captions": {"_type": "Sequence", "feature": value},
        "duration": {"_type": "Value", "dtype": "float64"},
        "sample_rate": {"_type": "Value", "dtype": "int32"},
        "log_mel": {"_type": "Value", "dtype": "binary"},
        "frames": {"_type": "Value", "dtype": "int32"},
    }
    ordered = {field.name: features[field.name] for field in fields}
    metadata = {"huggingface": json.dumps({"info": {"features": ordered}})}
    return pa.schema(fields, metadata=metadata)
