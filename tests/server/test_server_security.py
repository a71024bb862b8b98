"""Who may ask: hosts, origins, tokens, cookies, CSRF, rates, bodies, and what never comes out."""

import logging
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from wavtext.errors import ServerError
from wavtext.server.guard import host_name
from wavtext.server.limits import RateLimiter
from wavtext.server.sessions import Sessions
from wavtext.server.settings import ServerSettings

TOKEN = "a-token-of-some-length"


def test_another_address_needs_a_token_or_an_explicit_insecure():
    with pytest.raises(ServerError, match="no token is set"):
        ServerSettings(host="0.0.0.0")
    assert ServerSettings(host="0.0.0.0", token=TOKEN).token == TOKEN
    assert ServerSettings(host="192.168.1.5", insecure=True).token is None
    assert ServerSettings().loopback
    assert ServerSettings(host="::1").loopback


def test_a_token_that_can_be_guessed_is_refused():
    with pytest.raises(ServerError, match="could be guessed"):
        ServerSettings(token="secret")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8765",
        "10.0.0.8",
        "127.0.0.1:80:80",
        "[::1",
        "",
        "127.0.0.1@evil.example",
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(client, host):
    answer = client.get("/api/library", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "misdirected_request"


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST:1"])
def test_this_machine_s_own_names_are_known(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_beyond_loopback_addresses_pass_and_unknown_names_do_not(make_client):
    client = make_client(host="0.0.0.0", token=TOKEN, allowed_hosts=("sounds.lan",))
    for host, status in [("192.168.1.5:8765", 200), ("sounds.lan", 200), ("evil.example", 421)]:
        assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_host_headers_are_taken_apart():
    assert host_name("[::1]:80") == "::1"
    assert host_name("a.b:80") == "a.b"
    assert host_name("a.b:x") == ""
    assert host_name("[::1]x") == ""


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765", "https://"],
)
def test_other_origins_are_refused(client, origin):
    for method in ("GET", "POST"):
        answer = client.request(method, "/api/search?q=hum", headers={"Origin": origin})
        assert answer.status_code == 403


def test_our_own_origin_passes(client):
    assert client.get("/api/search?q=hum", headers={"Origin": str(client.base_url)}).is_success


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_elsewhere_cannot_load_sounds_even_without_an_origin_header(client, site):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "audio"}
    assert client.get("/api/clips/1/audio", headers=headers).status_code == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    frame = {**link, "Sec-Fetch-Dest": "iframe"}
    assert client.get("/", headers=frame).status_code == 403


