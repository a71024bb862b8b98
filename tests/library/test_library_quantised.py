"""Large libraries: derived files find what exact search finds, never a wrong result."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.errors import LibraryError
from wavtext.library import quantised, reader, upkeep
from wavtext.library.codes import build_codes, codes_folder, open_codes
from wavtext.library.filters import Filters
from wavtext.library.library import SoundLibrary
from wavtext.library.records import ClipRecord
from wavtext.library.store import Store

DIM = 64
NUM = 1000  # clips


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forty windows count as many."""
    for module in (upkeep, quantised, reader):
        monkeypatch.setattr(module, "EXACT_UP_TO", 40)


def clustered(count: int, seed: int) -> np.ndarray:
    """(count, DIM) directions in clusters around a common mean, as audio embeddings lie."""
    generator = np.random.default_rng(seed)
    spectrum = 1 / np.sqrt(1 + np.arange(DIM))
    centres = generator.standard_normal((count // 20 + 1, DIM))
    points = centres[generator.integers(0, len(centres), count)]
    points = (points + 0.7 * generator.standard_normal((count, DIM))) * spectrum + 0.1
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def text_like(count: int, seed: int) -> np.ndarray:
    """(count, DIM) directions that lie off the audio distribution, as text embeddings do."""
    shift = np.random.default_rng(99).standard_normal(DIM) * 0.3
    points = clustered(count, seed) + shift
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """3,000 windows in 1,000 clips."""
    path = tmp_path / "sounds" / ".wavtext" / "library.sqlite"
    path.parent.mkdir(parents=True)
    store = Store(path, write=True)
    store.connection.execute("PRAGMA synchronous = OFF")
    model = store.ensure_model("big-1", "big", DIM, "big")
    vectors = clustered(3 * NUM, 1)
    spans = np.array([[0, 2], [2, 4], [4, 6]], np.float32)
    for i in range(NUM):
        put(store, i, vectors[3 * i : 3 * i + 3], spans, model.model_id)
    return store


def put(store: Store, i: int, vectors: np.ndarray, spans: np.ndarray, model_id: int = 1) -> int:
    record = ClipRecord(
        path=f"{i}.wav",
        size=1,
        mtime_ns=1,
        content=i.to_bytes(16, "big"),
        duration=6.0 + i,
        sample_rate=8000,
        channels=1,
        format="WAV",
    )
    return store.put_clip(record, model_id, spans, vectors)


class Fixed(StubModel):
    """Embeds the text "7" as the eighth query."""

    def __init__(self) -> None:
        super().__init__("big-1", DIM, "big")
        self.queries = text_like(60, 2)

    def embed_text(self, texts):
        return np.stack([self.queries[int(text)] for text in texts])


def found(library: SoundLibrary, query: int, **options) -> list[tuple[str, float]]:
    results = library.search(str(query), names=False, **options)
    return [(result.path.name, round(result.score, 5)) for result in results]


def test_codes_find_what_exact_search_finds_for_queries_off_the_distribution(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "CANDIDATES", 300)
    folder = store.path.parents[1]
    exact = SoundLibrary.open(folder, model=Fixed())
    expected = [found(exact, query) for query in range(60)]
    assert not codes_folder(store.path).exists()
    build_codes(store, store.active_model())
    library = SoundLibrary.open(folder, model=Fixed())
    assert isinstance(library._reader.index(), quantised.QuantisedIndex)
    hits = 0
    for query, right in enumerate(expected):
        best = found(library, query)
        hits += len({*best} & {*right})  # the same clips with the very same scores
        assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    assert hits >= 0.98 * 600


def test_what_was_written_or_removed_since_is_searched_too(store: Store) -> None:
    build_codes(store, store.active_model())
    library = SoundLibrary.open(store.path.parents[1], model=Fixed())
    first, second = found(library, 5, limit=2)
    query = Fixed().queries[5]
    spans = np.array([[0, 2]], np.float32)
    put(store, 9999, query[None], spans)
    assert found(library, 5, limit=1)[0] == ("9999.wav", pytest.approx(1.0, abs=1e-3))
    put(store, 9999, -query[None], spans)  # changed
    assert found(library, 5, limit=1) == [first]
    best = next(clip for clip in library.clips() if clip.path.name == first[0])
    store.remove_clips([best.clip_id])
    assert found(library, 5, limit=1) == [second]


def test_filters_are_obeyed_however_few_clips_pass(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_codes(store, store.active_model())
    library = SoundLibrary.open(store.path.parents[1], model=Fixed())
    few = Filters(min_duration=100.0, max_duration=112.0)
    one_by_one = found(library, 3, limit=20, filters=few)
    assert {name for name, _ in one_by_one} == {f"{i}.wav" for i in range(94, 107)}
    monkeypatch.setattr(quantised, "SPARSE", 0)
    monkeypatch.setattr(quantised, "CANDIDATES", 10)
    assert {*found(library, 3, limit=20, filters=few)} == {*one_by_one}


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "manifest", "other library"])
def test_damaged_codes_are_not_used(store: Store, damage: str) -> None:
    build_codes(store, store.active_model())
    right = found(SoundLibrary.open(store.path.parents[1], model=Fixed()), 1)
    place = codes_folder(store.path)
    (folder,) = [each for each in place.iterdir() if each.is_dir()]
    if damage == "missing":
        (folder / "counts.npy").unlink()
    elif damage == "truncated":
        content = (folder / "vectors.u4").read_bytes()
        (folder / "vectors.u4").write_bytes(content[:-100])
    elif damage == "garbage":
        content = bytearray((folder / "product.faiss").read_bytes())
        content[len(content) // 2] ^= 255
        (folder / "product.faiss").write_bytes(content)
    elif damage == "manifest":
        (place / "current.json").write_text("{")
    else:
        store.set_meta(codes="those of a restored backup")
    assert open_codes(store, store.active_model()) is None
    library = SoundLibrary.open(store.path.parents[1], model=Fixed())
    assert found(library, 1) == right


def test_a_damaged_vector_can_lose_a_result_but_not_change_its_score(store: Store) -> None:
    right = dict(found(SoundLibrary.open(store.path.parents[1], model=Fixed()), 1, limit=200))
    build_codes(store, store.active_model())
    path = next(codes_folder(store.path).glob("*/vectors.u4"))
    content = bytearray(path.read_bytes())
    content[1000:9000] = b"\x7f" * 8000
    path.write_bytes(content)
    library = SoundLibrary.open(store.path.parents[1], model=Fixed())
    for name, score in found(library, 1, limit=10):
        assert right.get(name, score) == score


@pytest.mark.usefixtures("small")
def test_indexing_makes_renews_and_drops_the_codes(
    write_sound: Write, tmp_path: Path, model: StubModel
) -> None:
    for i in range(50):
        write_sound(f"hum{i}.wav", "hum", duration=0.2, seed=i)
    library = SoundLibrary.open(tmp_path / "sounds", model=model)
    library.index()
    current = codes_folder(library.path) / "current.json"
    made = json.loads(current.read_text())["token"]
    write_sound("hiss1.wav", "hiss")
    library.index()
    assert json.loads(current.read_text())["token"] == made
    assert library.search("hiss", limit=1)[0].path.name == "hiss1.wav"
    for i in range(10):
        write_sound(f"hiss{i}.wav", "hiss", seed=i)
    library.index()
    assert json.loads(current.read_text())["token"] != made
    assert len([each for each in current.parent.iterdir() if each.is_dir()]) == 1
    for i in range(30):
        (tmp_path / "sounds" / f"hum{i}.wav").unlink()
    library.index()
    assert not current.exists()
    assert len(library.search("hum", limit=99)) == 30


@pytest.mark.usefixtures("small")
def test_missing_codes_are_made_in_the_background(store: Store) -> None:
    library = SoundLibrary.open(store.path.parents[1], model=Fixed())
    right = found(library, 1)
    deadline = time.monotonic() + 30
    while not (codes_folder(store.path) / "current.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert found(library, 1)[:5] == right[:5]
    assert isinstance(library._reader.index(), quantised.QuantisedIndex)


def test_a_disk_that_fills_while_codes_are_made_is_said_in_one_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    model = store.active_model()
    assert model is not None
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(LibraryError, match=r"No space left on device\. The library is whole"):
        build_codes(store, model)
    assert not [path for path in codes_folder(store.path).iterdir() if path.is_dir()]
