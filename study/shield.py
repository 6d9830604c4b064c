"""A section in which the study's own words (titles, claims, sources) are text, whatever markup they may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from study.page import Section, Table, isolate, literal
from study.spec import Spec

MARKUP = re.compile(r"[*`\[\]]")


def shield(section: Section, words: Iterable[str]) -> Section:
    """The section with every occurrence of such a word as literal() in what is read as inline markup.

    Tables' cells and figures take words as they are and need no shield.
    """
    odd = {word for word in words if MARKUP.search(word) or isolate(word).startswith("<bdi>")}
    if not odd:
        return section
    pattern = re.compile("|".join(re.escape(word) for word in sorted(odd, key=lambda word: (-len(word), word))))

    def text(inline: str) -> str:
        return pattern.sub(lambda found: literal(found[0]), inline)

    tables: dict[int, Table] = {}  # by identity: the page asks whether a figure's table is one of the section's own

    def table(old: Table) -> Table:
        return tables.setdefault(id(old), replace(old, caption=text(old.caption)))

    return replace(
        section,
        question=text(section.question),
        answer=[text(part) for part in section.answer],
        note=text(section.note),
        figures=[replace(f, caption=text(f.caption), table=table(f.table)) for f in section.figures],
        tables=[table(t) for t in section.tables],
        terms=[replace(t, name=text(t.name), text=text(t.text)) for t in section.terms],
        listings=[replace(item, title=text(item.title)) for item in section.listings],
        made=section.made and replace(section.made, text=text(section.made.text)),
    )


def words(spec: Spec) -> set[str]:
    """Everything that a study file says in words of its own."""
    runs = spec.published.runs if spec.published else ()
    named = [*spec.conditions, *(run.condition for run in runs)]
    return {
        spec.title,
        spec.published.source if spec.published else "",
        *(word for c in named for word in (c.name, c.title)),
        *(word for claim in spec.claims for word in (claim.id, claim.sentence)),
        *(run.origin for run in runs),
        *(sweep.title for sweep in spec.sweeps),
        *spec.groups.values(),
    } - {""}
