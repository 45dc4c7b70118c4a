"""The view "rationale": a question about both responses of a pair, answered by why one is better.  arXiv:2407.14477."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from assent.data.fields import plain
from assent.errors import AssentError
from assent.records import Content, Example, Pair

QUESTION = "Which of the two responses below is the better answer to this prompt, and follows it more closely?"
ABOVE, BELOW = "Response above", "Response below"


def rationale_view(pair: Pair, seed: int | None = 0) -> Example:
    """The sequence whose completion is the pair's rationale; its prompt holds the prompt and both responses.

    seed: the side that stands above is drawn for each pair from the seed and the pair's words, and the prompt does not say
    which one won, so that the order gives nothing away.  None puts the chosen one above always, as the released code does.
    Raises AssentError where the pair has no rationale.
    """
    if pair.rationale is None:
        raise AssentError(
            "the pair has no rationale; add a column 'rationale' or choose an objective without that term"
        )
    above, below = pair.chosen, pair.rejected
    if seed is not None and _first_below(pair, seed):
        above, below = below, above
    text = f"{plain(pair.prompt)}\n\n{QUESTION}\n\n{ABOVE}: {plain(above)!r}\n{BELOW}: {plain(below)!r}"
    prompt, completion = _as(pair.prompt, text, pair.rationale)
    return Example(prompt, completion, weight=pair.weight, row=pair.labels[0].rows[0] if pair.labels[0].rows else 0)


def order_leaks(pairs: Iterable[Pair], seed: int | None = 0) -> float:
    """Share of the views in which the chosen response stands above: near 1/2 where the order gives nothing away."""
    above = [seed is None or not _first_below(pair, seed) for pair in pairs]
    if not above:
        raise AssentError("order_leaks was given no pairs; expected at least one")
    return sum(above) / len(above)


def _first_below(pair: Pair, seed: int) -> bool:
    # the two responses in an order of their own, so that a pair told the other way round draws the same prompt
    words = sorted((plain(pair.chosen), plain(pair.rejected)))
    coin = Random(f"{seed}\0{plain(pair.prompt)}\0{words[0]}\0{words[1]}").random() < 0.5
    return coin == (plain(pair.chosen) == words[0])


def _as(prompt: Content, question: str, answer: str) -> tuple[Content, Content]:
    """Question and answer in the form of the data: text, or one user and one assistant message."""
    if isinstance(prompt, str):
        return question + "\n\n", answer
    return [{"role": "user", "content": question}], [{"role": "assistant", "content": answer}]
