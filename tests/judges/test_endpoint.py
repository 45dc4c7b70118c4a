"""The endpoint judge against a local server: both orders, what is kept, retries, a rate limit, what costs and what fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assent import AssentError
from assent.judges import EndpointJudge, ask

openai = pytest.importorskip("openai", reason="the openai client is not installed (assent[endpoint])")


class Server(ThreadingHTTPServer):
    """Prefers the longer answer; ``script`` holds what to do with the next requests instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[object] = []
        self.seen: list[str] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][0]["content"]
        self.server.seen.append(text)
        todo = self.server.script.pop(0) if self.server.script else None
        if isinstance(todo, float):
            time.sleep(todo)
            self.close_connection = True
            return None
        if isinstance(todo, int):
            return self.answer(todo, {"error": {"message": "not now"}})
        first, second = (text.split(f"<answer-{x}>\n")[1].split("\n</answer-")[0] for x in "AB")
        verdict = todo or ("tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B")
        message = {"role": "assistant", "content": verdict}
        self.answer(200, {
            "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
        })  # fmt: skip
        return None

    def answer(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def judge_of(server: Server, **arguments: object) -> EndpointJudge:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return EndpointJudge("tiny", base_url=url, **({"workers": 2, "retries": 1, "timeout": 10.0} | arguments))


ROWS = (["p", "q", "r"], ["long answer", "s", "same"], ["short", "longer", "even"])


def test_both_orders_are_asked_and_the_order_changes_nothing(server: Server) -> None:
    judge = judge_of(server, prices=(1.0, 10.0))
    found = ask(judge, *ROWS)
    assert found.p.tolist() == [1.0, 0.0, 0.5] and len(server.seen) == 6
    assert (found.tally.calls, found.tally.tokens) == (6, 612)
    assert found.tally.cost == pytest.approx(6 * (100 * 1.0 + 2 * 10.0) / 1e6)
    prompts, a, b = ROWS
    assert ask(judge, prompts, b, a).p.tolist() == [0.0, 1.0, 0.5] and len(server.seen) == 6, "known already"
    assert judge.tally.cached == 6


def test_a_judge_that_contradicts_itself_gives_ties(server: Server) -> None:
    server.script = ["A", "A"]
    found = ask(judge_of(server), ["p"], ["x"], ["y"])
    assert found.p.tolist() == [0.5] and found.tally.contradicted == 1 and found.known.all()


def test_what_cannot_be_read_or_fails_for_good_is_a_missing_answer(server: Server, tmp_path: Path) -> None:
    server.script = ["A or B", "I cannot say", 500, 500]
    judge = judge_of(server, cache=tmp_path / "kept.jsonl", workers=1)
    unread = ask(judge, ["p"], ["x"], ["y"])
    assert not unread.known.any() and unread.tally.failed == 1
    server.script = [500, 500, "A"]  # one question fails through its retry, the other is answered
    half = ask(judge, ["p"], ["xx"], ["y"])
    assert half.known.all() and half.p.tolist() in ([1.0], [0.0]), "one order alone decides"
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 1, "what failed is asked again"


def test_a_request_that_times_out_is_a_missing_answer(server: Server) -> None:
    server.script = [0.6]  # seconds of silence
    judge = judge_of(server, timeout=0.2, retries=0, workers=1, both=False)
    found = ask(judge, ["p", "q"], ["long", "x"], ["s", "longer"])
    assert found.known.tolist() == [False, True] and found.p.tolist() == [0.5, 0.0]
    assert (found.tally.asked, found.tally.failed, found.tally.calls) == (2, 1, 1)


def test_a_request_that_fails_for_the_moment_is_tried_again(server: Server) -> None:
    server.script = [429, 503]
    judge = judge_of(server, workers=1, retries=3, both=False)
    assert ask(judge, ["p"], ["long"], ["s"]).p.tolist() == [1.0] and len(server.seen) == 3


def test_answers_survive_a_kill(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    ask(judge_of(server, cache=path), *ROWS)
    path.write_text(path.read_text()[:-20])  # the last line was cut off
    again = judge_of(server, cache=path)
    assert ask(again, *ROWS).p.tolist() == [1.0, 0.0, 0.5] and len(server.seen) == 7
    assert ask(judge_of(server, cache=path), *ROWS).p.tolist() == [1.0, 0.0, 0.5] and len(server.seen) == 7
    path.write_text('{"schema": 2, "key": "x", "p": 1}\n')
    with pytest.raises(AssentError, match="schema 2"):
        judge_of(server, cache=path)


def test_requests_keep_to_the_rate(server: Server) -> None:
    judge = judge_of(server, per_minute=600.0, both=False)
    start = time.monotonic()
    ask(judge, [f"p{i}" for i in range(5)], ["a"] * 5, ["bb"] * 5)
    assert time.monotonic() - start >= 4 * 0.1, "four gaps of a tenth of a second"


def test_errors_that_every_request_meets_are_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script = [401] * 8
    with pytest.raises(AssentError, match="refuses 'tiny'"):
        ask(judge_of(server), *ROWS)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AssentError, match=r"no key in \$OPENAI_API_KEY"):
        ask(EndpointJudge("tiny"), *ROWS)
    with pytest.raises(AssentError, match=r"must hold {prompt}, {first} and {second}"):
        EndpointJudge("tiny", question="{prompt} {other}")
    with pytest.raises(AssentError, match="per_minute=0"):
        EndpointJudge("tiny", per_minute=0)
