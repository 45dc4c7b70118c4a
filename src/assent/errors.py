"""Errors that a user can mend: what was passed, what was expected, what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class AssentError(ValueError):
    """A user's mistake, told in one sentence; the command line shows it without a traceback and exits with 2."""


_MANY = 40
"""A sentence with more names than this is not read."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known names, or all of them when none is near and they are few.

    >>> did_you_mean("dop", ["dpo", "ipo"])
    "did you mean 'dpo'?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    near.sort(key=lambda other: sorted(other) != sorted(name))  # letters in another order are the likeliest slip
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    if len(known) > _MANY:
        return f"none of the {len(known)} known names is near it"
    return "known: " + ", ".join(known)


def reason(error: OSError) -> str:
    """Why a file could not be read or written, in words: a full disk by that name.

    >>> reason(OSError(errno.ENOSPC, "No space left on device"))
    'the disk is full'
    """
    return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror or error)
