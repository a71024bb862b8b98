"""The address of a collection -> a client that speaks in this package's errors.

| address | |
|---|---|
| qdrant://host:6333/sounds | the collection `sounds` of a server; port 6333 when none is named |
| qdrant+https://host/sounds | the same over TLS; the key is read from QDRANT_API_KEY |
| qdrant:///folder | qdrant-client's local mode: a small collection, one process at a time |
"""

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wavtext.errors import LibraryError, MissingExtraError

LOCAL_COLLECTION = "sounds"
TIMEOUT = 120  # seconds


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collection is: at a server, or in a folder."""

    text: str
    collection: str
    server: str = ""  # http://host:port
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read an address.

        Raises:
            LibraryError: It is none.
        """
        parts = urlsplit(text)
        name = parts.path.strip("/")
        if text.startswith("qdrant:///") and name:
            return cls(text, LOCAL_COLLECTION, folder=os.path.abspath(f"/{name}"))
        secure = {"qdrant": "http", "qdrant+https": "https"}.get(parts.scheme)
        try:
            port = parts.port or 6333
        except ValueError:
            secure, port = None, 0
        if secure is None or "://" not in text or not parts.hostname or not name or "/" in name:
            raise LibraryError(
                f"{text}: not the address of a collection.",
                help="Write qdrant://host:6333/collection, or qdrant:///a/folder",
            )
        return cls(text, name, server=f"{secure}://{parts.hostname}:{port}")


class Client:
    """qdrant-client's methods for one collection; their failures are LibraryErrors.

    Args:
        address: Of the collection.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """

    def __init__(self, address: Address) -> None:
        try:
            import qdrant_client
        except ImportError as error:
            raise MissingExtraError("qdrant", address.text) from error
        self.address = address
        self.local = bool(address.folder)
        if self.local and not os.path.isdir(address.folder):
            raise nothing_there(address)  # qdrant-client would make it
        try:
            if self.local:
                self._client: Any = qdrant_client.QdrantClient(path=address.folder)
            else:
                key = os.environ.get("QDRANT_API_KEY")
                self._client = qdrant_client.QdrantClient(
                    url=address.server, api_key=key, timeout=TIMEOUT, check_compatibility=False
                )
        except Exception as error:  # a folder in use is a plain RuntimeError
            raise self._translated(error) from error

    def exists(self) -> bool:
        """Whether the collection is there."""
        return bool(self.call("collection_exists"))

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the client's for the collection."""
        try:
            return getattr(self._client, method)(self.address.collection, **arguments)
        except Exception as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _translated(self, error: Exception) -> LibraryError:
        said = str(error).strip().splitlines()
        return LibraryError(
            f"{self.address.text}: {said[0] if said else type(error).__name__}",
            help="Is the server running, and is it Qdrant's?" if not self.local else "",
        )


def nothing_there(address: Address) -> LibraryError:
    """Nothing was imported yet."""
    return LibraryError(
        f"{address.text}: holds no sounds yet.",
        help=f"Import some: wavtext library import PARQUET {address.text}",
    )
