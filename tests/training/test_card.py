from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import yaml

from assent.training.card import CardFacts, command_line, labels_per_annotator, render_card, write_card

FACTS = CardFacts(
    title="tiny-lcpo",
    base_model="org/tiny",
    objective="lcpo(dpo(beta=0.1))",
    trained="all 1,234 parameters",
    reference="the policy at the start (frozen copy)",
    data="pairs.jsonl",
    data_hash="ab" * 32,
    rows_read=100,
    rows_used=97,
    seed=7,
    steps=12,
    seconds=3.4,
    command="assent train --model org/tiny",
    events=(("too long", 3, "rows dropped because they do not fit max_length"),),
    annotators={"anna": 60, "bob": 37},
    reliability={"anna": 0.912, "bob": 0.5},
    metrics={"loss": 0.61234, "rewards/accuracies": 0.75},
    alarms=("the margins follow length",),
    tags=("lcpo",),
)


def test_every_fact_is_on_the_card():
    card = render_card(FACTS)
    for text in (
        "| objective | `lcpo(dpo(beta=0.1))` |",
        "| sha256 | `" + "ab" * 32 + "` |",
        "| rows in the source | 100 |",
        "| rows trained on | 97 |",
        "| too long | 3 | rows dropped because they do not fit max_length |",
        "| anna | 60 | 0.912 |",
        "| bob | 37 | 0.500 |",
        "| loss | 0.6123 |",
        "- the margins follow length\n",
        "Nothing was held out",
        "with one annotator and no gold labels",
        "assent train --model org/tiny",
        "| seed | 7 |",
    ):
        assert text in card, text
    assert "torch 2" in card and "python 3" in card
    assert "\n\n\n" not in card


def test_the_head_is_yaml():
    head = yaml.safe_load(render_card(FACTS).split("---\n")[1])
    assert head["base_model"] == "org/tiny" and head["library_name"] == "transformers"
    assert head["tags"] == ["assent", "preference-optimization", "lcpo"] and head["assent_schema"] == 1


def test_a_directory_is_no_base_model_of_the_hub(tmp_path):
    from dataclasses import replace

    card = render_card(replace(FACTS, base_model=str(tmp_path)))
    assert "base_model" not in yaml.safe_load(card.split("---\n")[1]) and f"`{tmp_path}` aligned" in card


def test_hostile_names_stay_text():
    from dataclasses import replace

    evil = "x|y\n# Free <script>alert(1)</script> [a](b)"
    facts = replace(FACTS, annotators={evil: 3}, reliability={evil: 0.5}, base_model='a"\nb: c', data="`rm`|x")
    card = render_card(facts)
    assert "<script>" not in card and "\n# Free" not in card
    assert "| x\\|y # Free &lt;script&gt;alert(1)&lt;/script&gt; \\[a\\](b) | 3 | 0.500 |" in card
    assert "base_model" not in yaml.safe_load(card.split("---\n")[1])
    assert "| source | `'rm'\\|x` |" in card


def test_many_annotators_are_cut_and_counted():
    from dataclasses import replace

    card = render_card(replace(FACTS, annotators={f"n{i:03}": i for i in range(60)}, reliability={}))
    assert "10 more annotators" in card and "| n059 | 59 |" in card and "| n009 |" not in card
    assert "Reliability is" not in card


def test_a_run_without_annotators_has_no_table_of_them():
    from dataclasses import replace

    card = render_card(replace(FACTS, annotators={}, reliability={}, events=(), rows_held_out=9))
    assert "## Annotators" not in card and "\n\n\n" not in card
    assert "| rows held out | 9 |" in card and "Nothing was held out" not in card


def test_the_command_can_be_pasted():
    arguments = {"model": "org/tiny", "objective": "lcpo(dpo())", "columns": ["a=b", "c=d"], "merge": True}
    arguments |= {"resume": False, "adapter": None, "learning_rate": 1e-6, "data": [{"prompt": "x"}]}
    assert command_line(arguments).replace(" \\\n ", "") == (
        "assent train --model org/tiny --objective 'lcpo(dpo())' --columns a=b --columns c=d --merge "
        "--learning-rate 1e-06 --data '<list>'"
    )


def test_labels_are_counted_by_name():
    rows = [
        SimpleNamespace(labels=((0, 1.0, 1.0, False), (1, 0.0, 1.0, False))),
        SimpleNamespace(labels=((1, 1, 1, 0),)),
    ]
    assert list(labels_per_annotator(rows, ("anna", "bob")).items()) == [("bob", 2), ("anna", 1)]


def test_the_card_is_moved_into_place(tmp_path: Path):
    assert write_card(tmp_path, FACTS).read_text(encoding="utf-8") == render_card(FACTS)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
