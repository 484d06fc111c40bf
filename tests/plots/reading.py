"""How a reader sees a figure."""

from collections.abc import Callable

import pandas as pd
from matplotlib.text import Text

from experiments.plots import style


def title(figure) -> str:
    """The message above the panels, in one line."""
    return figure.get_suptitle().replace("\n", " ").replace("\xa0", " ")


def drawn(draw: Callable, *tables: pd.DataFrame):
    """The figure of some tables, which stay as they are.

    All panels have something, all text is readable, and nothing stands outside.
    """
    before = [table.copy() for table in tables]
    figure = draw(*tables)
    for table, copy in zip(tables, before):
        pd.testing.assert_frame_equal(table, copy)
    figure.draw_without_rendering()
    assert all(ax.has_data() for ax in figure.axes)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 7
    (x0, y0), (x1, y1) = figure.get_tightbbox().get_points()
    width, height = figure.get_size_inches()
    assert x0 > -0.01 and y0 > -0.01 and x1 < width + 0.01 and y1 < height + 0.01
    assert width in (style.WIDTH, style.COLUMN)
    return figure
