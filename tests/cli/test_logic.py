"""assent logic, and where assent explain says that an objective stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.cli import main


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_show_a_formula_and_an_objective(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(["logic", "show", "M_l -> M_w given one-true", "--json"], capsys)
    found = json.loads(out)
    assert code == 0 and found["name"] == "cCPO" and found["exp_rho"] == "p_w / ((1 - p_w) p_l)"
    assert found["pair_weights"][0] == {"p_w": 0.2, "p_l": 0.2, "a": pytest.approx(1.25), "b": pytest.approx(1.0)}
    assert found["entailed_by"] == ["CE", "ORPO", "CPO"] and found["entails"] == ["unCPO"]
    code, out, _ = _run(["logic", "show", "simpo(beta=1.0)"], capsys)
    assert code == 0 and "CPO: rho = log [p_w / p_l]" in out and "entails      l14, cCPO" in out


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(["logic", "compare", "dpo", "cCPO+ref"], capsys)
    assert "A entails B" in out and "B does not entail A: see the row M_w true, M_l true, R_w true, R_l true" in out
    _, out, _ = _run(["logic", "compare", "ORPO", "CPO"], capsys)
    assert "incomparable" in out
    _, out, _ = _run(["logic", "compare", "CE", "c-x-"], capsys)
    assert "yet rho is the same function" in out
    _, out, _ = _run(["logic", "compare", "ipo", "dpo", "--json"], capsys)
    assert json.loads(out)["kind"] == "equivalent"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_lattice(ending: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / f"lattice.{ending}"
    code, out, _ = _run(["logic", "lattice", "--out", str(path), "--json"], capsys)
    found = json.loads(out)
    assert code == 0 and len(found["losses"]) == 16 and len(found["edges"]) == 32
    if ending == "svg":
        text = path.read_text()
        assert all(f">{name}<" in text for name in found["losses"]) and "cpo, slic, simpo" in text
    else:
        from matplotlib.image import imread

        assert imread(path).shape[:2] == (1920, 2400)
    _, out, _ = _run(["logic", "lattice", "--reference"], capsys)
    assert "CPO+ref    bxc-c-c-xx------  p_w r_l / (p_l r_w)  entails l14+ref, cCPO+ref" in out


def test_mistakes_keep_their_marks(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _run(["logic", "show", "M_l -> (M_w"], capsys)
    assert code == 2 and out == "" and err.endswith("\n  M_l -> (M_w\n         ^\n")
    for arguments, said in (
        (["shw"], "did you mean 'show'"),
        (["compare", "CPO"], "takes 2 losses; got 1"),
        (["show", "CPO", "--reference"], "belongs to assent logic lattice"),
        (["show", "nca"], "is the loss of no formula: it adds three logistic terms"),
        (["lattice", "--out", "x.pdf"], "ends in .png or .svg"),
        (["show", "ccpo"], "did you mean"),
    ):
        code, _, err = _run(["logic", *arguments], capsys)
        assert code == 2 and said in err and err.count("\n") == 1, (arguments, err)


def test_explain_says_where_an_objective_stands(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(["explain", "lcpo(r_dpo())"], capsys)
    assert "rho = log [p_w r_l / (p_l r_w)], CPO+ref" in out and "offset alpha (|w| - |l|)" in out
    assert "entailed by  sCE+ref, cUNL+ref" in out
    _, out, _ = _run(["explain", "sppo", "--json"], capsys)
    assert json.loads(out)["logic"][0]["core"] is False


def test_search_by_constraint(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(["logic", "search", "CEUnl", "unCPO", "--policy-only", "--json"], capsys)
    found = json.loads(out)
    assert code == 0 and (found["losses"], found["looked_at"]) == (16, 16) and 10 <= found["kept"] <= 16
    ask = ["logic", "search", "--policy-only", "--most", "300", "--json"]
    kept = {flag: json.loads(_run([*ask, flag], capsys)[1])["kept"] for flag in ("--monotone", "--not-monotone")}
    assert sum(kept.values()) == json.loads(_run(ask, capsys)[1])["kept"] and min(kept.values()) > 20
    _, out, _ = _run(["logic", "search", "CPO", "cCPO", "--policy-only", "--raises-chosen", "1.04"], capsys)
    assert "c-cx" not in out and "functions kept; train one with logic('MARKS')" in out and "ccx-" in out
    code, _, err = _run(["logic", "show", "cCPO", "--monotone"], capsys)
    assert code == 2 and "--monotone belongs to assent logic search" in err
    code, _, err = _run(["logic", "search", "unCPO", "CEUnl"], capsys)
    assert code == 2 and "nothing lies between them" in err
    code, _, err = _run(["logic", "search", "CPO"], capsys)
    assert code == 2 and "takes 0 or 2 losses; got 1" in err
