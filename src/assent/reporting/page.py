"""One HTML file that needs nothing else: templates, number formats, safe embedding, writing in one move."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from assent.errors import AssentError
from assent.reporting.text import excerpt, short, visible

_TEMPLATES = Path(__file__).parent / "templates"
_THIN = "\u202f"  # narrow no-break space between a number and its unit


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign, or a dash where there is none.

    >>> number(-0.125)
    '−0.12'
    """
    if value is None or not math.isfinite(value):
        return "–"
    shown = f"{value:,.{digits}f}"
    # "-0.00" would claim a sign that the digits do not carry.
    if float(shown.replace(",", "")) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage; shares that are not 0 or 1 are never shown as exactly 0 or 100.

    >>> percent(0.283, 1).replace(_THIN, " ")
    '28.3 %'
    """
    if value is None or not math.isfinite(value):
        return "–"
    least = 10.0**-digits
    if 0 < value < 0.005 * least:
        return f"<{_THIN}{least:.{digits}f}{_THIN}%"
    if 1 - 0.005 * least < value < 1:
        return f">{_THIN}{100 - least:.{digits}f}{_THIN}%"
    return number(100 * value, digits) + f"{_THIN}%"


def count(value: float | None) -> str:
    """A whole number with separators."""
    return "–" if value is None else f"{round(value):,}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them.

    >>> duration(75).replace(_THIN, " ")
    '1 min 15 s'
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{_THIN}h {minutes}{_THIN}min"
    return f"{minutes}{_THIN}min {rest}{_THIN}s" if minutes else f"{rest}{_THIN}s"


def plain(value: Any) -> Any:
    """The value as strict JSON has it: NaN and infinities are null, arrays are lists, text loses lone surrogates."""
    if isinstance(value, dict):
        return {visible(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def script_json(value: Any) -> Any:
    """JSON that may stand inside a script element: no character that could end it or open a comment."""
    from markupsafe import Markup

    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        number=number, percent=percent, count=count, duration=duration, script_json=script_json,
        visible=visible, short=short, excerpt=excerpt,
    )  # fmt: skip
    return env


def render(
    template: str, *, styles: Sequence[str] = (), scripts: Sequence[str] = (), live: Mapping[str, Any] | None = None,
    **context: Any,
) -> str:  # fmt: skip
    """The finished page: the template inside the base page, with style and script inlined and fenced by a policy.

    styles, scripts: further files of ``templates/``.  live: what a page that is served tells its script (``#live``); such a
    page may ask its own server and nobody else.
    """
    from markupsafe import Markup

    from assent import __version__

    style, script = (
        "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)
        for names in (("page.css", *styles), ("page.js", *scripts))
    )
    # The policy admits our one script by its hash, so that no text could ever run, escaped or not.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), digest=digest, version=__version__, live=live, **context)
    )


def save(html: str, path: str | os.PathLike[str]) -> Path:
    """Write the page aside and move it into place. Raises AssentError where the path cannot be written."""
    path = Path(path)
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except OSError as error:
        if handle is not None:
            Path(aside).unlink(missing_ok=True)
        raise AssentError(
            f"cannot write the page {str(path)!r} ({error.strerror or error}); choose a writable path."
        ) from None
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
