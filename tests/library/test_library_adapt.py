"""A library learns what its clips are called: kept only when held-out names profit, and undone."""

import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from stub_model import StubModel

from wavtext.errors import DamagedLibraryError, LibraryError
from wavtext.library.adapt import learn as learning
from wavtext.library.adapt.learn import MAX_CLIPS, MAX_NAMES, learn
from wavtext.library.adapt.measure import Material, change, folds
from wavtext.library.adapt.residual import Adaptation, Names, Setting
from wavtext.library.adapt.vocabulary import clip_text, read_vocabulary
from wavtext.library.library import SoundLibrary
from wavtext.library.notes import Notes
from wavtext.library.records import ClipRecord
from wavtext.library.relevance import background_captions, background_key
from wavtext.library.store import Store
from wavtext.model.captions import CAPTION_BANK, read_captions

DIM = 48
NOUNS = ("zorb", "quonk", "flim", "drabba", "mirpe", "skoob", "tovick", "wemlo")  # a private tongue
KINDS = ("soft", "hard", "near", "far", "wet", "dry", "old", "young", "big", "small")


class WordModel(StubModel):
    """Every word is a random direction, which has nothing to do with how it sounds."""

    def __init__(self) -> None:
        super().__init__(identity="words-1", dim=DIM, name="words")
        self.background = np.random.default_rng(1).standard_normal(DIM)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        rows = [
            0.5 * self.background + sum(direction("text", word) for word in text.lower().split())
            for text in texts
        ]
        return lengthened(np.array(rows))


@cache
def direction(kind: str, word: str) -> np.ndarray:
    return np.random.default_rng(crc32(f"{kind} {word}".encode())).standard_normal(DIM)


def lengthened(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def collection(takes: int = 3) -> tuple[list[str], np.ndarray]:
    """Paths of NOUN_KIND_TAKE and their sounds: what the words stand for, and some noise."""
    rng = np.random.default_rng(0)
    names = [*product(NOUNS, KINDS, range(takes))]
    paths = [f"box/{noun}_{kind}_{take:02d}.wav" for noun, kind, take in names]
    sounds = [
        2 * direction("sound", noun) + direction("sound", kind) + rng.standard_normal(DIM)
        for noun, kind, _ in names
    ]
    return paths, lengthened(np.array(sounds))


def no_notes(_: int) -> Notes:
    return Notes()


def test_held_out_names_of_a_private_vocabulary_are_found_better() -> None:
    adaptation, report = learn(*_with_notes(*collection()), WordModel())
    assert adaptation is not None
    assert report.better
    assert report.names == len(NOUNS) * len(KINDS)
    assert report.recall.before < 0.3
    assert report.recall.after > 0.7
    assert report.precision.low > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_names_are_refused(seed: int) -> None:
    paths, sounds = collection()
    order = np.random.default_rng(seed).permutation(len(paths))
    adaptation, report = learn(*_with_notes([paths[i] for i in order], sounds), WordModel())
    assert adaptation is None
    assert not report.better
    assert "not found clearly better" in report.reason


def test_a_correction_that_moves_general_queries_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Material, "calm", lambda self, residuals, strength: False)
    adaptation, report = learn(*_with_notes(*collection()), WordModel())
    assert adaptation is None
    assert report.setting is None

    monkeypatch.undo()
    monkeypatch.setattr(Material, "variety", lambda self, residuals, strength: 0.1)
    adaptation, report = learn(*_with_notes(*collection()), WordModel())
    assert adaptation is None
    assert "would all find the same sounds" in report.reason


def test_a_query_far_from_all_names_stays_where_it_is() -> None:
    model = WordModel()
    adaptation, _ = learn(*_with_notes(*collection()), model)
    assert adaptation is not None
    texts = ["zorb wet", "entirely unrelated matters"]
    before = model.embed_text(texts)
    cosine = np.sum(adaptation(texts, before) * before, axis=1)
    assert cosine[0] < 0.9 < 0.97 < cosine[1]


