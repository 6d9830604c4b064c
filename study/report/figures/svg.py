"""Turn matplotlib's SVG into themed SVG: colours become classes, styles become attributes, and the bytes are stable."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from study.report.figures.look import NARROW, ROLE_OF, WIDE
from study.report.figures.style import styled
from study.report.figures.text import clean_text


@dataclass(frozen=True)
class Drawing:
    """A figure as themed SVG text, for a column of text and for a phone, with a text alternative."""

    name: str
    alt: str
    wide: str
    narrow: str


def draw(name: str, alt: str, drawing: Callable[[int], Figure]) -> Drawing:
    """Make a drawing at both widths: `drawing(width)` returns a figure from `new(..., width=width)`."""
    with styled():
        wide, narrow = (
            svg_text(drawing(width), f"{name}-{suffix}", alt) for width, suffix in ((WIDE, "w"), (NARROW, "n"))
        )
    return Drawing(name, alt, wide, narrow)


def svg_text(fig: Figure, ident: str, alt: str) -> str:
    """The themed SVG text of a figure. `ident` is the prefix of its ids.

    ValueError: there is no alt text, or a colour is not a role.
    """
    if not alt.strip():
        raise ValueError(f"figure {ident}: alt text is empty")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", ident):
        raise ValueError(f"figure name {ident!r}: lower-case words joined by '-' would do")
    buffer = io.StringIO()
    with styled(), mpl.rc_context({"svg.hashsalt": ident}):
        # savefig would draw everything a second time to settle the layout, but the first drawing settles it as well.
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(clean_text(buffer.getvalue()))
    for parent in root.iter():
        for child in [c for c in parent if _tag(c) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        _restyle(element, ident)
    for parent in root.iter():
        for child in [c for c in parent if c.get("fill") == "none" and "s-" not in c.get("class", "")]:
            parent.remove(child)  # the transparent backgrounds of figure and axes
    _shorten_ids(root, ident)
    _hoist(root)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-labelledby": f"{ident}-desc", "id": ident}
    desc = ET.Element("desc", id=f"{ident}-desc")
    desc.text = clean_text(alt).replace("\n", " ")
    root.insert(0, desc)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return re.sub(r">\s+<", "><", re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace(" />", "/>"))


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _restyle(element: ET.Element, ident: str) -> None:
    """Turn style="…" into classes f-<role>, s-<role> and attributes, remove namespaces, and round numbers."""
    element.tag = _tag(element)
    for key in [k for k in element.attrib if k.startswith("{")]:
        element.attrib[key.rpartition("}")[2]] = element.attrib.pop(key)
    element.attrib.pop("space", None)
    declared = [part.partition(":")[::2] for part in element.attrib.pop("style", "").split(";") if ":" in part]
    properties = {key.strip(): value.strip() for key, value in declared}
    for key in ("fill", "stroke"):
        if key in element.attrib:
            properties.setdefault(key, element.attrib.pop(key))
    classes = element.attrib.pop("class", "").split()
    if element.attrib.get("id", "").startswith("class-"):  # artist.set_gid("class-halo"): a class for style.css
        classes.append(element.attrib.pop("id").removeprefix("class-"))
    for key, value in properties.items():
        if key in ("fill", "stroke") and value != "none":
            role = ROLE_OF.get(value.lower())
            if role is None:
                raise ValueError(
                    f"figure {ident}: colour {value} is no role of the palette, so dark mode cannot change it"
                )
            classes.append(f"{key[0]}-{role}")
        elif key == "font":  # shorthand: "700 12px 'DejaVu Sans', …"
            size = re.search(r"([\d.]+)px", value)
            assert size, value
            element.set("font-size", _short(size[1]))
            if re.search(r"\b(bold|[6-9]00)\b", value):
                element.set("font-weight", "600")
        elif key == "font-weight":
            element.set(key, "600" if value in ("bold", "600", "700", "800") else "400")
        elif key != "font-family" and not (key in ("stroke-linejoin", "white-space") or value == "visible"):
            element.set(key, _rounded(value.removesuffix("px")))
    if classes:
        element.set("class", " ".join(classes))
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"]))
    for key in ("x", "y", "transform", "width", "height"):
        if key in element.attrib:
            element.set(key, _rounded(element.attrib[key]))
    if re.match(r"rotate\(-?0 ", element.get("transform", "")):
        del element.attrib["transform"]


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda m: _short(m[0]), text) if "." in text else text


def _short(value: str | float, digits: int = 2) -> str:
    text = f"{float(value):.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _path(d: str) -> str:
    """The path in relative steps of 0.1 (0.01 for short paths) between rounded points, so that errors do not add up."""
    tokens = re.findall(r"[MLCQZz]|-?[\d.]+(?:e-?\d+)?", d)
    unit, digits = (10, 1) if len(tokens) > 60 else (100, 2)
    out, here, i = [], (0, 0), 0
    while i < len(tokens):
        command = tokens[i]
        count = {"M": 2, "L": 2, "C": 6, "Q": 4}.get(command, 0)
        assert count or command in "Zz", f"path command {command} in {d[:80]}"
        points = [round(float(value) * unit) for value in tokens[i + 1 : i + 1 + count]]
        i += 1 + count
        if not count:
            out.append("z")
            continue
        x, y = points[-2:]
        if command == "M":
            out.append(f"M{_join(points, unit, digits)}")
        elif command == "L" and (x, y) == here:
            continue
        elif command == "L" and y == here[1]:
            out.append(f"h{_short((x - here[0]) / unit, digits)}")
        elif command == "L" and x == here[0]:
            out.append(f"v{_short((y - here[1]) / unit, digits)}")
        else:
            steps = [value - here[k % 2] for k, value in enumerate(points)]
            out.append(command.lower() + _join(steps, unit, digits))
        here = (x, y)
    return "".join(out)


def _join(values: Sequence[int], unit: int, digits: int) -> str:
    text = " ".join(_short(value / unit, digits) for value in values)
    return text.replace(" -", "-")


def _shorten_ids(root: ET.Element, ident: str) -> None:
    """Remove ids to which nothing refers, and rename the others to <ident>-0, <ident>-1, … in document order."""
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used.update(re.findall(r"url\(#([^)]+)\)", value))
            if key == "href":
                used.add(value.removeprefix("#"))
    names: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in used and old is not None:
            element.set("id", names.setdefault(old, f"{ident}-{len(names)}"))
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href":
                element.set(key, "#" + names[value.removeprefix("#")])
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m[1]]})", value))


_INHERITED = (
    "class",
    "stroke-width",
    "fill-opacity",
    "stroke-opacity",
    "stroke-dasharray",
    "stroke-linecap",
    "font-size",
)


def _hoist(element: ET.Element) -> None:
    """Move inherited properties that all children of a group share to the group. Remove groups without attributes."""
    for child in element:
        _hoist(child)
    children = [c for c in element if c.tag != "defs"]
    if element.tag == "g" and len(children) > 1:
        for key in _INHERITED:
            values = {c.get(key) for c in children}
            if key not in element.attrib and len(values) == 1 and None not in values:
                element.set(key, values.pop() or "")
                for child in children:
                    del child.attrib[key]
    flat: list[ET.Element] = []
    for child in list(element):
        flat += list(child) if child.tag == "g" and not child.attrib else [child]
        element.remove(child)
    element.extend(flat)
