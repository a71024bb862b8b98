"""Synthesised sounds in a folder, and the stub model, for the library's tests."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))  # stub_model.py, also for child processes

from sound_factory import RATE, Write, synthesise
from stub_model import StubModel

from wavtext.cli.main import main


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where the system has one: the library syncs every commit to the disk."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def write_sound(tmp_path: Path) -> Write:
    """write_sound("a/b.wav", "hum", duration=1.0, seed=0) -> the file's path, below sounds/."""

    def write(name: str, kind: str, duration: float = 1.0, seed: int = 0) -> Path:
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, synthesise(kind, duration, seed), RATE)
        return path

    return write


@pytest.fixture
def sounds(write_sound: Write, tmp_path: Path) -> Path:
    """A folder of eight sounds, two of each kind."""
    for seed in range(2):
        for kind in ("hum", "tone", "whistle", "hiss"):
            write_sound(f"{kind}{seed}.wav", kind, seed=seed)
    return tmp_path / "sounds"


@pytest.fixture
def model() -> StubModel:
    return StubModel()


@pytest.fixture
def bucket(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The sounds at an S3-compatible server of the test's own: s3://archive/sounds."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server_of = pytest.importorskip("moto.server", reason="moto is not installed")
    import botocore.session
    import s3fs

    for key in [key for key in os.environ if key.lower().endswith("_proxy")]:
        monkeypatch.delenv(key)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = botocore.session.Session().create_client("s3")
    client.create_bucket(Bucket="archive")
    for path in sounds.iterdir():
        client.put_object(Bucket="archive", Key=f"sounds/{path.name}", Body=path.read_bytes())
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    yield "s3://archive/sounds"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """command("search", ...) -> (exit status, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call
