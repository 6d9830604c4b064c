"""The comparisons by which a claim can be judged: each is an entry that says what a claim must give, and how it reads.

`analysis/ledger.py` has a judge for each, under the same key.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from study.codehash import Origin, origin
from study.errors import SpecError, check_name, refused

Bound = Annotated[float, Field(allow_inf_nan=False)] | str  # a number, or an expression that `value` knows
FORMULA = re.compile(
    r"(?:log\((?P<log>vocabulary)\)|entropy\((?P<entropy>characters)\)|sqrt\((?P<sqrt>[0-9]{1,9})\))"
    r"(?:\s*(?P<sign>[+-])\s*(?P<offset>[0-9]+(?:\.[0-9]*)?|\.[0-9]+))?"
)


@dataclass(frozen=True)
class Partner:
    """A key that a claim must give together with a comparison."""

    key: str
    kind: Any  # the type of its number, as pydantic takes it


@dataclass(frozen=True)
class Comparison:
    """A way to compare what a claim measures with a bound, with a condition, or with nothing else."""

    key: str  # in the study file
    # The condition under which a claim holds, as the page prints it. {value} stands for the bound or for the title of
    # the condition, {partner} for the partner's number, {unit} for the unit of both, and {minus} for the words about
    # the condition that is subtracted.
    words: str
    kind: Any = Bound  # the type of its value, as pydantic takes it: bool, say, for a key that is only switched on
    partner: Partner | None = None
    # Whether its value is the name of a condition, and not a bound. The claim is then about the difference from that
    # condition, paired by seed. Any other claim is about a difference only where it gives `minus`, too.
    names_a_condition: bool = False
    # Whether its judge leaves the verdict open and gives a p-value, which is adjusted over all claims of the ledger by
    # such comparisons. Such a claim holds where the difference is significant and below 0.
    adjusted: bool = False
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)

    @property
    def takes_a_bound(self) -> bool:
        """Whether its value is a number or an expression for one."""
        return self.kind is Bound

    def check(self, given: Any) -> None:
        """Check the value that a claim gives. SpecError: it is no expression that a bound can have.

        Whether a condition has a name is checked where the conditions are known.
        """
        if self.takes_a_bound:
            value(given, vocabulary=2)


COMPARISONS: dict[str, Comparison] = {}


def register(entry: Comparison) -> Comparison:
    """Make a comparison known by its key. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.key, kinds())
    if entry.partner is not None and entry.partner.key in {*kinds(), entry.key}:
        raise refused(entry, "the key of its partner is taken; choose another one")
    if entry.names_a_condition and entry.kind is not str:
        raise refused(entry, "its value is the name of a condition; expected kind=str")
    COMPARISONS[entry.key] = entry
    return entry


def kinds() -> dict[str, Any]:
    """The keys of all comparisons, each followed by its partner, with the types of their values."""
    found: dict[str, Any] = {}
    for entry in COMPARISONS.values():
        found[entry.key] = entry.kind
        if entry.partner is not None:
            found[entry.partner.key] = entry.partner.kind
    return found


def value(given: float | str | None, vocabulary: int, entropy: float = math.nan) -> float:
    """The value of a number, or of an expression, in which a number may be added or subtracted.

    The expressions are `log(vocabulary)`, `entropy(characters)` and the square root of a number, as in `sqrt(100)`.
    """
    if given is None:
        return math.nan
    if not isinstance(given, str):
        return float(given)
    found = FORMULA.fullmatch(given.strip())
    if not found:
        raise SpecError(f"expected a number, log(vocabulary), entropy(characters) or sqrt(100), got {given!r:.60}")
    base = math.log(vocabulary) if found["log"] else entropy if found["entropy"] else math.sqrt(int(found["sqrt"]))
    return base + (float(found["sign"] + found["offset"]) if found["sign"] else 0.0)


# -- the entries ------------------------------------------------------------------------------------------------------

register(
    Comparison(
        "near",
        words="{value} ± {partner}{unit}, every seed{minus}",
        partner=Partner("within", Annotated[float, Field(allow_inf_nan=False, ge=0)]),
    )
)
register(Comparison("above", words="above {value}{unit}, every seed{minus}"))
register(Comparison("below", words="below {value}{unit}, every seed{minus}"))
register(
    Comparison("less_than", words="less than {value}, paired by seed", kind=str, names_a_condition=True, adjusted=True)
)
register(
    Comparison(
        "equivalent_to",
        words="within ± {partner}{unit} of {value}, paired by seed",
        kind=str,
        partner=Partner("margin", Annotated[float, Field(allow_inf_nan=False, gt=0)]),
        names_a_condition=True,
    )
)
