"""The door of the demo's server: whom it answers, how much it takes, and how long anyone may hold it."""

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.errors import InputError
from whisper_pair.live import access as door
from whisper_pair.live import server
from whisper_pair.live.access import Door, tidy


def status_of(tmp_path, method="GET", hosts=(), parts=(b"",), **headers) -> int:
    """The status that a request is answered with; 200: it reached the page."""
    sent = []
    pieces = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def page(scope, receive, send):
        for _ in parts:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return pieces.pop(0)

    async def send(message):
        sent.append(message)

    named = [(name.encode().replace(b"_", b"-"), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": named}
    asyncio.run(Door(page, hosts, tmp_path)(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize(
    "host",
    ["localhost:7860", "127.0.0.1:7860", "127.0.0.1", "[::1]:7860", "192.168.1.7", "LOCALHOST", "demo.example:1",
     f"{socket.gethostname()}:7860"],
)  # fmt: skip
def test_its_own_names_and_any_address_are_answered(tmp_path, host):
    assert status_of(tmp_path, hosts=["Demo.example"], host=host, origin=f"http://{host}") == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "127.0.0.1@evil.example",
        "localhost:7860.evil.example",
        "[",
        "evil.example#localhost",
        "evil.example/localhost",
    ],
)
def test_another_host_or_origin_is_refused(tmp_path, host):
    assert status_of(tmp_path, host=host) == 403
    assert status_of(tmp_path, host="localhost", origin=f"http://{host}") == 403


def test_a_page_without_an_origin_of_its_own_is_refused(tmp_path):
    assert status_of(tmp_path, host="localhost", origin="null") == 403
    assert status_of(tmp_path) == 403  # no Host at all


def test_what_is_too_large_is_refused_whether_it_says_so_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "LARGEST", 100)
    assert status_of(tmp_path, "POST", host="localhost", content_length="101") == 413
    assert status_of(tmp_path, "POST", host="localhost", content_length="-1") == 413
    assert status_of(tmp_path, "POST", parts=[b"x" * 50] * 3, host="localhost") == 413
    assert status_of(tmp_path, "POST", parts=[b"x" * 50] * 2, host="localhost", content_length="100") == 200


def test_recordings_together_have_a_bound_and_go_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "MOST", 100)
    (tmp_path / "someone").mkdir()
    (tmp_path / "someone" / "a.wav").write_bytes(b"x" * 60)
    assert status_of(tmp_path, "POST", host="localhost", content_length="50") == 507
    assert status_of(tmp_path, "POST", host="localhost", content_length="40") == 200
    tidy(tmp_path)
    assert (tmp_path / "someone" / "a.wav").exists()
    long_ago = time.time() - door.KEPT - 1
    os.utime(tmp_path / "someone" / "a.wav", (long_ago, long_ago))
    tidy(tmp_path)
    assert not (tmp_path / "someone" / "a.wav").exists()


def test_a_recording_has_a_longest_length(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "LONGEST", 60)
    for seconds, rate in ((61, SAMPLE_RATE), (62, 8000)):
        soundfile.write(tmp_path / "long.flac", np.zeros(seconds * rate), rate)
        with pytest.raises(InputError, match="lasts more than 1 minutes"):
            server.samples_of(str(tmp_path / "long.flac"), "long.flac")
    soundfile.write(tmp_path / "short.flac", np.zeros(30 * SAMPLE_RATE), SAMPLE_RATE)
    assert len(server.samples_of(str(tmp_path / "short.flac"), "short.flac")) == 30 * SAMPLE_RATE


def test_a_contest_that_takes_too_long_makes_place(pair, demo_data, monkeypatch):
    from whisper_pair.pair import Pair

    monkeypatch.setattr(server, "PATIENCE", 0)
    shown = server.Server(Pair.from_pretrained(*pair), "pair")
    clip = str(sorted((demo_data / "test").glob("*.wav"))[0])
    *_, last = shown.transcribe(clip, "nl", "transcribe", "2", "30 s", SimpleNamespace(session_hash="one"))
    assert "others may wait" in last
    assert not shown.contest._thread.is_alive()


def test_the_server_uses_its_access_middleware(pair):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "whisper_pair.cli", "demo-server", pair[0].parent, "--port", port, "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *map(str, command), "--allow-host", "demo.example"], env=env, stdout=subprocess.PIPE, text=True
    )

    def status(host: str, method: str = "GET", path: str = "/", length: int | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host)
        if length is not None:
            connection.putheader("Content-Length", str(length))
        connection.endheaders()
        return connection.getresponse().status

    try:
        assert "shows" in process.stdout.readline()
        assert status(f"127.0.0.1:{port}") == status("demo.example") == 200
        assert status("evil.example") == status("evil.example", "POST", "/gradio_api/upload", 0) == 403
        assert status("localhost", "POST", "/gradio_api/upload", 10**12) == 413
    finally:
        process.terminate()
        assert process.wait(60) == 0