def test_too_few_names_are_an_error() -> None:
    paths, sounds = collection()
    with pytest.raises(LibraryError, match="only 10 different names in 30 sounds"):
        learn(*_with_notes(paths[:30], sounds[:30]), WordModel())


def test_names_that_say_nothing_are_dropped_and_counted() -> None:
    paths = ["REC0001.wav", "a/Track 03.wav", "7F2A-BC.wav", "zoom_0012.wav", "Crow_04.wav"]
    vocabulary = read_vocabulary(paths, no_notes, np.eye(5, dtype=np.float32), "names")
    assert vocabulary.texts == ("crow",)
    assert vocabulary.dropped == 4


@pytest.mark.parametrize(
    ("source", "path", "notes", "text"),
    [
        ("auto", "DOORWood_Kitchen Slam_AB_HOME.wav", Notes(), "kitchen slam wood doors"),
        ("auto", "x/REC01.wav", Notes(captions=("A Raven calls",)), "a raven calls"),
        ("auto", "x/REC01.wav", Notes(tags=("raven", "night")), "raven, night"),
        ("auto", "Ravens/day 1/REC01.wav", Notes(), "day"),
        ("tags", "crow.wav", Notes(tags=("raven",)), "raven"),
        ("folders", "Ravens/crow.wav", Notes(), "ravens"),
        ("names", "Ravens/01.wav", Notes(captions=("raven",)), ""),
        ("names", "каркает ворона.wav", Notes(), "каркает ворона"),
    ],
)
def test_a_clip_is_called_by_what_says_something(
    source: str, path: str, notes: Notes, text: str
) -> None:
    assert clip_text(path, lambda: notes, source) == text  # pyright: ignore[reportArgumentType]


def test_takes_copies_and_the_same_words_are_never_on_both_sides() -> None:
    paths = ["a/door open 1.wav", "b/Door_Open-02.wav", "open doors.wav", "gate.wav", "other.wav"]
    sounds = np.eye(5, dtype=np.float32)
    sounds[4] = sounds[3]  # a copy under another name
    vocabulary = read_vocabulary(paths, no_notes, sounds, "names")
    family = dict(zip(vocabulary.texts, vocabulary.family, strict=True))
    assert family["door open"] == family["open doors"]
    assert family["gate"] == family["other"]
    assert vocabulary.num_families == 2
    for train, test in folds(vocabulary.family, 2, np.random.default_rng(0)):
        assert not set(vocabulary.family[train]) & set(vocabulary.family[test])


def test_an_interval_of_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(400)
    found = change(before, before + 0.01, np.arange(400), rng)
    assert found.low == pytest.approx(0.01)
    assert found.high == pytest.approx(0.01)


