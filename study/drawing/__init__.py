"""How figures look, and their SVG: what study/plots.py draws with."""
