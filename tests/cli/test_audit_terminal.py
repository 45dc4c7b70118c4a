"""What ``assent audit`` prints: names from the data cannot draw on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.cli import main


def test_names_send_no_escape_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("\x1b[31mred", "[bold]ben")
    rows = [
        {"prompt": f"q{i}", "chosen": f"good {i}", "rejected": f"bad {i}", "annotator": names[i % 2], "logit": 1.0}
        for i in range(60)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(tmp_path / "rows.jsonl"), "--scorer", "logits:logit"])
    printed = capsys.readouterr()
    assert stopped.value.code == 0, printed.err
    assert "\x1b" not in printed.out
    assert "⟦U+001B⟧[31mred" in printed.out and "[bold]ben" in printed.out