def test_average_precision_agrees_with_counting_by_hand() -> None:
    clips = lengthened(np.array([[1, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]], np.float32))
    names = Names(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    places = np.array([0, -1, 0, 1])
    material = Material(names, np.arange(2), clips, places, ["c"], names.embeddings[:1])
    found = material.top_ten(material.base, np.arange(2))
    np.testing.assert_allclose(found, [[1, (1 / 1 + 2 / 3) / 2], [1, 1]])


def test_the_cosine_of_a_moved_caption_is_that_of_the_moved_vector() -> None:
    rng = np.random.default_rng(0)
    captions, residuals = lengthened(rng.standard_normal((9, 6))), rng.standard_normal((9, 6))
    names = Names(("a",), captions[:1], np.zeros(6, np.float32))
    material = Material(names, np.zeros(1), captions, np.zeros(9, int), ["c"] * 9, captions)
    moved = lengthened(captions + 2 * residuals)
    np.testing.assert_allclose(
        material.cosines(residuals, 2.0), np.sum(moved * captions, axis=1), atol=1e-5
    )


def test_of_equal_scores_the_irrelevant_clip_ranks_first() -> None:
    clips = np.ones((12, 2), np.float32) / np.sqrt(2).astype(np.float32)
    names = Names(("a",), np.eye(2, dtype=np.float32)[:1], np.zeros(2, np.float32))
    places = np.array([0] + [-1] * 11)
    material = Material(names, np.arange(1), clips, places, ["c"], names.embeddings)
    assert material.top_ten(material.base, np.arange(1))[0, 0] == 0


def expected_operations(names: float, clips: float, dim: float, captions: float) -> float:
    """Multiplications of solving, and of scoring clips and captions, by the folds' sizes."""
    pairs = len({(each.ridge, each.words) for each in learning.SETTINGS})
    outer = names * (1 - 1 / learning.OUTER)
    inner = outer * (1 - 1 / learning.INNER)

    def fit(train: float, test: float) -> float:
        kernels = (test + captions) * train * dim
        return 2 / 3 * train**3 + kernels + test * dim * clips

    nested = learning.INNER * pairs * fit(inner, outer / learning.INNER)
    held_out = (1 + pairs) * fit(outer, names / learning.OUTER)
    return (
        learning.OUTER * (nested + held_out) + fit(names, 0) + (names + 2 * captions) * dim * clips
    )


def test_the_work_is_bounded_whatever_the_library_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "MAX_NAMES", 60)
    monkeypatch.setattr(learning, "MAX_CLIPS", 150)
    few, many = (
        learn(*_with_notes(*collection(takes)), WordModel())[1].operations for takes in (3, 30)
    )
    assert many < 1.05 * few
    captions = len(read_captions(CAPTION_BANK))
    assert few == pytest.approx(expected_operations(60, 150, DIM, captions), rel=0.1)
    # At full size: below two minutes at 10^10 multiplications a second.
    assert expected_operations(MAX_NAMES, MAX_CLIPS, 512, captions) < 120 * 1e10


def test_an_adaptation_comes_back_from_its_bytes() -> None:
    model = WordModel()
    adaptation, _ = learn(*_with_notes(*collection()), model)
    assert adaptation is not None
    read = Adaptation.from_bytes(adaptation.to_bytes())
    texts = ["zorb wet", "soft"]
    embeddings = model.embed_text(texts)
    np.testing.assert_allclose(read(texts, embeddings), adaptation(texts, embeddings), atol=2e-3)
    assert read.setting == adaptation.setting
    assert read.report["names"] == 80


def test_damaged_bytes_are_an_error_that_says_what_to_do() -> None:
    names = Names(("a",), np.eye(2, dtype=np.float32)[:1], np.zeros(2, np.float32))
    setting = Setting(ridge=1, strength=1, words=0.3)
    content = bytearray(Adaptation(names, names.embeddings, setting, "m", {}).to_bytes())
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(DamagedLibraryError, match="wavtext adapt --undo"):
        Adaptation.from_bytes(bytes(content), "x")
    with pytest.raises(DamagedLibraryError):
        Adaptation.from_bytes(b"")


# In a library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of the collection, its embeddings written without decoding any sound."""
    folder, model = tmp_path / "sounds", WordModel()
    (folder / ".wavtext").mkdir(parents=True)
    paths, sounds = collection()
    store = Store(folder / ".wavtext" / "library.sqlite", write=True)
    stored = store.ensure_model(model.identity, model.name, model.dim, "words")
    for i, (path, sound) in enumerate(zip(paths, sounds, strict=True)):
        record = ClipRecord(
            path=path, size=i, mtime_ns=i, content=i.to_bytes(16, "big"), duration=1.0,
            sample_rate=8000, channels=1, format="WAV",
        )  # fmt: skip
        span = np.array([[0, 1]], np.float32)
        store.put_clip(record, stored.model_id, span, sound[None])
    captions = model.embed_text(list(background_captions()))
    store.set_meta(
        background=captions.astype(np.float16).tobytes(),
        background_key=background_key(model.identity),
    )
    store.close()
    return folder


def found(library: SoundLibrary, text: str = "quonk wet", **options: object) -> list[object]:
    return [each.to_dict() for each in library.search(text, names=False, **options)]  # pyright: ignore


