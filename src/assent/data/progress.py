"""A progress bar on stderr for work that takes long enough to be waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WORTH = 5_000


@contextmanager
def track(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """``with track("tokenising", n, shown=True) as advance: advance(k)``; silent for small work."""
    if not shown or total < _WORTH:
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
