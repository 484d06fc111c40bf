"""How Sphinx builds the site, `make site`: from the repository's own texts and executed notebooks.

Nothing is run or fetched, and the result needs no server.
"""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Knowledge distillation for mobile edge computation offloading"
html_title = "KD for edge offloading"
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "ARTIFACT.md",
    "docs/**.md",
    "exports/README.md",
    "notebooks/executed/**.ipynb",
]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header", "myst.xref_missing"]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
add_module_names = False
default_role = "code"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False


def mathml(translator, node):
    """A formula as MathML, which browsers draw themselves."""
    display = "block" if node.tagname == "math_block" else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))


html_math_renderer = "mathml"