def test_undo_gives_back_the_same_results_bit_for_bit(folder: Path) -> None:
    with SoundLibrary.open(folder, model=WordModel()) as library:
        plain, vectors = found(library), library.embeddings()[1]
        assert library.adapt().saved
        assert library.stats().adapted
        learned = found(library)
        assert learned != plain
        assert found(library, adapted=False) == plain
        np.testing.assert_array_equal(library.embeddings()[1], vectors)
        assert library.undo_adapt()
        assert found(library) == plain
        assert not library.stats().adapted
        assert not library.undo_adapt()


def test_an_open_library_follows_what_another_process_learns(folder: Path) -> None:
    with SoundLibrary.open(folder, model=WordModel()) as reader:
        plain = found(reader)
        with SoundLibrary.open(folder, model=WordModel()) as writer:
            writer.adapt()
        learned = found(reader)
        assert learned != plain
    with SoundLibrary.open(folder, model=WordModel()) as reader:
        assert found(reader) == learned


def test_what_is_not_wanted_is_adapted_too(folder: Path) -> None:
    with SoundLibrary.open(folder, model=WordModel()) as library:
        library.adapt()
        kept = library.search("zorb", without="wet", names=False, limit=15)
        assert all("_wet_" not in each.path.name for each in kept)


def test_a_dry_run_and_a_refusal_change_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SoundLibrary.open(folder, model=WordModel()) as library:
        file = library.path.read_bytes()
        report = library.adapt(dry_run=True)
        assert report.better
        assert not report.saved
        monkeypatch.setattr(learning, "_why_not", lambda *_: "a reason")
        assert library.adapt().reason == "a reason"
        assert library.path.read_bytes() == file


def test_another_model_does_not_use_what_this_one_learned(folder: Path) -> None:
    with SoundLibrary.open(folder, model=WordModel()) as library:
        library.adapt()
    store = Store(folder / ".wavtext" / "library.sqlite", write=True)
    other = store.ensure_model("words-2", "words", DIM, "words")
    store.activate(other.model_id)
    store.close()
    with SoundLibrary.open(folder) as library:
        assert not library.stats().adapted


def test_relevance_is_not_lifted_by_the_correction_alone(folder: Path) -> None:
    """The general captions move with the queries, so that a wrong clip stays improbable."""
    with SoundLibrary.open(folder, model=WordModel()) as library:
        library.adapt()
        results = library.search("quonk wet", names=False, limit=240)
        wrong = [each.relevance for each in results if "quonk" not in each.path.name]
        right = [each.relevance for each in results if "quonk_wet" in each.path.name]
        assert np.mean(wrong) < 0.1 * np.mean(right)  # pyright: ignore


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, command: Run) -> Run:
    monkeypatch.setattr("wavtext.model.model.load_model", lambda name="compact": WordModel())
    return command


def test_adapt_prints_before_and_after_and_undo_takes_it_back(run: Run, folder: Path) -> None:
    status, out, err = run("adapt", folder, "--dry-run")
    assert (status, err) == (0, "")
    assert "80 names of 240 sounds; 0 sounds have a name that says nothing." in out
    assert "A dry run: nothing was changed." in out
    plain = run("search", "quonk wet", folder, "--no-names", "--json")
    assert f"wavtext adapt {folder} --undo" in run("adapt", folder)[1]
    assert "Searches know its names" in run("library", "stats", folder)[1]
    assert run("search", "quonk wet", folder, "--no-names", "--json") != plain
    assert run("search", "quonk wet", folder, "--no-names", "--json", "--no-adapt") == plain
    assert run("adapt", folder, "--undo") == (0, "Searches are as before.\n", "")
    assert run("search", "quonk wet", folder, "--no-names", "--json") == plain
    assert run("adapt", folder, "--undo")[1] == "Nothing had been learned.\n"


def test_a_refusal_is_one_line_and_exit_status_1(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_why_not", lambda *_: "a reason")
    status, out, err = run("adapt", folder, "--json")
    assert status == 1
    assert err == "Not adapted: a reason. Nothing was changed.\n"
    assert json.loads(out)["better"] is False


def _with_notes(
    paths: list[str], sounds: np.ndarray
) -> tuple[list[str], Callable[[int], Notes], np.ndarray]:
    return paths, no_notes, sounds
