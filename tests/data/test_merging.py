"""Merging by hand: who is stored first, what a label's p and weight become, what follows the stored order."""

from __future__ import annotations

import pytest

from assent.data import read


def rows(*given):
    return [
        {"prompt": "q", "response_a": a, "response_b": b, "p_b": p, "annotator": name, **more}
        for a, b, p, name, more in given
    ]


def test_majority_is_stored_first():
    (pair,) = read(rows(("x", "y", 0.0, "anna", {}), ("x", "y", 1.0, "ben", {}), ("y", "x", 0.0, "carl", {}))).rows
    assert (pair.chosen, pair.rejected) == ("y", "x")
    assert [(x.annotator, x.p, x.rows) for x in pair.labels] == [
        ("anna", 0.0, (0,)),
        ("ben", 1.0, (1,)),
        ("carl", 1.0, (2,)),
    ]
    assert pair.target == pytest.approx(2 / 3) and pair.weight == 3.0


def test_ties_keep_the_first_rows_order():
    records = read(rows(("x", "y", 1.0, "anna", {}), ("x", "y", 0.0, "ben", {})))
    assert (records.rows[0].chosen, records.rows[0].target) == ("y", 0.5)
    assert records.report["contradictory labels"] == 1
    # 0.3 and 0.7 are a tie although their distances from 1/2 differ in the last bit
    assert read(rows(("x", "y", 0.7, "anna", {}), ("y", "x", 0.7, "ben", {}))).rows[0].chosen == "y"
    records = read(rows(("x", "y", 0.5, "anna", {})))
    assert records.rows[0].chosen == "x" and records.report["ties"] == 1


def test_weights_decide_the_majority():
    (pair,) = read(rows(("x", "y", 1.0, "anna", {"weight": 1}), ("x", "y", 0.0, "ben", {"weight": 3}))).rows
    assert pair.chosen == "x" and pair.target == 0.75


def test_labels_of_one_annotator_are_averaged():
    records = read(
        rows(
            ("x", "y", 1.0, "anna", {"weight": 3}), ("y", "x", 0.8, "anna", {}), ("x", "y", 1.0, "anna", {"gold": True})
        )
    )
    (pair,) = records.rows
    first, gold = pair.labels
    assert first.p == pytest.approx((3 * 1.0 + 1 * 0.2) / 4) and first.weight == 4.0 and first.rows == (0, 1)
    assert gold.gold and gold.p == 1.0 and gold.rows == (2,)
    assert records.report["labels averaged"] == 1 and records.report["rows merged"] == 2


def test_everything_follows_the_stored_order():
    more = {"margin": 2.0, "logit": 0.5, "score_a": 1, "score_b": 3, "model_a": "m1", "model_b": "m2", "hours": 4}
    records = read(rows(("x", "y", 0.9, "anna", more)))
    (pair,) = records.rows
    assert (pair.chosen, pair.margin, pair.logit, pair.score_chosen, pair.score_rejected) == ("y", 2.0, 0.5, 3, 1)
    assert pair.columns == {"model_chosen": "m2", "model_rejected": "m1", "hours": 4} and records.sides == ("model",)
    (pair,) = read(rows(("x", "y", 0.2, "anna", more))).rows
    assert (pair.chosen, pair.margin, pair.logit, pair.score_chosen, pair.score_rejected) == ("x", -2.0, -0.5, 1, 3)
    assert pair.columns == {"model_chosen": "m1", "model_rejected": "m2", "hours": 4}
    assert pair.labels[0].p == 0.8


def test_own_label_against_the_order_turns_the_row():
    row = {
        "prompt": "q",
        "chosen": "x",
        "rejected": "y",
        "p_chosen": 0.25,
        "margin": 1.0,
        "chosen_model": "m1",
        "rejected_model": "m2",
    }
    records = read([row])
    (pair,) = records.rows
    assert (pair.chosen, pair.labels[0].p, pair.margin) == ("y", 0.75, -1.0)
    assert pair.columns == {"model_chosen": "m2", "model_rejected": "m1"} and records.report["order turned"] == 1


def test_first_value_is_kept_and_disagreement_counted():
    records = read(
        rows(
            ("x", "y", 1.0, "anna", {"margin": None}),
            ("y", "x", 0.0, "ben", {"margin": -1.0}),
            ("x", "y", 1.0, "carl", {"margin": 2.0}),
        )
    )
    assert records.rows[0].margin == 1.0 and records.report["columns disagree"] == 1
    assert records.report.events["columns disagree"].rows == [2]


def test_messages_merge_by_their_content():
    say = lambda text: [{"role": "assistant", "content": text}]  # noqa: E731
    prompt = [{"role": "user", "content": "q"}]
    given = [
        {"prompt": prompt, "chosen": say("x"), "rejected": say("y"), "annotator": "anna"},
        {"prompt": [dict(reversed(prompt[0].items()))], "chosen": say("y"), "rejected": say("x"), "annotator": "ben"},
        {"prompt": prompt, "chosen": say("x"), "rejected": say("y"), "annotator": "ben", "tools": [{"name": "f"}]},
    ]
    records = read(given)
    assert [len(pair.labels) for pair in records.rows] == [2, 1]  # other tools make another prompt


def test_prompts_that_differ_by_side():
    row = {"prompt": "q", "rejected_prompt": "r", "chosen": "x", "rejected": "x"}
    turned = {"prompt": "r", "rejected_prompt": "q", "chosen": "x", "rejected": "x", "annotator": "ben"}
    (pair,) = read([row, turned]).rows
    assert (pair.prompt, pair.rejected_prompt, [x.p for x in pair.labels]) == ("q", "r", [1.0, 0.0])


@pytest.mark.data
def test_real_judgements(real_data):
    records = read(real_data / "alpaca_eval_judgements.parquet")
    assert records.n_rows == 16641 and len(records.annotators) == 6 and records.sides == ("generator",)
    assert records.report["identical completions"] == 1636
    assert sum(len(x.rows) for pair in records.rows for x in pair.labels) == 16641 - 1636
    assert len(records) + records.report["rows merged"] == 16641 - 1636
