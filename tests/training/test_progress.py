"""What a run shows: five figures by objective, live where there is a terminal, lines elsewhere; its log on disk."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from assent import GroupScores, PairScores, Scores, parse
from assent.training import live_log, progress
from assent.training.board import CHANGE, SCORE, Board, five, shown, span
from assent.training.live_log import LiveLog
from assent.training.progress import Progress, counting, plain_lines, say, tidy


def state(step: int = 0, total: int = 10, first: bool = True) -> Any:
    return SimpleNamespace(global_step=step, max_steps=total, is_world_process_zero=first)


# ---- which figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "held_out", "names"),
    [
        ("lcpo(dpo())", True, ["loss", "eval_rewards/accuracies", "rewards/margins", CHANGE, "lcpo/noise_rate"]),
        ("lcpo(dpo())", False, ["loss", "rewards/accuracies", "rewards/margins", CHANGE, "lcpo/noise_rate"]),
        ("dpo()", True, ["loss", "eval_loss", "eval_rewards/accuracies", "rewards/margins", CHANGE]),
        ("dpo()", False, ["loss", "rewards/accuracies", "rewards/margins", CHANGE, "logps/rejected"]),
        ("simpo() + 0.1*sft()", True, ["loss", "eval_loss", "eval_rewards/accuracies", "rewards/margins", "logps/chosen"]),
        ("lcpo(simpo())", True, ["loss", "eval_rewards/accuracies", "rewards/margins", "logps/chosen", "lcpo/noise_rate"]),
        ("bradley_terry()", False, ["loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"]),
        ("kto()", True, ["loss", "eval_loss", "rewards/chosen", "rewards/rejected", "logps/chosen"]),
        ("sft()", False, ["loss", "nll/token", "logps/completion", "grad_norm", "learning_rate"]),
        ("rloo()", False, ["loss", SCORE, "rewards/accuracies", "rewards/spread", "logps/completion"]),
    ],
)  # fmt: skip
def test_five_figures_by_objective(text: str, held_out: bool, names: list[str]) -> None:
    assert [figure.name for figure in five(parse(text), held_out)] == names


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (0.69314, False, "0.693"), (-12.345, False, "-12.3"), (-1234.5, False, "-1234"), (9.999, False, "10.00"),
        (1.5e-6, False, "1.5e-06"), (-3.2e9, False, "-3.2e+09"), (0.0, False, "0.000"), (float("nan"), False, "-"),
        (None, True, "-"), (0.283, True, "28.3 %"), (1.0, True, "100.0 %"),
    ],
)  # fmt: skip
def test_values_are_short(value: float | None, percent: bool, text: str) -> None:
    assert shown(value, percent) == text and len(text) <= 8


def test_spans_of_time() -> None:
    assert [span(s) for s in (0, 59.6, 245, 3723)] == ["0:00", "1:00", "4:05", "1:02:03"]


# ---- how they look ---------------------------------------------------------------------------------------


def lines(board: Board, width: int, encoding: str = "utf-8") -> list[str]:
    from rich.console import Console

    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    Console(width=width, force_terminal=True, color_system=None, legacy_windows=False, file=file).print(board)
    return file.buffer.getvalue().decode(encoding).splitlines()


def a_board(total: int = 500, done: int = 120) -> Board:
    now = [0.0]
    board = Board(five(parse("lcpo(dpo())"), True), total, clock=lambda: now[0])
    now[0], board.done = 100.0, done
    board.log({"loss": 0.6, "rewards/margins": 0.1, CHANGE: -1.0, "lcpo/noise_rate": 0.2})
    board.log({"loss": 0.5213, "rewards/margins": 0.8321, CHANGE: -12.31, "lcpo/noise_rate": 0.2})
    board.log({"eval_rewards/accuracies": 0.712, "eval_loss": 0.6, "rewards/margins": "no number"})
    return board


def test_the_board_at_sixty_columns() -> None:
    bar, labels, notes, values = lines(a_board(), 60)
    assert bar.startswith("step 120/500 ") and bar.endswith(" 24 % 5:17 left")  # 100 s for 120 steps: 380 take 317 s
    assert labels.split() == ["loss", "accuracy", "margin", "chosen", "noise", "rate"]
    assert "held out" in notes and "vs. ref." in notes and "of labels" in notes
    assert values.split() == ["0.521", "↓", "71.2", "%", "0.832", "↑", "-12.3", "↓", "20.0", "%"]


@pytest.mark.parametrize("width", [20, 34, 40, 59, 60, 80, 300])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    board = a_board(10**7, 10**6)
    board.task = "sampling " * 100
    found = lines(board, width)
    assert len(found) == 5 and all(len(line) <= width for line in found)
    whole = ["loss", "accuracy", "margin", "chosen", "noise rate"]
    labels = [part.strip() for part in found[1].split("  ") if part.strip()]
    assert labels == whole[: max(1, (min(width, 100) + 2) // 12)]


def test_a_terminal_without_unicode() -> None:
    assert "v" in lines(a_board(), 60, "ascii")[3] and "^" in lines(a_board(), 60, "ascii")[3]


def test_a_resumed_run_counts_only_its_own_steps_for_the_time_left() -> None:
    now = [0.0]
    board = Board(five(parse("dpo()"), False), 100, 80, clock=lambda: now[0])
    now[0], board.done = 10.0, 90
    assert lines(board, 60)[0].endswith("90 % 0:10 left")
    board.done = 100
    assert lines(board, 60)[0].endswith("100 % 0:10 taken")


# ---- what the callback counts ----------------------------------------------------------------------------


def test_the_change_of_the_chosen_side_is_a_weighted_mean_over_the_logs_pairs() -> None:
    def side(logp: list[float], ref: list[float] | None) -> Scores:
        return Scores(torch.tensor(logp), None if ref is None else torch.tensor(ref))

    told = Progress(parse("dpo()"))
    told([], PairScores(side([-5.0, -8.0], [-4.0, -2.0]), side([0.0, 0.0], [0.0, 0.0]), torch.tensor([1.0, 3.0])), {})
    told([], PairScores(side([-1.0], [-3.0]), side([0.0], [0.0])), {})
    assert told._own() == {CHANGE: pytest.approx((1 * -1 + 3 * -6 + 1 * 2) / 5)}
    assert told._own() == {}, "counting starts anew"
    told([], PairScores(side([-5.0], None), side([0.0], None)), {})
    assert told._own() == {}, "without a reference there is no change"


def test_the_score_of_groups_is_a_mean_of_means() -> None:
    told = Progress(parse("rloo()"))
    sides = Scores(torch.zeros(3), torch.zeros(3))
    group = torch.tensor([0, 0, 1])
    told([], GroupScores(sides, group, torch.tensor([1.0, 3.0, 5.0]), torch.tensor([1.0, 3.0])), {})
    assert told._own() == {SCORE: pytest.approx((2 * 1 + 5 * 3) / 4)}


# ---- where it is shown -----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal of 60 columns that keeps what it was sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(why_not: str = "") -> Iterator[Terminal]:
    """stderr is a terminal, unless something keeps the board from it."""
    found = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", found)  # not in a fixture: pytest takes stderr for itself after those
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20"}.items():
            patch.setenv(name, value)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        patch.setattr(progress, "EVERY", 0.0)
        patch.setattr(progress._screen, "plain", False)
        if why_not == "no terminal":
            patch.setattr(Terminal, "isatty", lambda self: False)
        if why_not == "dumb":
            patch.setenv("TERM", "dumb")
        if why_not == "json":
            plain_lines()
        yield found
        assert progress._screen.live is None and sys.stderr is found, "the terminal is as it was"


def run(told: Progress, logs: dict[str, float]) -> None:
    told.on_train_begin(None, state(), None)
    told.on_log(None, state(1), None, logs=logs)
    say("a warning")
    told.on_step_end(None, state(2), None)


LOGS = {"loss": 0.5, "rewards/accuracies": 0.75, "rewards/margins": 1.25, "learning_rate": 1e-6}


def test_a_terminal_gets_one_live_board_with_warnings_above_it() -> None:
    told = Progress(parse("dpo()"))
    with terminal() as found:
        run(told, LOGS)
        told.on_train_end(None, state(10), None)
    text = found.getvalue()
    assert text.count("assent: a warning\n") == 1 and "75.0 %" in text and "step 2/10" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is there again"
    assert "learning_rate" not in text


def test_whatever_ends_a_run_gives_the_terminal_back() -> None:
    with terminal() as found, pytest.raises(RuntimeError), tidy():
        run(Progress(parse("dpo()")), LOGS)
        raise RuntimeError
    assert found.getvalue().endswith("\x1b[?25h")


@pytest.mark.parametrize("why", ["no terminal", "json", "dumb", "disable_tqdm"])
def test_elsewhere_there_is_a_line_a_log(why: str) -> None:
    told = Progress(parse("dpo()"), show_bar=why != "disable_tqdm")
    with terminal(why) as found:
        run(told, LOGS)
        told.on_train_end(None, state(10), None)
    line = "step 1/10  loss 0.5  rewards/accuracies 0.75  rewards/margins 1.25  learning_rate 1e-06\n"
    assert found.getvalue() == line + "assent: a warning\n"


def test_other_ranks_say_nothing_and_count_all_the_same() -> None:
    told = Progress(parse("dpo()"))
    told.sums = torch.tensor([1.0, 1.0]).double()
    with terminal() as found:
        told.on_train_begin(None, state(first=False), None)
        told.on_log(None, state(1, first=False), None, logs=LOGS)
    assert found.getvalue() == "" and told.sums is None


def test_counting_has_a_line_of_its_own_or_one_on_the_board() -> None:
    with terminal() as found:
        with counting("reference") as move:
            move(1, 2000)
            move(2000, 2000)
        assert "reference: 2,000 of 2,000" in found.getvalue()
        told = Progress(parse("dpo()"))
        run(told, LOGS)
        with counting("sampling") as move:
            move(3, 7)
        assert "sampling: 3 of 7" in found.getvalue()
        told.on_step_end(None, state(3), None)
        told.on_train_end(None, state(10), None)
    assert "sampling" not in found.getvalue().rpartition("step 3/10")[2]
    with terminal("no terminal") as found, counting("reference") as move:
        move(1, 2000)
    assert found.getvalue() == ""


# ---- the log on disk -------------------------------------------------------------------------------------


def test_the_log_is_on_disk_soon_after_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerState

    clock = [50.0]
    monkeypatch.setattr(live_log.time, "monotonic", lambda: clock[0])
    file, log = tmp_path / "trainer_state.json", LiveLog(tmp_path)
    found = TrainerState(is_world_process_zero=True)
    log.on_step_end(None, found, None)
    assert not file.exists(), "nothing was logged"

    def write(step: int) -> None:
        found.global_step = step
        found.log_history.append({"step": step, "loss": 0.5})
        log.on_log(None, found, None)

    def steps() -> list[int]:
        return [entry["step"] for entry in json.loads(file.read_text())["log_history"]]

    write(1)
    write(2)
    assert steps() == [1], "not oftener than once in a while"
    clock[0] += 1.5
    log.on_step_end(None, found, None)
    assert steps() == [1, 2]
    write(3)
    log.on_train_end(None, found, None)
    assert steps() == [1, 2, 3] and [path.name for path in tmp_path.iterdir()] == ["trainer_state.json"]
    found.is_world_process_zero = False
    clock[0] += 1e6
    write(4)
    assert steps() == [1, 2, 3], "the first rank writes"
