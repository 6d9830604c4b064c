"""Show the words of a study (titles, claims, sources) as plain text, whatever markup they contain."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from study.report.html.page import Section, Table
from study.report.html.words import isolate, literal
from study.spec.records import Spec

MARKUP = re.compile(r"[*`\[\]]")


def words(spec: Spec) -> set[str]:
    """All texts in a study file that its author wrote for readers."""
    runs = spec.published.runs if spec.published else ()
    named = [*spec.conditions, *(run.condition for run in runs)]
    found = {
        spec.title,
        spec.published.source if spec.published else "",
        spec.data.about or "",
        *(word for c in named for word in (c.name, c.title)),
        *(word for claim in spec.claims for word in (claim.id, claim.sentence)),
        *(run.origin for run in runs),
        *(sweep.title for sweep in spec.sweeps),
        *spec.groups.values(),
    }
    return found - {""}


@dataclass(frozen=True)
class Shield:
    """Protects the words of a study with literal() where inline markup is read. Cells and figures read no markup."""

    words: frozenset[str]

    @classmethod
    def of(cls, spec: Spec) -> Shield:
        """The shield of a study: its words that could be read as markup, or change the direction of the text around."""
        return cls(frozenset(w for w in words(spec) if MARKUP.search(w) or isolate(w).startswith("<bdi>")))

    def text(self, inline: str) -> str:
        """Protect the study's words in inline markup. Of two words that begin alike, the longer one is protected."""
        if not self.words:
            return inline
        longest = sorted(self.words, key=lambda word: (-len(word), word))
        return re.sub("|".join(map(re.escape, longest)), lambda found: literal(found[0]), inline)

    def section(self, section: Section) -> Section:
        """The section with the study's words protected in all its texts."""
        tables: dict[int, Table] = {}  # by identity: the page asks whether a figure's table is one of the section's own

        def table(old: Table) -> Table:
            return tables.setdefault(id(old), replace(old, caption=self.text(old.caption)))

        return replace(
            section,
            question=self.text(section.question),
            answer=[self.text(part) for part in section.answer],
            figures=[replace(f, caption=self.text(f.caption), table=table(f.table)) for f in section.figures],
            tables=[table(t) for t in section.tables],
            terms=[replace(t, name=self.text(t.name), text=self.text(t.text)) for t in section.terms],
            listings=[replace(item, title=self.text(item.title)) for item in section.listings],
            made=section.made and replace(section.made, text=self.text(section.made.text)),
        )
