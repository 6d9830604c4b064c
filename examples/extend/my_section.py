"""A section of the page: the share of outputs below 0 at the start, for every condition."""

from study.report.html.page import Table, TableColumn
from study.report.sections.common import interval, made, name_cell
from study.report.sections.registry import Content, section


@section("Below zero", "How many outputs are below 0 at the start?", needs="the metric below_zero")
def below_zero_section(results):
    columns = [TableColumn("condition", "condition"), TableColumn("share", "outputs below 0", "%", ".1f")]
    found = {c: results.metric(c, "below_zero", 0, layer=1) for c in results.conditions}
    rows = [
        {"condition": name_cell(results, c), "share": interval(results.estimate(100 * values))}
        for c, values in found.items()
        if len(values)
    ]
    table = Table("Outputs of the first layer below 0, mean over seeds", columns, rows)
    return (
        Content([f"{len(rows)} conditions were measured."], tables=[table], made=made("", "metrics")) if rows else None
    )
