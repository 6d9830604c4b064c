"""A plan as text: what would be trained, in which stacks and shards, and for how long."""

from __future__ import annotations

from collections import Counter

from study import words
from study.plan import cell_id, makespan, plan
from study.setup import Setup
from study.spec import Spec


def listing(spec: Spec, workers: int, engine: str = "auto") -> str:
    """Cells, stacks, shards and expected duration of a study, a line each."""
    found = words.load(spec.data, spec.folder)
    work = plan(spec, engine)
    workers = min(workers, len(work.shards))
    lines = [
        f"{spec.title}: {spec.name}, profile {spec.profile}",
        f"data: {spec.data.path}, {sum(map(len, found.splits.values())):,} words, {len(found.vocabulary)} characters, "
        f"{found.examples('train'):,} training examples",
        "",
        f"{len(work.uses)} cells:",
    ]
    for cell, uses in work.uses.items():
        words_ = {"condition": "", "published": "published ", "twin": "twin of " if cell.twin else "for the twin of "}
        readers = ", ".join(dict.fromkeys(words_[use.kind] + use.condition.name for use in uses))
        steps = f"{cell.training.steps:>9,} steps"
        lines.append(f"  {cell_id(cell)}  seed {cell.seed:<10} {cell.protocol:<7} {steps}  {readers}")
    lines += ["", f"{len(work.stacks)} stacks of one graph, schedule and engine:"]
    for stack in work.stacks:
        reasons = sorted({work.reasons[cell] for cell in stack.cells if cell in work.reasons})
        why = f" ({'; '.join(reasons)})" if reasons else ""
        shape = graph(stack.setup, len(found.vocabulary))
        lines.append(f"  {len(stack.cells):>3} models  {stack.engine}{why}  {shape}  {stack.training}")
    sizes = ", ".join(f"{n} of {size}" for size, n in Counter(len(shard.cells) for shard in work.shards).items())
    minutes = makespan(work.shards, workers) / 60
    lines += ["", f"{len(work.shards)} shards, longest first, by number of models: {sizes}"]
    lines += [f"{work.model_steps():,} model-steps: about {minutes:,.1f} minutes of training on {workers} workers"]
    return "\n".join(lines)


def graph(setup: Setup, vocabulary: int) -> str:
    """`3×10 → 200 tanh → 27`, with the norms."""
    parts = [f"{setup.context}×{setup.embedding_size}"]
    for (_, width), layer in zip(setup.shapes(vocabulary), setup.layers, strict=True):
        kind = ("BatchNorm" if layer.norm == "batch" else "", layer.activation if layer.activation != "linear" else "")
        parts.append(" ".join(filter(None, (str(width), *kind))))
    return " → ".join(parts)
