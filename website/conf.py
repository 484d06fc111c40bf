"""How Sphinx builds the site from what `build.py` lays out: nothing is fetched, nothing is run."""

import re

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Knowledge distillation for mobile edge computation offloading"
html_title = "KD for edge offloading"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the executed copies of the reference run, as they are
nb_ipywidgets_js, nb_mime_priority_overrides = {}, []
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header", "misc.highlighting_failure"]
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": False}
autodoc_typehints = "none"
add_module_names = False
html_theme = "furo"
html_static_path = ["static", "../build/site-source/static"]
html_css_files, html_copy_source, html_show_sphinx = ["site.css"], False, False
html_show_copyright = False
html_baseurl = ""


def paragraph(text: str) -> str:
    """One paragraph of a docstring, which is plain text, as reStructuredText that looks alike."""
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "::\n\n" + text
    marked = re.split(r"(`[^`]+`)", text)
    marked[::2] = (re.sub(r"([*|\\]|_\b|_$|(?<=\w)_(?!\w))", r"\\\1", part) for part in marked[::2])
    labels = re.match(r"[\w, .()]+:  ?\S", text) or any(line[:1] == " " for line in lines[1:])
    lines = "".join(marked).split("\n")
    return "\n".join(f"| {line}" for line in lines) if labels else "\n".join(lines)


def plain(app, what, name, about, options, lines):
    """Docstrings are plain text, with code in single backticks."""
    parts = re.split(r"\n{2,}", "\n".join(lines).strip("\n"))
    lines[:] = "\n\n".join(map(paragraph, parts)).split("\n") + [""]


def mathml(self, node):
    """A formula as MathML, which browsers draw themselves."""
    display = "block" if node.tagname == "math_block" else "inline"
    self.body.append(convert(node.astext(), display=display))
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("autodoc-process-docstring", plain)


html_math_renderer = "mathml"
