"""Settings of the server: where it listens, who may ask, and how much.  Checked once, when made."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from wavtext.errors import ServerError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
MIN_TOKEN_LENGTH = 16  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server listens and what it allows.

    Raises:
        ServerError: The address can be reached from other machines and neither a token nor
            `insecure` was given, the token can be guessed, or a limit makes no sense.
    """

    host: str = "127.0.0.1"  # address to listen on
    port: int = 8765  # 0: any that is free
    token: str | None = None  # what clients must show; None: nothing, on loopback only
    insecure: bool = False  # listen beyond loopback without a token
    allowed_hosts: tuple[str, ...] = ()  # further names in the Host header, such as a proxy's
    allowed_folders: tuple[Path, ...] = ()  # folders that the page may index, and that may be read
    session_duration: float = 30 * 86_400.0  # s that the page's cookie lives

    max_upload_bytes: int = 64 * 2**20  # of one request's body
    max_upload_duration: float = 600.0  # s of sound in one upload
    upload_timeout: float = 60.0  # s for a request's body to arrive
    decode_timeout: float = 30.0  # s, wall clock, to decode an upload
    decode_cpu: float = 20.0  # s of CPU to decode an upload
    decode_memory: int = 2**30  # bytes that decoding may take beyond the idle worker's
    decode_workers: int = 2  # processes that decode what strangers send
    playback_timeout: float = 240.0  # s to draw or transcode one of the library's own files

    rate: float = 500.0  # requests a second that one client may sustain
    burst: int = 1000  # requests that may come at once
    heavy_rate: float = 10.0  # uploads and other POSTs a second of one client
    heavy_burst: int = 60  # of these that may come at once

    search_threads: int = 1  # searches that run at once; two wait for each other (decision 0063)
    query_cache: int = 4096  # text embeddings kept
    map_points: int = 20_000  # clips drawn on the map; above, an even sample of them

    def __post_init__(self) -> None:
        """Refuse what would be unsafe or could not work."""
        if not (0 <= self.port <= 65_535):
            raise ServerError(f"port {self.port} is out of range.", help="Use 1 to 65535.")
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise ServerError(
                f"the token has {len(self.token)} characters and could be guessed.",
                help=f"Use at least {MIN_TOKEN_LENGTH}, or --token new to have one made.",
            )
        if not self.loopback and self.token is None and not self.insecure:
            raise ServerError(
                f"{self.host} can be reached from other machines, and no token is set.",
                help="Give --token, or --insecure if everyone on the network may read every sound.",
            )
        for name in ("max_upload_bytes", "decode_memory", "decode_workers", "burst", "map_points"):
            if getattr(self, name) < 1:
                raise ServerError(f"{name} must be at least 1.")
        for name in ("max_upload_duration", "decode_timeout", "decode_cpu", "rate", "heavy_rate"):
            if not getattr(self, name) > 0:
                raise ServerError(f"{name} must be more than 0.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK_NAMES or is_loopback(self.host)

    def reveals_to(self, client: str) -> bool:
        """Whether a client sits at this machine, so that a file may be shown in its file manager.

        Behind a proxy (`allowed_hosts`) every client seems to.
        """
        return self.loopback and not self.allowed_hosts and is_loopback(client)

    def allows_host(self, host: str) -> bool:
        """Whether a Host header's name may be one of ours (the defence against DNS rebinding).

        A page elsewhere that points its own name at this machine sends that name, so names must be
        known.  An address cannot be rebound: beyond loopback any literal address passes.
        """
        host = host.lower().rstrip(".")
        if host in LOOPBACK_NAMES or host == self.host.lower():
            return True
        if host in {name.lower() for name in self.allowed_hosts}:
            return True
        return not self.loopback and _is_address(host)


def is_loopback(address: str) -> bool:
    """Whether a literal address is this machine's own."""
    return _is_address(address) and ipaddress.ip_address(address).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
