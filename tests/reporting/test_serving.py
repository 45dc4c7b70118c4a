"""The served page: who is answered and who is not, over real sockets; when the page is made again."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from assent.cli import main
from assent.errors import AssentError
from assent.reporting import live
from assent.reporting.serving import PageServer
from reporting import samples

TEXTS = {"prompt": "Say </script> \u202e", "chosen": "a" * 200_000, "rejected": "b", "length": {"chosen": 200_000}}


def _make(runs: Sequence[Path], path: Path) -> None:
    """A page of one word: what ``log.json`` of each run holds."""
    found = [run / "log.json" for run in runs]
    if not all(file.is_file() for file in found):
        raise AssentError("the run has not logged")
    path.write_text(f"<html><head></head><body>{' '.join(file.read_text() for file in found)}</body></html>")


def _texts(run: Path, pair: int) -> dict[str, Any] | None:
    return TEXTS if pair == 7 and run.name == "run" else None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.json").write_text("1")
    return tmp_path / "run"


@pytest.fixture
def server(run: Path) -> Iterator[PageServer]:
    yield from _served(run)


def _served(run: Path, **options: Any) -> Iterator[PageServer]:
    with PageServer([run], **{"watch": True, "make": _make, "texts": _texts} | options) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join(5)


def _ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=5)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


def test_the_token_opens_the_page_and_nothing_else_does(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    status, headers, body = _ask(server, f"/{server.token}/page")
    assert status == 200 and "<body>1</body>" in body
    assert headers["content-type"] == "text/html; charset=utf-8" and headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers and headers["server"] == "assent"
    for path in ("/", "/page", f"/{server.token[:-1]}/page", f"/{server.token}x/page", "/%C3%A9/page", "//", "*"):
        status, _, body = _ask(server, path)
        assert status == 403 and "token" in body and server.token not in body, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""},
        {"Host": "[::1"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://{own}"},
        {"Origin": "http://{own}.evil.example"}, {"Origin": "http://localhost:1"}, {"Referer": "http://evil.example/x"},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
    ],
)  # fmt: skip
def test_other_hosts_and_other_origins_are_refused(server: PageServer, headers: dict[str, str]) -> None:
    own = f"127.0.0.1:{server.server_address[1]}"
    given = {name: value.format(own=own) if "{" in value else value for name, value in headers.items()}
    for path in ("", "page", "version", "pair/0/7"):
        assert _ask(server, f"/{server.token}/{path}", **given)[0] == 403, path


def test_the_page_itself_may_ask(server: PageServer) -> None:
    own = f"127.0.0.1:{server.server_address[1]}"
    path = f"/{server.token}/version"
    assert _ask(server, path, Origin=f"http://{own}", Referer=f"http://{own}/", Sec_Fetch_Site="same-origin")[0] == 200
    assert _ask(server, path, Host="localhost:8000")[0] == 200, "the other end of a tunnel"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_only_get_is_answered(server: PageServer, method: str) -> None:
    status, headers, _ = _ask(server, f"/{server.token}/page", method)
    assert status == 405 and headers["allow"] == "GET"


def test_no_address_reaches_the_file_system(server: PageServer, run: Path) -> None:
    (run / "secret.txt").write_text("secret")
    for path in ("secret.txt", "../secret.txt", "..%2fsecret.txt", "page/../secret.txt", "%2e%2e/run/log.json", "log.json",
                 "../../../../etc/passwd", "pair/0/../7", "pair/0/-7", "pair/0/7x", "pair/0/%D9%A7", "pair/0/", "pair/7",
                 "pair/0/" + "9" * 40, "page/", "PAGE"):  # fmt: skip
        status, _, body = _ask(server, f"/{server.token}/{path}")
        assert status == 404 and "secret" not in body and "root:" not in body, path


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /\xc3\xa9\xff/page HTTP/1.1", 403), (b"\x16\x03\x01 \x00 \x00", 400),
        (b"GET http://evil.example/page HTTP/1.1", 403), (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", 414),
    ],
)  # fmt: skip
def test_what_no_browser_sends(server: PageServer, request_line: bytes, status: int) -> None:
    with socket.create_connection(server.server_address[:2], timeout=5) as raw:
        raw.sendall(request_line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        said = raw.recv(4096)
    # What is no request at all is answered as HTTP/0.9, without a head.
    assert said == b"bad request\n" if status == 400 else said.split()[1] == str(status).encode()
    assert _ask(server, f"/{server.token}/version")[0] == 200, "the next one is answered"


def test_the_whole_text_of_a_pair(server: PageServer) -> None:
    status, headers, body = _ask(server, f"/{server.token}/pair/0/7")
    assert status == 200 and headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(body) == {"schema": 1, "run": 0, "pair": 7, **TEXTS}
    assert _ask(server, f"/{server.token}/pair/0/8")[0] == 404, "no such pair"
    assert _ask(server, f"/{server.token}/pair/1/7")[0] == 404, "no such run"


def test_policies_of_the_frame_and_of_the_page(server: PageServer) -> None:
    _, headers, body = _ask(server, f"/{server.token}/")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert (
        "script-src 'sha256-" in policy and "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    )
    assert server.token not in body and "run – Assent" in body
    assert _ask(server, f"/{server.token}/page")[1]["content-security-policy"] == "frame-ancestors 'self'"


# ---- when the page is made -------------------------------------------------------------------------------


def test_the_page_follows_its_files(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    made = []

    def make(runs: Sequence[Path], path: Path) -> None:
        made.append(1)
        _make(runs, path)

    page = live.LivePage([run], make, lambda sentence: f"waiting: {sentence}")
    first = page.page()
    assert page.page() is first and page.version() == first.version and len(made) == 1, "nothing changed"
    (run / "model.safetensors").write_text("weights are not read")
    assert page.version() == first.version
    (run / "log.json").write_text("22")
    second = page.version()
    assert second != first.version
    assert page.page().version == second and b"22" in page.page().html and len(made) == 2


def test_pages_are_not_made_oftener_than_their_share(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    for name in ("monotonic", "thread_time"):
        monkeypatch.setattr(live.time, name, lambda: clock[0])

    def make(runs: Sequence[Path], path: Path) -> None:
        clock[0] += 3.0  # what the making takes
        _make(runs, path)

    page = live.LivePage([run], make, str)
    page.page()
    clock[0] += 2.1  # the first making, which loads libraries, is not counted
    (run / "log.json").write_text("22")
    second = page.page()
    assert b"22" in second.html
    (run / "log.json").write_text("333")
    clock[0] += 29.9
    assert page.version() == second.version and page.page() is second
    clock[0] += 0.2
    assert page.version() != second.version and b"333" in page.page().html


def test_a_run_that_has_not_logged_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    folder = tmp_path / "later"
    page = live.LivePage([folder], _make, lambda sentence: f"waiting: {sentence}")
    assert page.page().html == b"waiting: the run has not logged" and not page.page().whole
    folder.mkdir()
    (folder / "log.json").write_text("1")
    assert page.page().whole and b"<body>1" in page.page().html and page.note == ""
    (folder / "log.json").unlink()
    kept = page.page()
    assert b"<body>1" in kept.html and kept.note == "the run has not logged", "the last whole page stays"


def test_a_finished_run_is_shown_as_it_is_or_refused(run: Path, tmp_path: Path) -> None:
    page = live.LivePage([run], _make, str, watch=False)
    (run / "log.json").write_text("22")
    assert b"<body>1" in page.page().html and page.version() == page.page().version
    with pytest.raises(AssentError, match="has not logged"):
        live.LivePage([tmp_path / "nowhere"], _make, str, watch=False)


def test_a_taken_port_costs_one_sentence(server: PageServer, run: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(AssentError, match=f"port {port} is taken; give another --port"):
        PageServer([run], watch=True, make=_make, texts=_texts, port=port)
    with pytest.raises(AssentError, match="port is 70000; expected 0"):
        PageServer([run], watch=True, make=_make, texts=_texts, port=70_000)


def _verb(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["report", *map(str, arguments)])
    return stopped.value.code


def test_the_verb_prints_where_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(server: PageServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    assert _verb("--watch", tmp_path / "later", "--json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["schema"] == 1 and found["url"].startswith("http://127.0.0.1:") and printed.err == ""
    assert _verb("--watch", tmp_path / "later") == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "follows" in printed.err and "Ctrl-C ends it" in printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--watch", "--serve"], "--watch and --serve are both given"), (["--port", "8000"], "--port is read with"),
        (["--watch", "--out", "x.html"], "--out is not read with"), (["--serve"], "there is no directory"),
        (["--watch", "--port", "-1"], "port is -1"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_told_in_a_sentence(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _verb(tmp_path / "nowhere", *options) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.slow
def test_the_verb_serves_a_run_until_it_is_interrupted(tmp_path: Path) -> None:
    run = samples.run_folder(tmp_path / "run")
    command = [sys.executable, "-c", "from assent.cli import main; main()", "report", "--watch", str(run), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = json.loads(process.stdout.readline())["url"]
        host, token = url.removeprefix("http://").split("/")[:2]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", f"/{token}/page")
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        assert answer.status == 200 and "Run run" in body and "default-src 'none'" in body
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0 and said == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"], "no file was written"
