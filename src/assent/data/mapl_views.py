"""MAPL's data: prompts with instructions that a program can check, for the losses ``mapl_intra`` and its other level.

Intra-sample: one response under two prompts of the same instructions, of which it obeys more in the better one.
Inter-sample (reconstructed): both responses under x+ (obeyed by the chosen side only) and x- (by the rejected one only).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from assent.data.dialogue import ASSISTANT
from assent.data.fields import plain
from assent.data.instructions import GENERATORS, Generator, Instruction, drawn
from assent.errors import AssentError
from assent.records import Content, Example, Pair

Views = dict[str, Example]


def intra_views(pair: Pair, rng: Random, generators: Sequence[Generator] = GENERATORS, most: int = 3) -> Views | None:
    """The four views of ``mapl_intra``, or None where a response allows no instruction.

    For each side up to ``most`` generators are drawn; in half of the cases (i) the response obeys all of the better prompt
    and not all of the worse, in the others (ii) none of the worse and at least one of the better.  Both prompts of a side
    carry the same generators in the same order.
    """
    views: Views = {}
    for side, response, prompt in _sides(pair):
        both = _both_ways(plain(response), rng, generators, most)
        if not both:
            return None
        flipped = {i for i in range(len(both)) if rng.random() < 0.5} or {rng.randrange(len(both))}
        if rng.random() < 0.5:
            better, worse = [t for t, _ in both], [f if i in flipped else t for i, (t, f) in enumerate(both)]
        else:
            better, worse = [t if i in flipped else f for i, (t, f) in enumerate(both)], [f for _, f in both]
        views[f"{side}@intra_better"] = Example(_asked(prompt, better), response)
        views[f"{side}@intra_worse"] = Example(_asked(prompt, worse), response)
    return views


def inter_views(pair: Pair, rng: Random, generators: Sequence[Generator] = GENERATORS, most: int = 3) -> Views | None:
    """The four views of ``mapl_inter_reconstructed``, or None where no instruction tells the two responses apart.

    Instructions that both sides obey, or neither does, carry no signal at this level and are left out.
    """
    (_, chosen, prompt), (_, rejected, _) = _sides(pair)
    views: Views = {}
    for side, own, other in (("chosen", chosen, rejected), ("rejected", rejected, chosen)):
        found = [made for g in drawn(generators, rng) if (made := g(plain(own), True, rng)) is not None]
        found = [made for made in found if not made.obeyed(plain(other))][:most]
        if not found:
            return None
        asked = _asked(prompt, found)
        views[f"chosen@for_{side}"] = Example(asked, chosen)
        views[f"rejected@for_{side}"] = Example(asked, rejected)
    return views


def _sides(pair: Pair) -> list[tuple[str, Content, Content]]:
    other = pair.prompt if pair.rejected_prompt is None else pair.rejected_prompt
    return [("chosen", pair.chosen, pair.prompt), ("rejected", pair.rejected, other)]


def _both_ways(
    response: str, rng: Random, generators: Sequence[Generator], most: int
) -> list[tuple[Instruction, Instruction]]:
    """Up to ``most`` instructions, each as one that the response obeys and one that it does not."""
    found = []
    for generator in drawn(generators, rng)[: rng.randint(1, most)]:
        true, false = generator(response, True, rng), generator(response, False, rng)
        if true is not None and false is not None:
            found.append((true, false))
    return found


def _asked(prompt: Content, instructions: Sequence[Instruction]) -> Content:
    """The prompt with the instructions at the end of what the user says last."""
    words = " ".join(i.text for i in instructions)
    if isinstance(prompt, str):
        turn = prompt.rfind(ASSISTANT)
        body = prompt[:turn] if turn >= 0 and not prompt[turn + len(ASSISTANT) :].strip() else prompt.rstrip()
        return f"{body}\n{words}{prompt[len(body) :]}"
    last = max((i for i, m in enumerate(prompt) if m["role"] == "user"), default=None)
    if last is None:
        raise AssentError("MAPL was given a prompt without a message of the user; expected one to add instructions to")
    told = dict(prompt[last]) | {"content": f"{prompt[last]['content']}\n{words}"}
    return [*prompt[:last], told, *prompt[last + 1 :]]
