"""Turn words and numbers into HTML: they are escaped, isolated and typeset, with a little inline markup."""

from __future__ import annotations

import math
import re
import unicodedata
from numbers import Integral

from markupsafe import Markup

DASH = "–"  # the text of a missing value


def plain(text: str) -> str:
    """The text without control characters and lone surrogates, for an attribute, a title, an SVG or a CSV."""
    text = str(text).replace("\n", " ").replace("\t", " ")
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs") and ord(c) & 0xFFFE != 0xFFFE)


def verbatim(text: str) -> str:
    """A block of text with its line breaks and tabs, but without other control characters."""
    return "".join(c for c in text if c in "\n\t" or c == plain(c))


def isolate(text: str) -> Markup:
    """Escape a text, and put it in <bdi> where a character could change the direction of the text around it."""
    text = plain(text)
    turns = any(unicodedata.bidirectional(c) not in _CALM for c in text)
    return Markup("<bdi>{}</bdi>").format(text) if turns else Markup("{}").format(text)


def literal(text: str) -> str:
    """Mark words of a user (a title, a name, a word of the data) in inline markup, so that they are never parsed."""
    return f"\x02{plain(text)}\x03"


_CALM = {"L", "EN", "ES", "ET", "CS", "NSM", "BN", "B", "S", "WS", "ON", ""}
_INLINE = re.compile(
    r"\x02(?P<literal>[^\x03]*)\x03"
    r"|`(?P<code>(?:\x02[^\x03]*\x03|[^`\x02])+)`"
    r"|\*\*(?P<bold>(?:\x02[^\x03]*\x03|`[^`]*`|[^*\x02])+)\*\*"
    r"|\[(?P<label>(?:\x02[^\x03]*\x03|[^\]\x02])+)\]\((?P<href>[^()\s\x02]+)\)"
)


def inline(text: str) -> Markup:
    """The HTML of a text with `code`, **bold**, [a link](#anchor) and literal() words. All else is escaped."""
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts.append(Markup("{}").format(plain(text[end : match.start()])))
        end = match.end()
        if match["literal"] is not None:
            parts.append(isolate(match["literal"]))
        elif match["code"] is not None:
            parts.append(Markup("<code>{}</code>").format(isolate(match["code"])))
        elif match["bold"] is not None:
            parts.append(Markup("<strong>{}</strong>").format(inline(match["bold"])))
        else:
            parts.append(link(inline(match["label"]), match["href"]))
    return Markup("").join([*parts, Markup("{}").format(plain(text[end:]))])


def link(text: Markup, href: str) -> Markup:
    """A link within the page, to a file beside it or to the web. ValueError: it has another scheme."""
    if not safe(href):
        raise ValueError(f"link to {href!r}: #anchor, a relative path or https:// would do")
    return Markup('<a href="{}">{}</a>').format(href, text)


def safe(href: str) -> bool:
    return bool(re.match(r"https?://|#|mailto:", href)) or not re.search(r"[:\\\x00-\x20]|^//", href)


def number(value: float, spec: str = "") -> str:
    """A number with a true minus, commas between thousands, and 10⁻⁵ for e-05.

    It has four significant digits, unless `spec` says otherwise.
    """
    if isinstance(value, Integral) and not spec:
        return f"{int(value):,}".replace("-", "−")
    if not math.isfinite(value):
        return DASH if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = format(float(value), spec or ".4g")
    if not re.search(r"[1-9]", text.partition("e")[0]):
        text = text.partition("e")[0].replace("-", "").replace("+", "")  # no sign and no power before a zero
    return power(text).replace("-", "−")


def power(text: str) -> str:
    """Replace the exponent of a number that Python printed by a power of ten."""
    text = text.replace("e+00", "").replace("e-00", "")
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"e([+-]?)0*(\d+)", lambda m: "×10" + (m[1].strip("+") + m[2]).translate(raised), text)
