"""``assent report --watch`` and ``--serve``: the page of runs on this machine's own address, for whoever has the token.

Only 127.0.0.1 is bound, only GET is answered, and every address begins with the token.  A name other than this machine's in
``Host`` (DNS rebinding) and any other origin are refused.  No part of an address reaches the file system.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
import secrets
import socketserver
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from markupsafe import Markup

from assent.errors import AssentError
from assent.reporting.live import LivePage, Make
from assent.reporting.page import _TEMPLATES, _environment, plain, render

ADDRESS = "127.0.0.1"
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")  # any port: a tunnel may end on another one
_FENCE = "default-src 'none'; base-uri 'none'; form-action 'none'; "

Texts = Callable[[Path, int], "dict[str, Any] | None"]
"""(run, number of the pair) -> its full texts as JSON, as ``report_texts.texts_of`` gives them; None where there are none."""


class PageServer(ThreadingHTTPServer):
    """Serves runs under ``url`` until it is closed.

    watch: follow the runs, else show them as they are now.  port: 0 takes a free one.  make, texts: see Make and Texts.
    Raises AssentError where the port cannot be had, or where ``watch`` is off and there is nothing to show.
    """

    daemon_threads = True

    def __init__(self, runs: Sequence[Path], *, watch: bool, make: Make, texts: Texts, port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise AssentError(f"port is {port}; expected 0 (any free one) to 65535")
        self.texts, self.runs, self.token = texts, list(runs), secrets.token_urlsafe(24)
        self.live = LivePage(runs, make, _waiting, watch)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken" if taken else f"cannot be had ({error.strerror})"
            raise AssentError(f"port {port} {why}; give another --port, or none for a free one") from None
        self.url = f"http://{ADDRESS}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        """Without the look-up of this machine's name, which may take seconds where there is no network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request: checked first, then answered from what the server holds."""

    server: PageServer
    timeout = 30  # seconds that a silent connection may hold a thread

    def do_GET(self) -> None:
        """Answer one of the addresses, or say why not."""
        parts = self.path.partition("?")[0].split("/")
        if refusal := self._refusal(parts[1] if len(parts) > 1 else ""):
            self._send(HTTPStatus.FORBIDDEN, f"{refusal}\n".encode())
            return
        match parts[2:]:
            case [""] if self.server.live.watch:
                self._shell()
            case [""] | ["page"]:
                self._page()
            case ["version"]:
                self._send(HTTPStatus.OK, json.dumps(self._state()).encode(), "application/json")
            case ["pair", run, pair] if re.fullmatch("[0-9]{1,4}", run) and re.fullmatch("[0-9]{1,12}", pair):
                self._pair(int(run), int(pair))
            case _:
                self._missing()

    def _refusal(self, token: str) -> str:
        """Why this request is refused; "" where it may be answered."""
        host = self.headers.get("Host", "").lower()
        if not _HOST.fullmatch(host):
            return f"this server answers to {ADDRESS} alone"
        said = [self.headers.get(name, "").lower() for name in ("Origin", "Referer")]
        foreign = any(origin and not f"{origin}/".startswith(f"http://{host}/") for origin in said)
        if foreign or self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "requests of other pages are refused; type the address that the command printed"
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            return "the token in the address is not this server's; take the address that the command printed"
        return ""

    def _state(self) -> dict[str, Any]:
        """What the frame is told: which page there is, and why it does not show the newest files."""
        page = self.server.live
        return {"schema": 1, "version": page.version(), "note": page.note, "waiting": page.waiting}

    def _shell(self) -> None:
        """The frame that shows the page and asks for newer ones."""
        script = (_TEMPLATES / "live.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        names = ", ".join(run.resolve().name for run in self.server.runs)
        html = _environment().get_template("live.html").render(names=names, script=Markup(script))
        policy = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        policy += "frame-src 'self'; frame-ancestors 'none'"
        self._send(HTTPStatus.OK, html.encode("utf-8", "replace"), "text/html", policy)

    def _page(self) -> None:
        made = self.server.live.page()
        mark = f'<meta name="version" content="{made.version}"></head>'.encode()
        # The page's own policy, in its head, says what may run: only its scripts, by their hashes.
        self._send(HTTPStatus.OK, made.html.replace(b"</head>", mark, 1), "text/html", "frame-ancestors 'self'", "")

    def _pair(self, run: int, pair: int) -> None:
        """The full texts of a pair; runs are numbered from 0 as they were given, pairs as the page's ``pair``."""
        found = self.server.texts(self.server.runs[run], pair) if run < len(self.server.runs) else None
        if found is None:
            self._missing()
        else:
            told = {"schema": 1, "run": run, "pair": pair, **plain(found)}
            self._send(HTTPStatus.OK, json.dumps(told).encode(), "application/json")

    def _missing(self) -> None:
        self._send(HTTPStatus.NOT_FOUND, b"there is nothing here; take the address that the command printed\n")

    # ---- answers --------------------------------------------------------------------------------------

    def _send(self, status: int, body: bytes, kind: str = "text/plain", policy: str = "", fence: str = _FENCE) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": fence + (policy or "frame-ancestors 'none'"),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library answers by itself: methods that are not GET, and requests that are not HTTP."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(status, f"{status.phrase.lower()}\n".encode())

    def version_string(self) -> str:
        """Neither Python's version nor ours."""
        return "assent"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests carry the token, and the terminal belongs to the run."""


def _waiting(sentence: str) -> str:
    return render("waiting.html", live={"waiting": True}, sentence=sentence)
