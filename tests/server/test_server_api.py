"""What the API answers, on a small real library with a tiny model."""

import io
import json
import os
import subprocess
import time

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from wavtext.library.library import SoundLibrary
from wavtext.server.schemas import LibraryResponse

RATE = 16_000


def find(client, **params) -> list[str]:
    results = client.get("/api/search", params=params).json()["results"]
    return [result["path"].split("/")[-1] for result in results]


def scores(client, **params) -> dict[str, float]:
    results = client.get("/api/search", params=params).json()["results"]
    return {result["path"].split("/")[-1]: result["score"] for result in results}


def clip_id(client, name: str) -> int:
    services = client.app.state.services
    return next(clip.clip_id for clip in services.shelf.clips() if clip.path.name == name)


def wav(samples, rate=RATE, format="WAV") -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=format)
    return data.getvalue()


def tone(pitch: float, duration: float = 1.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * pitch * np.arange(int(duration * RATE)) / RATE)


def test_a_description_finds_its_sound(client):
    answer = client.get("/api/search", params={"q": "beep", "limit": 3})
    assert answer.status_code == 200
    found = answer.json()
    assert found["query"] == "beep"
    assert len(found["results"]) == 3
    assert set(find(client, q="beep", limit=2)) == {"beep.wav", "beep two.flac"}


def test_http_answers_what_python_and_the_command_line_answer(client, sounds, model, monkeypatch):
    over_http = client.get("/api/search", params={"q": "noise", "limit": 4}).json()["results"]
    with SoundLibrary.open(sounds, model=model) as library:
        in_python = [result.to_dict() for result in library.search("noise", limit=4, group=True)]
    assert [{k: v for k, v in each.items() if k != "rank"} for each in over_http] == in_python
    monkeypatch.setattr("wavtext.model.model.load_model", lambda name: model)
    from wavtext.cli.search import search

    printed = CliRunner().invoke(search, ["noise", str(sounds), "-n", "4", "--json"])
    assert [json.loads(line) for line in printed.output.splitlines()] == over_http


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20%20", "?limit=3", "?unlike=1"])
def test_asking_nothing_is_an_error_that_says_so(client, query):
    answer = client.get("/api/search" + query)
    assert answer.status_code == 422
    assert answer.json()["error"]["help"]


def test_an_unknown_parameter_is_an_error(client):
    answer = client.get("/api/search?q=hum&limt=3")
    assert answer.status_code == 422
    assert "limt" in answer.json()["error"]["message"]


def test_an_uploaded_sound_finds_its_like(client, csrf):
    files = {"file": ("whatever/../name.wav", wav(tone(1_500)))}
    answer = client.post("/api/search", files=files, data={"limit": "2"}, headers=csrf)
    assert answer.status_code == 200
    found = answer.json()
    names = {result["path"].split("/")[-1] for result in found["results"]}
    assert names == {"beep.wav", "beep two.flac"}
    assert found["upload_duration"] == pytest.approx(1.0)
    again = find(client, like=found["upload_id"], limit=2)
    assert set(again) == names


def test_an_upload_takes_the_filters_that_a_search_by_text_takes(client, csrf):
    files = {"file": ("beep.wav", wav(tone(1_500)))}
    answer = client.post("/api/search?format=flac&limit=9", files=files, headers=csrf)
    assert [each["path"].split("/")[-1] for each in answer.json()["results"]] == ["beep two.flac"]
    beside = {"limit": "1", "q": "hum"}  # what the form says goes before the address
    answer = client.post("/api/search?limit=9&q=beep", files=files, data=beside, headers=csrf)
    assert len(answer.json()["results"]) == 1
    assert answer.json()["query"] == "hum"
    known = answer.json()["upload_id"]
    answer = client.post(f"/api/search?like={known}&without=hiss", files=files, headers=csrf)
    assert answer.json()["like"][0] == known
    assert len(answer.json()["like"]) == 2
    answer = client.post("/api/search?fromat=flac", files=files, headers=csrf)
    assert answer.status_code == 422
    assert "fromat" in answer.json()["error"]["message"]


def test_an_upload_that_is_no_longer_kept_says_so(client):
    answer = client.get("/api/search?like=upload-gone")
    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "gone"


@pytest.mark.parametrize("sound", ["x", "1.5", "-1", "٣", "/etc/passwd", "9" * 30])
def test_a_sound_is_named_by_an_id_and_nothing_else(client, sound):
    answer = client.get("/api/search", params={"like": sound})
    assert answer.status_code == 422


def test_more_like_this_finds_the_neighbour(client):
    beep = clip_id(client, "beep.wav")
    assert find(client, like=beep, limit=1) == ["beep two.flac"]
    ungrouped = {"like": beep, "group": False}  # noise and hiss sound the same
    both, alone = scores(client, q="noise", **ungrouped), scores(client, **ungrouped)
    assert (
        both["noise.ogg"] - alone["noise.ogg"]
        > 0.2
        > both["beep two.flac"] - alone["beep two.flac"]
    )
    away = scores(client, q="beep", unlike=[clip_id(client, "hum.wav")])
    assert away["hum.wav"] < scores(client, q="beep")["hum.wav"]