def test_every_answer_tells_the_browser_to_trust_nothing(client):
    for path in ("/", "/api/search?q=hum", "/nowhere", "/api/clips/1/audio", "/page/app.js"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_nothing_is_served_without_the_token(make_client):
    client = make_client(token=TOKEN)
    for path in ("/api/search?q=hum", "/api/clips/1", "/api/library", "/metrics", "/api/session"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/api/openapi.json").status_code == 401
    assert client.get("/", follow_redirects=False).headers["location"] == "/login"
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Bearer " + TOKEN + "x", "Basic " + TOKEN, TOKEN]
)
def test_a_wrong_token_does_not_pass(make_client, header):
    client = make_client(token=TOKEN)
    assert client.get("/api/library", headers={"Authorization": header}).status_code == 401


def test_the_token_opens_the_api_without_cookie_or_csrf(make_client):
    client = make_client(token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/search?q=hum", headers=headers).is_success
    answer = client.post("/api/embed/text", json={"texts": ["hum"]}, headers=headers)
    assert answer.is_success


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(make_client):
    client = make_client(token=TOKEN)
    assert client.post("/login", json={"token": "wrong"}).status_code == 401
    answer = client.post("/login", json={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/api/library").is_success


def test_a_cookie_alone_changes_nothing(make_client):
    client = make_client(token=TOKEN)
    client.post("/login", json={"token": TOKEN})
    body = {"texts": ["hum"]}
    assert client.post("/api/embed/text", json=body).status_code == 403
    wrong = {"X-CSRF-Token": "0" * 64}
    assert client.post("/api/embed/text", json=body, headers=wrong).status_code == 403
    right = {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}
    assert client.post("/api/embed/text", json=body, headers=right).is_success


def test_guessing_the_token_is_slowed_down(make_client):
    client = make_client(token=TOKEN)
    statuses = [client.post("/login", json={"token": str(i)}).status_code for i in range(15)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_guessing_the_bearer_token_is_slowed_down_too(make_client):
    client = make_client(token="a-token-of-some-length")
    answers = [
        client.get("/api/library", headers={"Authorization": f"Bearer {i}"}).status_code
        for i in range(14)
    ]
    assert answers == [401] * 10 + [429] * 4
    right = {"Authorization": "Bearer a-token-of-some-length"}
    assert client.get("/api/library", headers=right).status_code == 429  # or guessing would pay
    other = make_client(token="a-token-of-some-length", client=("127.0.0.2", 50_000))
    assert other.get("/api/library", headers=right).status_code == 200


def test_sessions_expire_and_cannot_be_forged():
    now = [1_000.0]
    sessions = Sessions(ServerSettings(session_duration=60.0), clock=lambda: now[0])
    cookie = sessions.create()
    assert sessions.valid(cookie)
    expiry, nonce, signature = cookie.split(".")
    assert not sessions.valid(f"{int(expiry) + 9}.{nonce}.{signature}")
    assert not Sessions(ServerSettings()).valid(cookie)
    for forged in (None, "", "..", "a.b.c", "é" * 8, "1" * 300, f"{expiry}.{nonce}."):
        assert not sessions.valid(forged)
    now[0] += 61.0
    assert not sessions.valid(cookie)


def test_one_client_may_not_ask_without_end(make_client):
    client = make_client(rate=1.0, burst=5)
    answers = [client.get("/healthz") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_buckets_fill_again_and_their_number_is_bounded():
    now = [0.0]
    limiter = RateLimiter(2.0, 1, max_clients=3, clock=lambda: now[0])
    assert limiter.wait_of("a") == 0
    assert limiter.wait_of("a") == pytest.approx(0.5)
    now[0] = 0.5
    assert limiter.wait_of("a") == 0
    for client in "bcdefg":
        limiter.wait_of(client)
    assert len(limiter._buckets) == 3


def test_large_bodies_are_refused_before_they_are_read(make_client):
    client = make_client(max_upload_bytes=100_000)
    files = {"file": ("a.wav", b"\0" * 300_000)}
    answer = client.post("/api/search", files=files)
    assert answer.status_code == 413
    assert answer.json()["error"]["help"]


def test_large_bodies_of_unknown_length_are_cut_off(make_client):
    client = make_client(max_upload_bytes=100_000)
    sent = []

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for i in range(100):
            sent.append(i)
            yield b"\0" * 10_000
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/api/search", content=body(), headers=headers).status_code == 413


def test_a_large_json_body_is_refused(make_client):
    answer = make_client().post("/api/embed/text", json={"texts": ["x" * 2_000_000]})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/%2e%2e/errors.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/",
        "/page/index.html%00.js",
        "/api/clips/..%2f..%2fetc%2fpasswd/audio",
        "/api/clips/-1",
        "/api/clips/99999999",
        "/api/clips/99999999999999999999999999",
        "/api/clips/1e9/audio",
    ],
)
def test_no_path_leads_out(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
    assert "import" not in answer.text


def link_out(tmp_path: Path, sounds: Path) -> tuple[Path, Path]:
    folder, outside = tmp_path / "library", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    secret = outside / "secret.wav"
    secret.write_bytes((sounds / "machines" / "hum.wav").read_bytes())
    (folder / "link.wav").symlink_to(secret)
    return folder, outside


def test_a_link_out_of_the_library_is_not_followed(make_client, tmp_path, sounds):
    folder, outside = link_out(tmp_path, sounds)
    client = make_client(folder)
    client.app.state.services.shelf.libraries[0].index(workers=1)
    clip_id = client.get("/api/search?q=hum").json()["results"][0]["clip_id"]
    for what in ("audio", "waveform", "audio?original=true", "audio?start=0&end=1"):
        answer = client.get(f"/api/clips/{clip_id}/{what}")
        assert answer.status_code == 403
        assert "outside" in answer.json()["error"]["message"]
    allowed = make_client(folder, allowed_folders=(outside,))
    assert allowed.get(f"/api/clips/{clip_id}/audio").is_success


def test_a_file_that_became_a_link_or_a_pipe_is_not_read(make_client, tmp_path, sounds):
    folder = tmp_path / "library"
    folder.mkdir()
    sound = folder / "a.wav"
    sound.write_bytes((sounds / "machines" / "hum.wav").read_bytes())
    client = make_client(folder)
    client.app.state.services.shelf.libraries[0].index(workers=1)
    assert client.get("/api/clips/1/audio").is_success
    sound.unlink()
    assert client.get("/api/clips/1/audio").status_code == 404
    sound.symlink_to("/etc/passwd")
    assert client.get("/api/clips/1/audio").status_code == 403
    sound.unlink()
    os.mkfifo(sound)
    assert client.get("/api/clips/1/audio").status_code == 404
    sound.unlink()
    sound.symlink_to(sound)
    assert client.get("/api/clips/1/audio").status_code == 404


def test_no_stack_trace_comes_out(make_client, monkeypatch, caplog):
    client = make_client()

    def broken(*args, **kwargs):
        raise ValueError("a secret: /home/someone/x.py")

    monkeypatch.setattr(client.app.state.services.shelf, "search", broken)
    with caplog.at_level(logging.ERROR, "wavtext.server"):
        answer = client.get("/api/search?q=hum")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    reference = answer.json()["error"]["message"].split("reference ")[1][:8]
    assert reference in caplog.text  # and the log has the whole of it
    assert "a secret" in caplog.text


def test_websockets_are_refused(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/search"):
        pass


def test_files_are_shown_only_for_a_page_on_this_machine(make_client):
    client: TestClient = make_client()
    started = []
    client.app.state.services.launch = started.append
    assert client.post("/api/clips/1/reveal").status_code == 403
    csrf = {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}
    assert client.post("/api/clips/1/reveal", headers=csrf).is_success
    assert len(started) == 1
    assert client.post("/api/clips/12345/reveal", headers=csrf).status_code == 404
    away = make_client(client=("192.168.1.9", 1), host="0.0.0.0", token=TOKEN)
    away.app.state.services.launch = started.append
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert away.post("/api/clips/1/reveal", headers=headers).status_code == 403
    assert len(started) == 1


def test_behind_a_proxy_no_file_is_shown_on_the_server(make_client):
    client = make_client(allowed_hosts=("sounds.example",))
    session = client.get("/api/session").json()
    assert session["can_reveal"] is False
    headers = {"X-CSRF-Token": session["csrf_token"]}
    assert client.post("/api/clips/1/reveal", headers=headers).status_code == 403
