"""Downloads against a local server that misbehaves as real hosts do."""

import csv
import io
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import soundfile

from wavtext.corpora.captions import CaptionBuilder
from wavtext.corpora.collection import CollectOptions, Rejected, write_collection
from wavtext.corpora.download import DownloadOptions, Job, Outcome, download_all, read_log
from wavtext.corpora.manifest import read_manifest
from wavtext.corpora.transfer import RefusedError, check_url, is_private
from wavtext.corpora.wavtext5k import (
    Row,
    alternative_urls,
    convert,
    wavtext5k_clips,
    wavtext5k_rows,
)

QUICK = DownloadOptions(
    timeout=0.4, attempts=3, first_pause=0.01, max_pause=0.05, host_pause=0.0, allow_private=True
)


def sound_bytes(kind: str = "WAV", seed: int = 0, duration: float = 0.5) -> bytes:
    samples = np.random.default_rng(seed).standard_normal(round(duration * 22_050)) * 0.1
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 22_050, format=kind)
    return buffer.getvalue()


SOUND = sound_bytes()


class Misbehaving(BaseHTTPRequestHandler):
    """Each path fails in its own way; `asked` counts how often it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    ranges: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        type(self).asked[self.path] += 1
        times = type(self).asked[self.path]
        if "Range" in self.headers:
            type(self).ranges.append(self.headers["Range"])
        name = Path(path).stem
        if name == "hang":
            threading.Event().wait(1.0)
        elif name == "reset":
            self.break_off()
        elif name == "resume":  # the first answer breaks off half way
            self.send_sound(cut=len(SOUND) // 2 if times == 1 else None)
        elif name == "changed":  # breaks off, and then it is another file
            self.send_sound(
                cut=len(SOUND) // 2 if times == 1 else None,
                body=SOUND if times == 1 else sound_bytes(seed=1),
                etag=f'"{times}"',
            )
        elif name == "lying":  # says a range begins where it does not
            if "Range" in self.headers:
                self.reply(206, SOUND, **{"Content-Range": f"bytes 0-{len(SOUND)}/{len(SOUND)}"})
            else:
                self.send_sound(cut=100 if times == 1 else None)
        elif name == "flaky":
            statuses = {1: 503, 2: 429}
            self.reply(statuses[times], b"", **{"Retry-After": "0"}) if times < 3 else (
                self.send_sound()
            )
        elif name == "busy":
            self.reply(429, b"", **{"Retry-After": "1"})
        elif name == "page":
            self.reply(200, b"<!DOCTYPE html><p>Not here", **{"Content-Type": "audio/wav"})
        elif name == "garbage":
            self.reply(200, b"RIFF" + bytes(1000))
        elif name == "silent":
            buffer = io.BytesIO()
            soundfile.write(buffer, np.zeros(1000), 22_050, format="WAV")
            self.reply(200, buffer.getvalue())
        elif name == "moved":
            self.reply(302, b"", Location="/sound.wav")
        elif name == "loop":
            self.reply(302, b"", Location="/loop.wav")
        elif name == "inside":
            self.reply(302, b"", Location="http://169.254.169.254/latest/meta-data")
        elif name == "huge":
            self.reply(200, b"", **{"Content-Length": str(10**12)})
        elif name == "endless":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for _ in range(1000):
                try:
                    self.wfile.write(bytes([1]) * 10_000)
                except OSError:
                    return
        elif path.startswith("/UPLOAD/aiff/"):
            self.reply(200, sound_bytes("AIFF"))
        elif path == "/grab.php":
            query = parse_qs(urlsplit(self.path).query)
            kind = query.get("type", [""])[0]
            if kind == "wav":
                self.send_sound()
            else:
                self.reply(404, b"")
        elif name == "sound":
            self.send_sound()
        else:
            self.reply(404, b"gone")

    def send_sound(self, *, cut: int | None = None, body: bytes = SOUND, etag: str = '"1"') -> None:
        start = 0
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Type", "audio/x-wav")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : cut or len(body)])
        if cut:
            self.break_off()

    def break_off(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are this server's business."""


@pytest.fixture
def host() -> Iterator[str]:
    Misbehaving.asked = Counter()
    Misbehaving.ranges = []
    server = QuietServer(("127.0.0.1", 0), Misbehaving)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def accept_all(path: Path) -> str:
    return ""


def fetch(host: str, *names: str, folder: Path, options: DownloadOptions = QUICK) -> Outcome:
    job = Job(names[0], tuple(f"{host}/{name}" for name in names), folder / "sound")
    (outcome,) = download_all([job], options=options, log=folder / "log", accept=accept_all)
    return outcome


def test_a_sound_arrives_with_its_checksum_and_leaves_no_litter(host: str, tmp_path: Path) -> None:
    outcome = fetch(host, "sound.wav", folder=tmp_path)
    assert (outcome.status, outcome.num_bytes, outcome.attempts) == ("downloaded", len(SOUND), 1)
    assert (tmp_path / "sound").read_bytes() == SOUND
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "sound"]
    assert read_log(tmp_path / "log") == {"sound.wav": outcome}