def test_without_and_filters_narrow_the_search(client):
    assert "hum.wav" not in find(client, q="hum", folder="nature")
    assert set(find(client, q="hum", format="flac")) == {"beep two.flac"}
    assert set(find(client, q="hum", min_duration=5)) == {"long & “odd” name.wav"}
    assert find(client, q="hum", min_sample_rate=48_000) == []
    assert scores(client, q="beep", without="hum")["hum.wav"] < scores(client, q="beep")["hum.wav"]


def test_a_search_explains_itself_along_time(client):
    params = {"q": "noise", "explain": True}
    found = client.get("/api/search", params=params).json()["results"]
    long = next(result for result in found if result["duration"] > 8)
    assert len(long["heat"]) >= 9
    best = max(long["heat"], key=lambda window: window["score"])
    assert 3 <= best["start"] < 6


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"not a sound at all", "sound"),
        (wav(np.zeros(RATE)), "silent"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\0" * 40, "sound"),
    ],
)
def test_uploads_that_are_no_sounds_are_refused_with_a_reason(client, csrf, body, words):
    answer = client.post("/api/search", files={"file": ("a.wav", body)}, headers=csrf)
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert words in message
    assert "/tmp" not in answer.text


def test_an_upload_that_lasts_too_long_is_refused(make_client):
    client = make_client(max_upload_duration=2.0)
    answer = client.post("/api/search", files={"file": ("a.wav", wav(tone(440, 3.0)))})
    assert answer.status_code == 422
    assert "longer than 2 s" in answer.json()["error"]["message"]


def test_a_clip_s_facts_and_outline(client):
    clip = clip_id(client, "long & “odd” name.wav")
    facts = client.get(f"/api/clips/{clip}").json()
    assert facts["name"] == "long & “odd” name.wav"
    assert facts["folder"] == "nature"
    assert facts["duration"] == pytest.approx(9.0)
    outline = client.get(f"/api/clips/{clip}/waveform?bins=90").json()
    peaks = np.array(outline["peaks"]).reshape(90, 2)
    assert outline["duration"] == pytest.approx(9.0, abs=0.01)
    assert (peaks[:, 0] <= peaks[:, 1]).all()
    assert peaks[45:55].max() > 40  # the noise in the middle is loud
    assert abs(peaks).max() <= 127


def test_the_outline_of_a_step_is_where_the_step_is(make_client, tmp_path, model):
    samples = np.zeros(4 * RATE, np.float32)
    samples[2 * RATE :] = tone(200, 2.0)
    soundfile.write(tmp_path / "step.wav", samples, RATE)
    client = make_client(tmp_path)
    client.app.state.services.shelf.libraries[0].index(workers=1)
    peaks = client.get("/api/clips/1/waveform?bins=40").json()["peaks"]
    highs = np.array(peaks).reshape(40, 2)[:, 1]
    assert highs[:19].max() <= 2
    assert highs[21:].min() >= 45


