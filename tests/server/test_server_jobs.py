"""Indexing from the page: progress as events, failures with reasons, one run at a time."""

import json
import threading


def headers(client):
    return {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}


def events(client, job_id):
    text = client.get(f"/api/library/jobs/{job_id}/events").text
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        yield lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_a_folder_that_is_not_indexed_yet_is_an_empty_library(make_client, fresh):
    client = make_client(fresh)
    library = client.get("/api/library").json()
    assert library["clips"] == 0
    assert library["folders"] == [{"folder": 0, "name": "fresh"}]
    assert client.get("/api/search?q=hum").json()["results"] == []
    for _ in range(50):
        if client.get("/api/map").status_code == 200:
            break
    assert client.get("/api/library/failures").json() == {"failures": []}


def test_indexing_reports_progress_and_failures_and_then_finds(make_client, fresh):
    client = make_client(fresh)
    started = client.post("/api/library/jobs", json={"folder": 0}, headers=headers(client))
    assert started.status_code == 201
    told = list(events(client, started.json()["job_id"]))
    kind, last = told[-1]
    assert kind == "end"
    assert last["state"] == "done"
    assert last["files_total"] == 6
    assert last["failed"] == 1
    assert last["failures"][0]["name"] == "broken.wav"
    assert last["failures"][0]["reason"]
    assert client.get("/api/search?q=hum").json()["results"][0]["path"].endswith("hum.wav")
    assert client.get("/api/library/failures").json()["failures"][0]["name"] == "broken.wav"
    assert client.get("/api/library").json()["job"]["state"] == "done"


def test_only_the_page_or_a_token_may_start_indexing(make_client, fresh):
    client = make_client(fresh)
    assert client.post("/api/library/jobs", json={"folder": 0}).status_code == 403
    answer = client.post("/api/library/jobs", json={"folder": 7}, headers=headers(client))
    assert answer.status_code == 404


def test_one_run_at_a_time_and_it_can_be_stopped(make_client, fresh, monkeypatch):
    client = make_client(fresh)
    services = client.app.state.services
    begun = threading.Event()
    real = services.jobs._index

    def slow(folder, progress, stop):
        begun.set()
        stop.wait(10)
        return real(folder, progress, stop)

    monkeypatch.setattr(services.jobs, "_index", slow)
    csrf = headers(client)
    job_id = client.post("/api/library/jobs", json={"folder": 0}, headers=csrf).json()["job_id"]
    assert begun.wait(5)
    again = client.post("/api/library/jobs", json={"folder": 0}, headers=csrf)
    assert again.status_code == 409
    assert client.delete(f"/api/library/jobs/{job_id}", headers=csrf).is_success
    assert list(events(client, job_id))[-1][1]["state"] == "stopped"
    assert client.get("/api/library/jobs/unknown").status_code == 404


def test_an_allowed_folder_is_added_and_searched_with_the_first(make_client, sounds, fresh):
    client = make_client(sounds, allowed_folders=(fresh,))
    before = client.get("/api/library").json()
    assert [folder["name"] for folder in before["folders"]] == [sounds.name, "fresh"]
    job = client.post("/api/library/jobs", json={"folder": 1}, headers=headers(client)).json()
    list(events(client, job["job_id"]))
    found = client.get("/api/search?q=hum&limit=2").json()["results"]
    assert {result["path"] for result in found} == {
        str(sounds / "machines" / "hum.wav"),
        str(fresh / "machines" / "hum.wav"),
    }
    for result in found:
        assert client.get(f"/api/clips/{result['clip_id']}/audio").is_success
    assert client.get("/api/library").json()["clips"] == 15
