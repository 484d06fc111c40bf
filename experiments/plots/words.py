"""Numbers and lists in sentences: in messages of figures, and in what notebooks say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display


def see(*sentences: str) -> None:
    """Show a notebook's reader the figures drawn so far, and below them what there is to see."""
    plt.show()
    display(Markdown(f"**What to see.** {' '.join(sentences)}"))


def number(value: float) -> str:
    """Two significant digits at least, all of those before the point, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share in percent, by `number`; "0 %" for what rounds to nothing."""
    return f"{number(100 * share)}\u00a0%" if abs(share) >= 5e-5 else "0\u00a0%"


def listed(items: Iterable, last: str = "and") -> str:
    """Items in a sentence: "a, b and c"; "none" if there is none."""
    *first, end = [str(item) for item in items] or ["none"]
    return f"{', '.join(first)} {last} {end}" if first else end


def each(values: pd.Series, of: Callable = percent) -> str:
    """A value for each name of a series: "3.1 % (chain), 9.3 % (dag) and 34 % (fusion)"."""
    return listed(f"{of(value)} ({name})" for name, value in values.items())


def span(values: Iterable, of: Callable = percent) -> str:
    """The least and the largest of some values: "3.1 % to 34 %", or the one that all are."""
    low, high = of(min(values)), of(max(values))
    return low if low == high else f"{low} to {high}"
