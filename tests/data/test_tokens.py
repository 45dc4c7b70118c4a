"""Tokens: exact ids and masks for plain text and for chat templates, ends once, truncation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from chat_templates import CHATML, GEMMA, LLAMA3, MISTRAL, THINKING

from assent.data import branch_point, read, tokenise
from assent.errors import AssentError


def say(role, content):
    return {"role": role, "content": content}


def names(tokenizer, sequence):
    """Token strings; counted ones begin with an asterisk."""
    tokens = tokenizer.convert_ids_to_tokens(sequence.ids.tolist())
    return ["*" * int(m) + t for t, m in zip(tokens, sequence.mask, strict=True)]


def one(tokenizer, row, **options):
    tokens = tokenise(read([row]), tokenizer, **options)
    return tokens.rows[0], tokens.report


CHAT = {
    "prompt": [say("system", "Be brief"), say("user", "two plus two ?")],
    "chosen": [say("assistant", "four .")],
    "rejected": [say("assistant", "five")],
}
TURNS = {
    "prompt": [say("user", "sky ?"), say("assistant", "blue"), say("user", "so green ?")],
    "chosen": [say("assistant", "no")],
    "rejected": [say("assistant", "yes yes")],
}


# ---- exact ids and masks, worked out by hand from the templates --------------------------------------------


def test_chatml_ids(words):
    tokenizer = words(CHATML, eos="<|im_end|>")
    pair, report = one(tokenizer, CHAT)
    v = tokenizer.get_vocab()
    start, end, line = v["<|im_start|>"], v["<|im_end|>"], v["\n"]
    prompt = [
        start, v["system"], line, v["Be"], v["brief"], end, line,
        start, v["user"], line, v["two"], v["plus"], v["two"], v["?"], end, line,
        start, v["assistant"], line,
    ]  # fmt: skip
    assert pair.chosen.ids.tolist() == [*prompt, v["four"], v["."], end, line]
    assert pair.chosen.mask.tolist() == [False] * 19 + [True, True, True, False]
    assert pair.rejected.ids.tolist() == [*prompt, v["five"], end, line]
    assert pair.rejected.mask.tolist() == [False] * 19 + [True, True, False]
    assert pair.chosen.ids.dtype == np.int32 and pair.chosen.prompt_length == 19 and pair.branch == 19
    assert report["end added"] == 0 and report["pad token missing"] == 1


def test_chatml_several_turns(words):
    tokenizer = words(CHATML, eos="<|im_end|>")
    pair, _ = one(tokenizer, TURNS)
    turns = "<|im_start|> user \n sky ? <|im_end|> \n <|im_start|> assistant \n blue <|im_end|> \n"
    opened = " <|im_start|> user \n so green ? <|im_end|> \n <|im_start|> assistant \n"
    prompt = (turns + opened).split(" ")
    assert names(tokenizer, pair.chosen) == [*prompt, "*no", "*<|im_end|>", "\n"]
    assert names(tokenizer, pair.rejected) == [*prompt, "*yes", "*yes", "*<|im_end|>", "\n"]


def test_chatml_tools(words):
    tokenizer = words(CHATML, eos="<|im_end|>")
    pair, _ = one(tokenizer, {**TURNS, "tools": [{"name": "add"}]})
    assert names(tokenizer, pair.chosen)[:6] == ["<|im_start|>", "system", "\n", "Tools:", "add", "<|im_end|>"]
    without, _ = one(tokenizer, TURNS)
    assert pair.chosen.prompt_length == without.chosen.prompt_length + 7
    with pytest.raises(AssentError, match="tools need messages"):
        read([{"prompt": "p", "chosen": "a", "rejected": "b", "tools": [{"name": "add"}]}])


def test_llama3_ids(words):
    tokenizer = words(LLAMA3)
    pair, report = one(tokenizer, CHAT)
    v = tokenizer.get_vocab()
    a, b, n, e = v["<|start|>"], v["<|end|>"], v["\n"], v["<|eot|>"]
    prompt = [
        v["<s>"], a, v["system"], b, n, n, v["Be"], v["brief"], e,
        a, v["user"], b, n, n, v["two"], v["plus"], v["two"], v["?"], e,
        a, v["assistant"], b, n, n,
    ]  # fmt: skip
    assert pair.chosen.ids.tolist() == [*prompt, v["four"], v["."], e]
    assert pair.chosen.mask.tolist() == [False] * 24 + [True] * 3
    assert pair.rejected.ids.tolist() == [*prompt, v["five"], e] and pair.rejected.prompt_length == 24
    assert pair.chosen.ids.tolist().count(tokenizer.bos_token_id) == 1 and report["template without end"] == 0


def test_gemma_ids_and_no_system_role(words):
    tokenizer = words(GEMMA)
    pair, _ = one(tokenizer, TURNS)
    turns = "<s> <start_of_turn> user \n sky ? <end_of_turn> \n <start_of_turn> model \n blue <end_of_turn> \n"
    prompt = (turns + " <start_of_turn> user \n so green ? <end_of_turn> \n <start_of_turn> model \n").split(" ")
    assert names(tokenizer, pair.chosen) == [*prompt, "*no", "*<end_of_turn>", "\n"]
    assert names(tokenizer, pair.rejected) == [*prompt, "*yes", "*yes", "*<end_of_turn>", "\n"]
    with pytest.raises(AssentError, match=r"row 0: .*System role not supported.*roles are: system, user"):
        one(tokenizer, CHAT)


def test_mistral_ids_without_opening(words):
    tokenizer = words(MISTRAL)
    pair, report = one(tokenizer, TURNS)
    prompt = ["<s>", "[INST]", "sky", "?", "[/INST]", "blue", "</s>", "[INST]", "so", "green", "?", "[/INST]"]
    assert names(tokenizer, pair.chosen) == [*prompt, "*no", "*</s>"]
    assert names(tokenizer, pair.rejected) == [*prompt, "*yes", "*yes", "*</s>"]
    assert report["reply opening differs"] == 0


def test_thinking_template_is_bounded_by_the_branch_point(words):
    tokenizer = words(THINKING, eos="<|im_end|>")
    pair, report = one(tokenizer, {**TURNS, "chosen": [say("assistant", "<think> so </think> no")]})
    prompt = "<|im_start|> user \n sky ? <|im_end|> \n <|im_start|> assistant \n blue <|im_end|> \n"
    prompt = (prompt + " <|im_start|> user \n so green ? <|im_end|> \n <|im_start|> assistant \n").split(" ")
    assert names(tokenizer, pair.chosen) == [*prompt, "*<think>", "*so", "*</think>", "*no", "*<|im_end|>", "\n"]
    assert names(tokenizer, pair.rejected) == [*prompt, "*yes", "*yes", "*<|im_end|>", "\n"]
    assert report["reply opening differs"] == 2 and report["earlier turns re-rendered"] == 0


def test_rewritten_earlier_turns_are_found(words):
    tokenizer = words(THINKING, eos="<|im_end|>")
    row = {
        "prompt": [say("user", "sky ?"), say("assistant", "<think> so </think> blue")],
        "chosen": [say("user", "green ?"), say("assistant", "no")],
        "rejected": [say("user", "green ?"), say("assistant", "yes")],
    }
    pair, report = one(tokenizer, row)
    prompt = (
        "<|im_start|> user \n sky ? <|im_end|> \n <|im_start|> assistant \n blue <|im_end|> \n <|im_start|> user \n"
    )
    prompt = prompt.split(" ")
    tail = ["*<|im_end|>", "*\n", "*<|im_start|>", "*assistant", "*\n"]
    assert names(tokenizer, pair.chosen) == [*prompt, "*green", "*?", *tail, "*no", "*<|im_end|>", "\n"]
    assert report["earlier turns re-rendered"] == 2 and report["dialogue branches early"] == 2


def test_a_template_that_swallows_the_completion_is_refused(words):
    tokenizer = words("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}")
    with pytest.raises(AssentError, match="leaves nothing of the completion"):
        one(tokenizer, TURNS)


def test_plain_text_ids(words):
    tokenizer = words()
    pair, report = one(tokenizer, {"prompt": "two plus two is", "chosen": " four .", "rejected": " five </s>"})
    v = tokenizer.get_vocab()
    prompt = [v["two"], v["plus"], v["two"], v["is"]]
    assert pair.chosen.ids.tolist() == [*prompt, v["four"], v["."], v["</s>"]]
    assert pair.rejected.ids.tolist() == [*prompt, v["five"], v["</s>"]]
    assert pair.chosen.mask.tolist() == [False] * 4 + [True] * 3
    assert report["end added"] == 1 and report["end already there"] == 1


@pytest.mark.parametrize("trim", [False, True])
def test_bytes_bpe_boundary_inside_a_token(bytes_bpe, trim):
    tokenizer = bytes_bpe(trim=trim)
    pair, _ = one(tokenizer, {"prompt": "Two plus two is ", "chosen": "four.", "rejected": "  blue"})
    prompt = ["<s>", "Two", "Ġplus", "Ġtwo", "Ġis"]
    # " four" is one token: its last characters are the completion's, so the token is
    assert names(tokenizer, pair.chosen) == [*prompt, "*Ġfour", "*.", "*</s>"]
    assert names(tokenizer, pair.rejected) == [*prompt, "Ġ", "*Ġ", "*Ġblue", "*</s>"]
    assert (pair.chosen.prompt_length, pair.rejected.prompt_length, pair.branch) == (5, 6, 5)


def test_one_character_in_several_tokens(bytes_bpe):
    tokenizer = bytes_bpe(begin=False)
    pair, _ = one(tokenizer, {"prompt": "é 🙃", "chosen": "🙃", "rejected": "x"})
    assert tokenizer.decode(pair.chosen.ids[pair.chosen.mask].tolist()) == "🙃</s>"
    assert tokenizer.decode(pair.chosen.ids[: pair.chosen.prompt_length].tolist()) == "é 🙃"


# ---- begin and end once -------------------------------------------------------------------------------------


def test_begin_token_is_never_doubled(bytes_bpe):
    tokenizer = bytes_bpe()
    pair, report = one(tokenizer, {"prompt": "<s>Two", "chosen": " plus", "rejected": " two"})
    assert names(tokenizer, pair.chosen) == ["<s>", "Two", "*Ġplus", "*</s>"]
    assert report["begin doubled"] == 2
    chat = bytes_bpe(LLAMA3)
    pair, report = one(chat, CHAT)
    assert pair.chosen.ids.tolist().count(chat.bos_token_id) == 1 and report["begin doubled"] == 0


def test_first_token_without_context_is_not_counted(words):
    tokenizer = words()
    pair, report = one(tokenizer, {"prompt": "", "chosen": "four .", "rejected": "five"})
    assert names(tokenizer, pair.chosen) == ["four", "*.", "*</s>"] and pair.chosen.prompt_length == 0
    assert report["first token without context"] == 2


def test_empty_completion_leaves_the_end_token(words):
    tokenizer = words()
    pair, _ = one(tokenizer, {"prompt": "two plus", "chosen": " two", "rejected": ""})
    assert names(tokenizer, pair.rejected) == ["two", "plus", "*</s>"] and pair.branch == 2


def test_template_without_end_is_told(words):
    tokenizer = words("{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}")
    pair, report = one(tokenizer, TURNS)
    assert names(tokenizer, pair.chosen)[-2:] == ["*assistant", "*no"]
    assert report["template without end"] == 2


# ---- truncation and losses ----------------------------------------------------------------------------------

LONG = {"prompt": "two plus two plus two is", "chosen": " four four", "rejected": " five"}


def test_prompt_is_cut_from_the_left_alike_on_both_sides(words):
    tokenizer = words()
    pair, report = one(tokenizer, LONG, max_length=6)  # chosen has 9 tokens: 3 come off both prompts
    assert names(tokenizer, pair.chosen) == ["plus", "two", "is", "*four", "*four", "*</s>"]
    assert names(tokenizer, pair.rejected) == ["plus", "two", "is", "*five", "*</s>"]
    assert report["prompt truncated"] == 1 and pair.branch == 3


def test_begin_token_stays_when_the_prompt_is_cut(bytes_bpe):
    tokenizer = bytes_bpe()
    row = {"prompt": "Two plus two plus two is", "chosen": " four", "rejected": " blue"}
    pair, _ = one(tokenizer, row, max_length=5)
    assert names(tokenizer, pair.chosen) == ["<s>", "Ġtwo", "Ġis", "*Ġfour", "*</s>"]


def test_rows_that_do_not_fit_are_dropped_and_refused_above_the_share(words):
    tokenizer = words()
    short = {"prompt": "sky is", "chosen": " blue", "rejected": " green"}
    records = read([LONG] + [{**short, "prompt": f"sky is {'is ' * i}"} for i in range(2)])
    with pytest.raises(AssentError, match=r"1 of 3 rows \(33.3%\) would be lost: 1 too long, more than 5%.*allow_loss"):
        tokenise(records, tokenizer, max_length=8, truncation="drop")
    tokens = tokenise(records, tokenizer, max_length=8, truncation="drop", allow_loss=True)
    assert [row.index for row in tokens.rows] == [1, 2] and tokens.lost == 1 and tokens.total == 3
    assert tokens.report["too long"] == 1 and tokens.report.events["too long"].rows == [0]
    assert len(tokenise(records, tokenizer, max_length=8, truncation="drop", max_loss_share=0.34)) == 2
    with pytest.raises(
        AssentError,
        match=r"every row would be lost: 3 too long; raise max_length \(longest sequence 9 tokens, limit 2\)",
    ):
        tokenise(records, tokenizer, max_length=2, allow_loss=True)


def test_the_completion_is_never_cut(words):
    tokenizer = words()
    row = {"prompt": "two plus", "chosen": " four four four four", "rejected": " five"}
    assert len(one(tokenizer, row, max_length=6)[0].chosen) == 6
    with pytest.raises(AssentError, match="every row would be lost"):
        one(tokenizer, row, max_length=5)


# ---- labels, other kinds, refusals --------------------------------------------------------------------------


def test_labels_point_into_the_vocabulary(words):
    rows = [
        {"prompt": "sky", "chosen": " blue", "rejected": " green", "annotator": "ben", "weight": 2, "margin": 1.5},
        {
            "prompt": "sky",
            "chosen": " green",
            "rejected": " blue",
            "annotator": "anna",
            "gold": False,
            "p_chosen": 0.75,
        },
    ]
    tokens = tokenise(read(rows), words())
    (pair,) = tokens.rows
    assert tokens.annotators == ("anna", "ben")
    assert pair.labels == ((1, 1.0, 2.0, False), (0, 0.25, 1.0, False))
    assert pair.weight == 3.0 and pair.target == pytest.approx(0.75) and pair.columns == {"margin": 1.5}
    later = tokenise(read(rows), words(), annotators=("ben", "carl"))
    assert later.annotators == ("ben", "carl", "anna") and later.rows[0].labels[1][0] == 2
    assert later.report["new annotators"] == 1


def test_examples_and_groups(words):
    tokenizer = words()
    sft = tokenise(read([{"prompt": "sky is", "completion": " blue", "weight": 0.5}]), tokenizer)
    assert names(tokenizer, sft.rows[0].sequence) == ["sky", "is", "*blue", "*</s>"]
    assert sft.rows[0].label is None and sft.rows[0].weight == 0.5
    group = tokenise(read([{"prompt": "sky is", "completions": [" blue", " so green"], "ranks": [1, 2]}]), tokenizer)
    assert [names(tokenizer, s) for s in group.rows[0].sequences] == [
        ["sky", "is", "*blue", "*</s>"],
        ["sky", "is", "*so", "*green", "*</s>"],
    ]
    assert group.rows[0].scores == (-1.0, -2.0)


def test_tokenizers_that_cannot_serve_are_refused(words):
    class Slow:
        is_fast = False
        name_or_path = "old"

    with pytest.raises(AssentError, match=r"tokenizer 'old' gives no character offsets"):
        one(Slow(), LONG)
    with pytest.raises(AssentError, match=r"has no chat template; set tokenizer.chat_template"):
        one(words(), CHAT)
    with pytest.raises(AssentError, match="neither a pad nor an end token"):
        one(words(eos=None), LONG)
    padded, report = one(words(eos=None, pad="<unk>"), LONG)
    assert report["end token missing"] == 1 and padded.chosen.ids[-1] == words().get_vocab()["four"]
    assert tokenise(read([LONG]), words()).pad_id == words().eos_token_id


def test_completion_must_end_with_the_assistant(words):
    with pytest.raises(AssentError, match="ends with a message of 'user'; expected 'assistant'"):
        one(words(CHATML), {**TURNS, "rejected": [say("user", "sky ?")]})


def test_sides_with_their_own_prompts(words):
    tokenizer = words()
    row = {"prompt": "sky is", "rejected_prompt": "so sky is", "chosen": " blue", "rejected": " blue"}
    pair, _ = one(tokenizer, row)
    assert names(tokenizer, pair.rejected) == ["so", "sky", "is", "*blue", "*</s>"]
    assert pair.branch == 0 == branch_point(pair.chosen, pair.rejected)


@pytest.mark.data
def test_harmless_dialogues_end_their_prompts_at_a_turn(real_data, bytes_bpe):
    tokenizer = bytes_bpe()
    records = read(real_data / "hh_harmless.jsonl.gz")
    assert len(records) == 1700 and records.report["dialogue split"] == 1700
    assert all(pair.prompt.endswith("\n\nAssistant:") for pair in records.rows)
    records = read(real_data / "hh_harmless.jsonl.gz", limit=200)
    tokens = tokenise(records, tokenizer, progress=False)
    for pair, row in zip(tokens.rows, records.rows, strict=True):
        counted = tokenizer.decode(pair.chosen.ids[pair.chosen.mask].tolist())
        assert counted == row.chosen + "</s>" and pair.branch == pair.chosen.prompt_length
