"""What every verb does with mistakes: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from assent.errors import AssentError

_DISK = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_ACCESS = {
    errno.EACCES: "permission is denied",
    errno.EROFS: "the file system is read-only",
    errno.EISDIR: "it is a folder where a file is expected",
    errno.ENOTDIR: "a part of the path is a file where a folder is expected",
    errno.ENOENT: "there is no such file or folder",
}


def stop(sentence: str, code: int = 2) -> NoReturn:
    """Say why on stderr and end the process."""
    said, shown = sentence, ""
    lines = sentence.split("\n")
    if len(lines) > 2 and set(lines[-1].strip()) == {"^"}:  # a formula with its offending part marked keeps its columns
        said, shown = "\n".join(lines[:-2]), "\n".join(["", *lines[-2:]])
    print(f"assent: {' '.join(said.split())}{shown}", file=sys.stderr)
    raise SystemExit(code)


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The verb with a user's mistakes, a full disk and Ctrl-C turned into a sentence and an exit code."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except AssentError as error:
            stop(str(error))
        except KeyboardInterrupt as interruption:
            stop(str(interruption) or "interrupted; nothing half-written was left in place", 130)
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing reads on; keep the interpreter's exit quiet
            raise SystemExit(0) from None
        except OSError as error:
            reason = (_DISK | _ACCESS).get(error.errno or 0)
            if reason is None:
                raise
            what = f"{error.filename}: {reason}" if error.filename else reason
            stop(f"{what}; free it or choose another place, then run the same command again")

    return run
