"""The ticks of an axis: their places and their labels."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from study.report.figures.look import NARROW


def tick(value: float, _position: float | None = None) -> str:
    """A tick label with a true minus, commas between thousands, and powers of ten, 10⁻⁴, below 0.001 and from 10⁶."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ""
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.6g}".replace("-", "−")
    power = math.floor(math.log10(abs(value)) + 1e-9)
    front = f"{value / 10**power:.3g}"
    text = f"10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return {"1": text, "-1": f"−{text}"}.get(front, f"{front}×{text}".replace("-", "−"))


def size(ax: Axes) -> tuple[float, float]:
    """The width and the height in pixels of the figure to which the axes belong."""
    fig = ax.get_figure(root=True)
    assert fig is not None
    return 72 * fig.get_figwidth(), 72 * fig.get_figheight()


def narrow(ax: Axes) -> bool:
    return size(ax)[0] <= NARROW + 1


class Decades(Locator):
    """Ticks at powers of ten on a log axis. Where these are too few, there are ticks at 1, 2, 5, or at plain steps."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self) -> Any:
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """About `most` ticks within the limits."""
        decades = math.log10(vmax / vmin) if vmin > 0 else math.inf
        if decades < 0.7:
            return MaxNLocator(self.most, steps=[1, 2, 2.5, 5, 10]).tick_values(vmin, vmax)
        subs = (1.0, 2.0, 5.0) if decades * 3 <= self.most + 1 else (1.0, 3.0) if decades < 2 else (1.0,)
        return LogLocator(10, subs=subs, numticks=self.most + 3).tick_values(vmin, vmax)


def locate(ax: Axes) -> None:
    """Set few, plain ticks: a panel on a phone has room for four."""
    grid = ax.get_gridspec()
    rows, columns = (grid.nrows, grid.ncols) if grid is not None else (1, 1)
    width, height = size(ax)[0] / columns, size(ax)[1] / rows
    for axis, room in ((ax.xaxis, width / 75), (ax.yaxis, height / 45)):
        if axis.get_scale() == "log":
            axis.set_major_locator(Decades(max(int(room), 3)))
            axis.set_minor_locator(NullLocator())
        else:
            axis.set_major_locator(MaxNLocator(max(int(room), 3), steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(tick))
        axis.set_minor_formatter(NullFormatter())