@pytest.mark.parametrize(
    ("name", "reason", "times"),
    [
        ("hang.wav", "time-out", 3),
        ("reset.wav", "broken connection", 3),
        ("busy.wav", "HTTP 429", 3),
        ("gone.wav", "HTTP 404", 1),
        ("page.wav", "a web page", 1),
        ("loop.wav", "more than 5 redirects", 6),
        ("huge.wav", "too large", 1),
    ],
)
def test_each_way_to_fail_has_its_reason_and_its_number_of_attempts(
    host: str, tmp_path: Path, name: str, reason: str, times: int
) -> None:
    outcome = fetch(host, name, folder=tmp_path)
    assert outcome.status == "failed"
    assert reason in outcome.reason
    assert Misbehaving.asked[f"/{name}"] == times
    assert not (tmp_path / "sound").exists()


def test_a_busy_host_is_asked_until_it_answers(host: str, tmp_path: Path) -> None:
    outcome = fetch(host, "flaky.wav", folder=tmp_path)
    assert (outcome.status, outcome.attempts) == ("downloaded", 3)


def test_a_broken_transfer_goes_on_where_it_stopped(host: str, tmp_path: Path) -> None:
    outcome = fetch(host, "resume.wav", folder=tmp_path)
    assert outcome.status == "downloaded"
    assert (tmp_path / "sound").read_bytes() == SOUND
    assert Misbehaving.ranges == [f"bytes={len(SOUND) // 2}-"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(
    host: str, tmp_path: Path
) -> None:
    assert fetch(host, "changed.wav", folder=tmp_path).status == "downloaded"
    assert (tmp_path / "sound").read_bytes() == sound_bytes(seed=1)


def test_a_wrong_byte_range_is_not_believed(host: str, tmp_path: Path) -> None:
    assert fetch(host, "lying.wav", folder=tmp_path).status == "downloaded"
    assert (tmp_path / "sound").read_bytes() == SOUND


def test_redirects_are_followed_but_not_to_private_addresses(host: str, tmp_path: Path) -> None:
    assert fetch(host, "moved.wav", folder=tmp_path).status == "downloaded"
    refused = DownloadOptions(timeout=0.4, attempts=1, host_pause=0.0)
    outcome = fetch(host, "sound.wav", folder=tmp_path / "b", options=refused)
    assert "private address: 127.0.0.1" in outcome.reason
    assert Misbehaving.asked["/sound.wav"] == 1  # by the redirect; the refused URL was not asked


def test_a_redirect_into_the_local_network_is_not_followed(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wavtext.corpora.transfer.is_private", lambda address: address.startswith("169.254.")
    )
    options = DownloadOptions(timeout=0.4, attempts=1, host_pause=0.0)
    outcome = fetch(host, "inside.wav", folder=tmp_path, options=options)
    assert "private address: 169.254.169.254" in outcome.reason
    assert fetch(host, "sound.wav", folder=tmp_path, options=options).status == "downloaded"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "0.0.0.0",
     "::ffff:10.0.0.1", "100.64.0.1", "224.0.0.1", "fd00::1", "not an address"],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert is_private(address)


def test_public_addresses_are_not_private() -> None:
    assert not is_private("93.184.216.34")
    assert not is_private("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://x.org/a", "http:///a", "http://u:p@x.org/a", "http://[::1]/a",
     "http://2130706433/", "http://localhost/a"],
)  # fmt: skip
def test_what_is_no_public_web_address_is_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        check_url(url, allow_private=False)


def test_an_endless_answer_is_cut_at_the_limit(host: str, tmp_path: Path) -> None:
    options = DownloadOptions(max_bytes=100_000, attempts=1, host_pause=0.0, allow_private=True)
    outcome = fetch(host, "endless.wav", folder=tmp_path, options=options)
    assert "too large: more than 100000 bytes" in outcome.reason


def test_an_interrupted_consumer_leaves_what_was_finished(host: str, tmp_path: Path) -> None:
    jobs = [Job(f"{i}", (f"{host}/sound.wav?{i}",), tmp_path / f"{i}.wav") for i in range(20)]
    outcomes = download_all(jobs, options=QUICK, log=tmp_path / "log", accept=accept_all)
    next(outcomes)
    outcomes.close()  # as Ctrl-C does
    kept = [path for path in tmp_path.glob("*.wav") if path.read_bytes() == SOUND]
    assert len(kept) == len(list(tmp_path.glob("*.wav"))) >= 1
    rest = list(download_all(jobs, options=QUICK, log=tmp_path / "log", accept=accept_all))
    assert Counter(each.status for each in rest)["failed"] == 0
    assert len(list(tmp_path.glob("*.wav"))) == 20


def test_a_full_disk_stops_the_run_and_keeps_what_was_finished(host: str, tmp_path: Path) -> None:
    def full(path: Path) -> str:
        raise OSError(28, "No space left on device")

    jobs = [Job("a", (f"{host}/sound.wav",), tmp_path / "a.wav")]
    with pytest.raises(OSError, match="No space"):
        list(download_all(jobs, options=QUICK, log=tmp_path / "log", accept=full))


