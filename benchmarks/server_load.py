"""How many text searches a second does the server answer, over queries that no cache has seen?

    python benchmarks/server_load.py                       # 100,000 windows, 8 connections, 30 s
    python benchmarks/server_load.py --windows 20000 --seconds 10

Makes a library of random clips (the model's own dimension; five windows a clip; some names hold
words of the queries), serves it with `wavtext serve` in a process of its own, and asks it with
`wrk` (Debian's package), or with a small asyncio client where there is none.  Every query is asked
once.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
from machine import machine

from wavtext.library.library import LIBRARY_FILE, SoundLibrary
from wavtext.library.store import ClipRecord, Store
from wavtext.library.upkeep import refresh_background

HOW = (
    "soft|loud|distant|close|muffled|sharp|low|high|dry|wet|slow|quick|heavy|light|metallic|wooden|"
    "hollow|bright|dark|rough|smooth|short|long|steady"
)
WHAT = (
    "rain|wind|thunder|footsteps|door|dog barking|cat|crow|owl|engine|train|bell|glass breaking|"
    "water pouring|fire|crowd|applause|whistle|siren|saw|hammer|typing|clock|drum|explosion|splash|"
    "waves|bird song|horse|frog|bee|keys"
)
WHERE = (
    "in a hall|on a tin roof|far away|in a forest|at night|in the street|under water|in a small "
    "room|on gravel|by the sea|through a wall|in a cave|on wood|with an echo|in a car|on a farm"
)
WINDOWS_OF_A_CLIP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--limit", type=int, default=20, help="results of a search")
    parser.add_argument("--client", choices=("wrk", "asyncio"))
    options = parser.parse_args()
    client = options.client or ("wrk" if shutil.which("wrk") else "asyncio")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sounds"
        folder.mkdir()
        model = make_library(folder, options.windows)
        server = serving(folder)
        with server as address:
            paths = queries(options.limit)
            warm_up(address, paths)
            before, cpu = asked(address), server.cpu_seconds()
            ask = with_wrk if client == "wrk" else with_asyncio
            found = ask(address, paths, options.connections, options.seconds, Path(scratch))
            answered = asked(address) - before
            found["distinct_queries"] = answered
            used = server.cpu_seconds() - cpu
            found["server_cpu_ms_per_request"] = round(used / max(answered, 1) * 1000, 2)
    found |= {
        "client": client,
        "connections": options.connections,
        "windows": options.windows,
        "model": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        **machine(),
    }
    print(json.dumps(found))


def make_library(folder: Path, num_windows: int) -> str:
    """Random unit vectors; a third of the names say what sounds, a sixth where, a tenth how."""
    model = SoundLibrary.open(folder, model="compact").model
    rng = np.random.default_rng(0)
    words = random.Random(1)
    how, what, where = (each.split("|") for each in (HOW, WHAT, WHERE))
    path = folder / LIBRARY_FILE
    path.parent.mkdir()
    spans = np.array([(5.0 * i, 5.0 * i + 5.0) for i in range(WINDOWS_OF_A_CLIP)], np.float32)
    store = Store(path, write=True)
    try:
        stored = store.ensure_model(model.identity, model.name, model.dim, "compact")
        store.connection.execute("PRAGMA synchronous = OFF")
        for i in range(num_windows // WINDOWS_OF_A_CLIP):
            vectors = rng.normal(size=(WINDOWS_OF_A_CLIP, model.dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            parts = [(what, 1 / 3), (how, 1 / 10), (where, 1 / 6)]
            known = [words.choice(each) for each, share in parts if words.random() < share]
            name = f"{i % 40}/{' '.join([*known, f'take {i}'])}.wav"
            record = ClipRecord(
                path=name,
                size=1000,
                mtime_ns=10**18,
                content=i.to_bytes(16, "big"),
                duration=round(5.0 * WINDOWS_OF_A_CLIP - rng.uniform(0, 5), 2),
                sample_rate=44_100,
                channels=2,
                format="wav",
            )
            store.put_clip(record, stored.model_id, spans, vectors)
        refresh_background(store, model)  # as indexing does: results say how likely they are
    finally:
        store.close()
    return f"{model.name}@{model.identity[:6]} ({model.dim}-d)"


class serving:  # noqa: N801  (a context manager, read as a verb)
    """`wavtext serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", "from wavtext.cli import main; main()", "serve"]
        command += [str(folder), "--port", "0", "--rate", "1000000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = re.search(r"http://\S+:\d+", line)
        if address is None:
            raise SystemExit(f"the server did not start: {line}")
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address[0]}/healthz").read()
            except OSError:
                time.sleep(0.1)
            else:
                return address[0]
        raise SystemExit("the server does not answer")

    def cpu_seconds(self) -> float:
        """CPU that the server has used so far, of all its threads (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def queries(limit: int) -> list[str]:
    """Paths to ask for, shuffled; each query once."""
    texts = [
        " ".join(parts) for parts in itertools.product(*(e.split("|") for e in (HOW, WHAT, WHERE)))
    ]
    random.Random(2).shuffle(texts)
    return [f"/api/search?q={quote(text)}&limit={limit}" for text in texts]


def warm_up(address: str, paths: list[str]) -> None:
    """Load the model and the embeddings, let the server code them; these are not asked again."""
    for _ in range(50):
        urllib.request.urlopen(address + paths.pop()).read()
    time.sleep(4)  # codes are made in the background after COARSE_AFTER searches, in about a second


def asked(address: str) -> int:
    """Searches answered so far, by the server's own count."""
    text = urllib.request.urlopen(f"{address}/metrics").read().decode()
    pattern = r'wavtext_requests_total\{method="GET",route="/api/search",status="200"\} (\S+)'
    found = re.search(pattern, text)
    return int(float(found[1])) if found else 0


def with_wrk(
    address: str, paths: list[str], connections: int, seconds: int, scratch: Path
) -> dict[str, float]:
    """Wrk with one thread; its Lua script gives each request the next path."""
    (scratch / "paths.txt").write_text("\n".join(paths))
    (scratch / "paths.lua").write_text(
        f"""
local paths, place = {{}}, 0
for line in io.lines("{scratch}/paths.txt") do paths[#paths + 1] = line end
request = function()
  place = place + 1
  if place > #paths then wrk.thread:stop() end
  return wrk.format("GET", paths[place])
end
done = function(summary, latency, requests)
  io.write(string.format('JSON {{"requests": %d, "seconds": %.3f, "p50_ms": %.2f, "p90_ms": %.2f, '
    .. '"p99_ms": %.2f, "worst_ms": %.2f, "errors": %d}}\\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, summary.errors.status
    + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(scratch / "paths.lua"), address]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(output.split("JSON ")[1].splitlines()[0])
    return {"requests_per_second": round(found["requests"] / found["seconds"], 1), **found}


def with_asyncio(
    address: str, paths: list[str], connections: int, seconds: int, scratch: Path
) -> dict[str, float]:
    """Closed loops over kept-alive connections, in this process."""
    times: list[float] = []
    host, port = address.removeprefix("http://").split(":")

    async def loop(todo: "itertools.chain[str]", until: float) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < until:
            path = next(todo, None)
            if path is None:
                break
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise SystemExit(head.decode())
            size = int(re.search(rb"content-length: (\d+)", head)[1])
            await reader.readexactly(size)
            times.append(time.perf_counter() - began)
        writer.close()

    async def run() -> float:
        todo = itertools.chain(paths)
        began = time.perf_counter()
        await asyncio.gather(*(loop(todo, began + seconds) for _ in range(connections)))
        return time.perf_counter() - began

    elapsed = asyncio.run(run())
    p50, p90, p99 = np.percentile(times, [50, 90, 99]) * 1e3
    return {
        "requests_per_second": round(len(times) / elapsed, 1),
        "requests": len(times),
        "seconds": round(elapsed, 3),
        "p50_ms": round(p50, 2),
        "p90_ms": round(p90, 2),
        "p99_ms": round(p99, 2),
        "worst_ms": round(max(times) * 1e3, 2),
        "errors": 0,
    }


if __name__ == "__main__":
    main()