def test_sounds_are_served_whole_and_in_ranges(client, sounds):
    clip = clip_id(client, "hum.wav")
    data = (sounds / "machines" / "hum.wav").read_bytes()
    whole = client.get(f"/api/clips/{clip}/audio")
    assert whole.content == data
    assert whole.headers["content-type"] == "audio/wav"
    part = client.get(f"/api/clips/{clip}/audio", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == data[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    beyond = client.get(f"/api/clips/{clip}/audio", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    head = client.head(f"/api/clips/{clip}/audio")
    assert head.headers["content-length"] == str(len(data))
    assert not head.content


def test_what_no_browser_plays_comes_as_flac(client):
    clip = clip_id(client, "chirp.aiff")
    answer = client.get(f"/api/clips/{clip}/audio")
    assert answer.headers["content-type"] == "audio/flac"
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == RATE
    assert len(samples) == pytest.approx(3 * RATE, abs=16)
    original = client.get(f"/api/clips/{clip}/audio?original=true")
    assert original.content.startswith(b"FORM")
    assert "chirp.aiff" in original.headers["content-disposition"]


def test_a_part_of_a_sound_comes_as_wav(client):
    clip = clip_id(client, "long & “odd” name.wav")
    answer = client.get(f"/api/clips/{clip}/audio?start=3.0&end=4.5")
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert len(samples) == 1.5 * rate
    assert np.std(samples) > 0.05  # the noise
    assert "attachment" in answer.headers["content-disposition"]
    for wrong in ("start=5&end=4", "start=0&end=9999", "start=-1&end=2", "start=nan&end=2"):
        assert client.get(f"/api/clips/{clip}/audio?{wrong}").status_code == 422
    assert client.get(f"/api/clips/{clip}/audio?start=100&end=101").status_code == 422


def test_a_cut_keeps_channels_and_bit_depth(make_client, tmp_path):
    stereo = np.stack([tone(300, 2.0), tone(900, 2.0)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, RATE, subtype="PCM_24")
    client = make_client(tmp_path)
    client.app.state.services.shelf.libraries[0].index(workers=1)
    answer = client.get("/api/clips/1/audio?start=0.5&end=1.5")
    info = soundfile.info(io.BytesIO(answer.content))
    assert (info.channels, info.subtype, info.frames) == (2, "PCM_24", RATE)


def test_a_part_of_a_compressed_sound_is_the_part_asked_for(client, sounds):
    clip = clip_id(client, "whistle.ogg")
    answer = client.get(f"/api/clips/{clip}/audio?start=0.5&end=1.25")
    part, rate = soundfile.read(io.BytesIO(answer.content))
    whole, _ = soundfile.read(sounds / "nature" / "whistle.ogg")
    assert len(part) == 0.75 * rate
    assert np.abs(part - whole[rate // 2 : rate // 2 + len(part)]).max() < 1e-3


def test_texts_and_sounds_are_embedded_in_one_space(client, csrf, model):
    texts = client.post("/api/embed/text", json={"texts": ["beep", "hum"]}, headers=csrf).json()
    assert texts["dim"] == model.dim
    assert texts["identity"] == model.identity
    text = np.array(texts["embeddings"])
    assert np.linalg.norm(text, axis=1) == pytest.approx([1, 1])
    sound = client.post(
        "/api/embed/audio",
        files={"file": ("a.flac", wav(tone(1_500, 2.5), format="FLAC"))},
        headers=csrf,
    ).json()
    assert len(sound["windows"]) >= 2
    scores = text @ np.array(sound["embedding"])
    assert scores[0] > scores[1]


@pytest.mark.parametrize("body", [{}, {"texts": []}, {"texts": [" "]}, {"texts": ["a"] * 257}, []])
def test_texts_that_cannot_be_embedded_are_refused(client, csrf, body):
    assert client.post("/api/embed/text", json=body, headers=csrf).status_code == 422


def test_a_sound_is_classified_among_the_labels_given(client, csrf):
    files = {"file": ("a.wav", wav(tone(110)))}
    data = {"labels": "beep, hum, noise, hum"}
    found = client.post("/api/classify", files=files, data=data, headers=csrf).json()
    assert found["labels"][0]["label"] == "hum"
    assert len(found["labels"]) == 3
    assert sum(label["probability"] for label in found["labels"]) == pytest.approx(1, abs=1e-3)
    none = client.post("/api/classify", files=files, data={"labels": " , "}, headers=csrf)
    assert none.status_code == 422


def test_the_library_says_what_it_holds(client):
    library = client.get("/api/library").json()
    assert library["clips"] == 10
    assert library["windows"] > 20
    assert library["facets"]["folders"] == ["machines", "nature"]
    assert "wav" in library["facets"]["formats"]


def test_the_map_holds_every_clip_and_keeps_neighbours_together(client):
    for _ in range(100):
        answer = client.get("/api/map")
        if answer.status_code == 200:
            break
        assert answer.json()["state"] == "computing"
        time.sleep(0.05)
    found = answer.json()
    assert len(found["clip_ids"]) == len(found["x"]) == len(found["y"]) == 10
    assert sorted(found["groups"]) == ["machines", "nature"]


def test_metrics_count_by_route_and_not_by_id(client):
    client.get("/api/clips/1")
    client.get("/api/clips/2")
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    assert 'route="/api/clips/{clip_id}"' in text
    assert "/api/clips/2" not in text
    assert "nowhere" not in text


def test_the_openapi_document_names_every_endpoint(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    for path in (
        "/api/search",
        "/api/clips/{clip_id}",
        "/api/clips/{clip_id}/audio",
        "/api/clips/{clip_id}/waveform",
        "/api/map",
        "/api/embed/text",
        "/api/embed/audio",
        "/api/classify",
        "/api/library",
        "/healthz",
        "/metrics",
    ):
        assert path in paths
    assert {"get", "post"} <= set(paths["/api/search"])


@pytest.mark.parametrize("asked", ["bytes=abc", "bytes=99999999-", "bytes=0-9", ""])
def test_no_cut_is_left_behind_whatever_range_was_asked(make_client, asked):
    client = make_client()
    place = client.app.state.services.media._folder
    headers = {"Range": asked} if asked else {}
    clip = client.get("/api/search?q=hum&limit=1").json()["results"][0]["clip_id"]
    client.get(f"/api/clips/{clip}/audio?start=0.5&end=1.5", headers=headers)
    assert not list(place.rglob("*.wav"))


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
def test_a_day_out_of_range_is_the_caller_s_mistake(client, day):
    answer = client.get(f"/api/search?q=hum&after={day}")
    assert answer.status_code == 422
    assert "no date" in answer.json()["error"]["message"]


def test_what_the_library_says_of_itself_is_documented(client):
    assert set(client.get("/api/library").json()) == set(LibraryResponse.model_fields)


def test_what_a_killed_server_left_behind_is_deleted(make_client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f"wavtext-media-{dead.pid}-x").mkdir()
    (tmp_path / f"wavtext-media-{os.getpid()}-x").mkdir()
    make_client()
    left = {path.name for path in tmp_path.glob("wavtext-media-*")}
    assert f"wavtext-media-{dead.pid}-x" not in left
    assert f"wavtext-media-{os.getpid()}-x" in left