def test_a_disk_that_fills_while_flac_is_written_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = tmp_path / "crow.wav"
    soundfile.write(download, np.sin(np.arange(44_100) / 9), 44_100)

    def short(self: soundfile.SoundFile, data: np.ndarray) -> None:
        raise AssertionError  # as soundfile does when libsndfile writes fewer samples

    monkeypatch.setattr(soundfile.SoundFile, "write", short)
    with pytest.raises(OSError, match="No space"):
        convert(download)
    assert [path.name for path in tmp_path.iterdir()] == ["crow.wav"]


TABLE = [
    ("BigSoundBank", "/UPLOAD/wav/0001.wav", "Crow", "A crow caws.", "0001.wav", ""),
    ("SoundBible", "/grab.php?id=7&type=wav", "Owl", "", "owl_1.wav", "['owl', \"bird's\"]"),
    ("SoundBible", "/grab.php?id=8&type=ogg", "Frog", "A frog.", "frog_2.wav", ""),
    ("BigSoundBank", "/page.wav", "Page", "A page.", "page.wav", ""),
    ("BigSoundBank", "/garbage.wav", "Garbage", "Noise.", "garbage.wav", ""),
    ("BigSoundBank", "/silent.wav", "Silent", "Nothing.", "silent.wav", ""),
    ("BigSoundBank", "/sound.wav", "", " ", "nothing.wav", ""),
    ("BigSoundBank", "", "Lost", "Lost.", "lost.wav", ""),
]


def write_table(path: Path, host: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["view_link", "download_link", "title", "description", "fname", "tags"])
        for _, link, *rest in TABLE:
            writer.writerow([f"{host}/view", host + link if link else "", *rest])
    return path


def collect(table: Path, out: Path, **options: object) -> list[str]:
    clips = wavtext5k_clips(table, out, options=QUICK, **options)  # pyright: ignore
    builder = CollectOptions(captions=CaptionBuilder(), workers=1)
    summary = write_collection(clips, out, source="wavtext5k", options=builder)
    assert summary.clips + sum(summary.rejected.values()) == summary.rows
    return [clip.clip_id for clip in read_manifest(out / "manifest.jsonl", check_files=True)]


def test_wavtext5k_survives_dead_links_and_says_why_rows_do_not(host: str, tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "table.csv", host), tmp_path / "out"
    assert collect(table, out) == ["wavtext5k/0001", "wavtext5k/owl_1"]
    crow, owl = read_manifest(out / "manifest.jsonl")
    assert (crow.captions, owl.captions) == (("Crow. A crow caws.",), ("Owl.",))
    assert owl.columns["tags"] == "owl, bird's"
    assert (crow.sample_rate, crow.duration) == (44_100, 0.5)
    assert Misbehaving.asked["/UPLOAD/wav/0001.wav"] == 1  # dead; its .aiff was taken
    assert Misbehaving.asked["/grab.php?id=7&type=wav"] == 1  # the & survived
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert {each["clip_id"]: each["reason"] for each in rejected} == {
        "wavtext5k/frog_2": "broken link",
        "wavtext5k/page": "broken link",
        "wavtext5k/garbage": "not audio",
        "wavtext5k/silent": "silent audio",
        "wavtext5k/nothing": "empty metadata",
        "wavtext5k/lost": "broken link",
    }


def test_a_second_run_fetches_nothing_that_is_there_and_gives_the_same_manifest(
    host: str, tmp_path: Path
) -> None:
    table, out = write_table(tmp_path / "table.csv", host), tmp_path / "out"
    collect(table, out)
    manifest = (out / "manifest.jsonl").read_bytes()
    collect(table, out)
    assert (out / "manifest.jsonl").read_bytes() == manifest
    assert Misbehaving.asked["/UPLOAD/aiff/0001.aiff"] == 1
    (out / ".inspected.jsonl").unlink()
    collect(table, out)
    assert (out / "manifest.jsonl").read_bytes() == manifest


def test_rows_can_be_limited_and_required_to_have_columns(host: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", host)
    assert collect(table, tmp_path / "a", limit=1) == ["wavtext5k/0001"]
    assert collect(table, tmp_path / "b", only=("title", "description")) == ["wavtext5k/0001"]


def test_every_row_of_the_real_table_has_a_name_of_its_own_and_an_alternative(
    shared: Path, tmp_path: Path
) -> None:
    rows = list(wavtext5k_rows(shared / "metadata" / "wavtext5k.csv", tmp_path))
    found = [row for row in rows if isinstance(row, Row)]
    rejected = [row for row in rows if isinstance(row, Rejected)]
    assert [row.reason for row in rejected] == ["empty metadata"] * 5
    assert len(found) == 4_520
    assert len({str(row.clip.path).lower() for row in found}) == 4_520
    assert all(len(row.urls) > 1 for row in found)
    assert all(row.clip.path.parent == tmp_path for row in found)


def test_alternatives_keep_the_query() -> None:
    assert alternative_urls("https://s.com/grab.php?id=7&type=wav") == (
        "https://s.com/grab.php?id=7&type=wav",
        "https://s.com/grab.php?id=7&type=mp3",
    )
