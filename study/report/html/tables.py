"""Turn tables into HTML: the text that a reader sees, and the values for sorting and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from numbers import Integral, Real

from markupsafe import Markup

from study.report.figures.look import Look
from study.report.html.parts import Interval, Table, TableCell, TableColumn, Value
from study.report.html.words import DASH, inline, isolate, link, number, plain

TEXT = 100  # the characters of a row that fit into a column of text
STACKED = 0.55  # the share of the width of a mean and its interval that counts, since one is above the other
TONE_SIGNS = {"": "", "good": "✓", "bad": "✗", "unsure": "?"}  # a verdict is a sign and a word, never a colour alone


def swatch(look: Look) -> Markup:
    """The line and marker of a condition, as in the figures."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><path class="s-c{0}" d="M1 6H27"{1}/>'
        '<path class="f-c{0}" transform="translate(14 6)" d="{2}"/></svg>'
    ).format(look.slot, Markup(f' stroke-dasharray="{look.dash}"' if look.dash else ""), look.shape)


def missing(value: object) -> bool:
    """Whether a value is None, NaN or pandas' NA."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def value_html(value: Value, column: TableColumn, n: int | None = None) -> tuple[Markup, dict[str, str]]:
    """The markup of a value, and its data attributes (v, l, h, n) for sorting and CSV.

    `n` is a number of seeds that is shown elsewhere, so that it is not repeated here.
    """
    if missing(value):
        return Markup(DASH), {"v": ""}
    if isinstance(value, TableCell):
        text = isolate(value.text)
        text = link(text, value.href) if value.href else text
        if value.tone:
            text = Markup('<span class="tone {0}"><span aria-hidden="true">{1}</span> {2}</span>').format(
                value.tone, TONE_SIGNS[value.tone], text
            )
        if value.look:
            text = Markup('<span class="named">{} <span>{}</span></span>').format(swatch(value.look), text)
        return text, {"v": _raw(value.text if value.sort is None else value.sort)}
    if isinstance(value, Interval):
        if missing(value.mean):
            return Markup(DASH), {"v": "", "l": "", "h": "", "n": str(value.n)}
        bounds = [b for b in (value.low, value.high) if b is not None and not missing(b)]
        small = (
            [f"{number(bounds[0], column.format)} to {number(bounds[1], column.format)}"] if len(bounds) == 2 else []
        )
        small += [] if value.n == n else [f"n\u00a0=\u00a0{value.n}"]
        text = Markup("{} <small>{}</small>" if small else "{}").format(
            number(value.mean, column.format), ", ".join(small)
        )
        raws = [_raw(b) if b is not None and not missing(b) else "" for b in (value.low, value.high)]
        return text, {"v": _raw(value.mean), "l": raws[0], "h": raws[1], "n": str(value.n)}
    if type(value).__name__ in ("bool", "bool_"):
        return Markup("yes" if value else "no"), {}
    if isinstance(value, Real):
        text, raw = number(value, column.format), _raw(value)
        return Markup("{}").format(text), {} if text == raw else {"v": raw}
    return isolate(str(value)), {}


def _raw(value: object) -> str:
    if isinstance(value, Integral) and type(value).__name__ not in ("bool", "bool_"):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return f"{number:.10g}" if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"
    return plain(str(value))


def _words(value: str | TableCell) -> str:
    return value.text if isinstance(value, TableCell) else value


def _numeric(column: TableColumn, values: Sequence[Value]) -> bool:
    """Whether a column is aligned to the right: its values are all numbers, intervals or cells that sort by one."""
    if column.numeric is not None:
        return column.numeric
    numbers = [
        isinstance(v, (Interval, Real))
        or (isinstance(v, TableCell) and isinstance(v.sort, Real) and not (v.look or v.tone))
        for v in values
        if not missing(v)
    ]
    return all(numbers) if numbers else bool(column.format)


def table_html(table: Table, ident: str, folded: bool = False) -> Markup:
    """The HTML of a table, in a scrolling box of its own that can have the focus."""
    rows = table.cells
    columns = [[row[i] for row in rows] for i in range(len(table.columns))]
    numeric = [_numeric(c, values) for c, values in zip(table.columns, columns, strict=True)]
    counts = [{v.n for v in values if isinstance(v, Interval)} for values in columns]
    shared = [
        next(iter(found)) if len(found) == 1 and len(rows) > 1 else None for found in counts
    ]  # n, said once in the head
    lines, widths = [], [0.0] * len(columns)
    for row in rows:
        line = []
        for i, (value, column) in enumerate(zip(row, table.columns, strict=True)):
            text, data = value_html(value, column, shared[i])
            widths[i] = max(widths[i], len(text.striptags()) * (STACKED if isinstance(value, Interval) else 1))
            head = i == 0 and not numeric[0]
            long = "long" if len(text) > 60 and isinstance(value, str | TableCell) and len(_words(value)) > 60 else ""
            kind = "n" if numeric[i] else long
            attributes = (f' class="{kind}"' if kind else "") + (' scope="row"' if head else "")
            attributes += "".join(f' data-{key}="{escape(raw)}"' for key, raw in data.items())
            line.append(f"<{'th' if head else 'td'}{attributes}>{text}</{'th' if head else 'td'}>")
        lines.append(f"<tr>{''.join(line)}</tr>")
    units = [
        ", ".join(filter(None, [plain(c.unit), f"n\u00a0=\u00a0{n}" if n is not None else ""]))
        for c, n in zip(table.columns, shared, strict=True)
    ]
    heads = Markup("").join(
        Markup('<th scope="col" data-name="{}"{}>{}{}</th>').format(
            plain(c.name),
            Markup(' class="n"') if n else "",
            isolate(c.label or c.name),
            Markup(' <span class="unit">{}</span>').format(unit) if unit else "",
        )
        for c, n, unit in zip(table.columns, numeric, units, strict=True)
    )
    broad = sum(min(width, 28) + 3 for width in widths) > TEXT
    kind = "table-box folded" if folded else "table-box wide" if broad else "table-box"
    return Markup(
        '<div class="{0}" id="{1}"><div class="scroll" role="group" tabindex="0" aria-labelledby="{1}-caption">'
        '<table><caption id="{1}-caption">{2}</caption><thead><tr>{3}</tr></thead>'
        "<tbody>\n{4}\n</tbody></table></div></div>"
    ).format(kind, ident, inline(table.caption), heads, Markup("\n".join(lines)))
