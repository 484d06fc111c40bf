"""Build the site: `make site`, into build/site/index.html.

The executed notebooks, the claims page, the texts and the docstrings are laid out for Sphinx in
build/site-source, with links from every name of a notebook, table or module to its page. Nothing is
executed again, and the result needs no server and no network. Broken links end it with status 1.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

os.environ["NUMBA_DISABLE_JIT"] = "1"  # compiled functions are then documented like any other

import nbformat
import numpy as np
import pandas as pd

from experiments.run import PACKAGE, ROOT
from experiments.plots.style import LOCATION_COLOURS, QUANTITIES
from kd_offload.graphs import dag
from kd_offload.tasks import STATE, Ranges, sample_tasks

HERE, SOURCE, OUT = ROOT / "website", ROOT / "build" / "site-source", ROOT / "build" / "site"
TEXTS = {"README.md": "index", "ARTIFACT.md": "artifact"} | {
    str(p.relative_to(ROOT)): str(p.relative_to(ROOT).with_suffix(""))
    for folder in ("docs", "exports", "data")
    for p in sorted((ROOT / folder).glob("*.md"))
}
STEPS = [p.stem for p in sorted((ROOT / "notebooks" / "executed").glob("*.ipynb"))]
TABLES = sorted({p.stem for end in ("csv", "png") for p in (ROOT / "figures").glob(f"*.{end}")})
MODULES = [
    ".".join(p.relative_to(PACKAGE).with_suffix("").parts)
    for p in sorted(PACKAGE.rglob("*.py"))
    if p.stem != "__init__"
]
WINGS = sorted({m.split(".")[0] for m in MODULES if "." in m})
PAGES = {path: page for path, page in TEXTS.items() if (ROOT / path).exists()} | {
    "figures/claims.html": "claims",
    "notebooks/executed": "docs/notebooks",
    **{f"notebooks/{at}{s}.ipynb": f"notebooks/{s}" for s in STEPS for at in ("", "executed/")},
    **{f"kd_offload/{wing}": f"api/{wing}" for wing in WINGS},
    **{f"kd_offload/{m.replace('.', '/')}.py": f"api/{m.split('.')[0]}" for m in MODULES},
}  # fmt: skip
NAMES = (
    {m: f"api/{m.split('.')[0]}.md#{m.replace('.', '')}" for m in MODULES}
    | {t: f"tables.md#{t.replace('_', '-')}" for t in TABLES if t not in (*MODULES, *WINGS)}
    | {
        f"figures/{t}{end}": f"tables.md#{t.replace('_', '-')}"
        for t in TABLES
        for end in ("", ".csv")
    }
    | {s: f"notebooks/{s}.ipynb" for s in STEPS}
)  # what is written as code, and where that leads


def to(page: str, target: str) -> str:
    """From a page to another, or to a file of the repository, as a relative link."""
    return os.path.relpath(target, os.path.dirname(page) or ".")


def linked(text: str, page: str, *folders: str) -> str:
    """Markdown whose local links, relative to one of `folders`, lead to pages of the site, or to
    copies of files; and whose names of notebooks, tables and modules are links."""

    def follow(match):
        mark, label, path, anchor = match.groups()
        if urlsplit(path).scheme or not path:
            return match[0]
        for folder in folders:
            found = os.path.normpath(os.path.join(folder, path))
            if found in PAGES:
                end = "ipynb" if PAGES[found].startswith("notebooks/") else "md"
                return f"[{label}]({to(page, f'{PAGES[found]}.{end}')}{anchor or ''})"
            if f"{found}/README.md" in PAGES:
                return f"[{label}]({to(page, PAGES[found + '/README.md'] + '.md')})"
            if (ROOT / found).is_file():
                copied(found)
                return f"{mark}[{label}]({to(page, found)})"
        return label if any((ROOT / folder / path).exists() for folder in folders) else match[0]

    def name(match):
        target = NAMES.get(match[1])
        return f"[`{match[1]}`]({to(page, target)})" if target else match[0]

    blocks = re.split(r"(^ *```.*?^ *```$)", text, flags=re.M | re.S)
    for b in range(0, len(blocks), 2):
        part = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)", follow, blocks[b])
        blocks[b] = re.sub(r"(?<![\[`])`([\w./]+)`(?![\]`])", name, part)
    return "".join(blocks)


def copied(path: str) -> None:
    """A file of the repository, beside the sources of the site."""
    target = SOURCE / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / path, target)


def write(page: str, text: str) -> None:
    """A page in Markdown."""
    path = SOURCE / f"{page}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def contents(caption: str, pages: list[str]) -> str:
    """A table of contents: a part of the navigation."""
    head = f"```{{toctree}}\n:caption: {caption}\n:hidden:\n:titlesonly:\n"
    return "\n\n" + "\n".join([head, *pages, "```\n"])


def texts() -> None:
    """README as the first page, with the navigation; and the other texts."""
    for path, page in PAGES.items():
        if path.endswith(".md"):
            text = linked((ROOT / path).read_text(encoding="utf-8"), page, os.path.dirname(path))
            if page == "index":
                text = claims_linked(text) + navigation()
            write(page, text)


def claims_linked(text: str, target: str = "claims.md") -> str:
    """Rows of tables and items of lists, whose claims are links."""
    lines = text.split("\n")
    link = rf"[\1]({target})"
    return "\n".join(
        re.sub(r"\b(C[1-6][ab]?)\b(?![^\[]*\])", link, n) if n[:1] in "|-" else n for n in lines
    )


def navigation() -> str:
    rest = [page for path, page in PAGES.items() if path.endswith(".md") and page != "index"]
    return (
        contents("Results", ["claims", "student", "tables"])
        + contents("Notebooks", [f"notebooks/{s}" for s in STEPS])
        + contents("Texts", rest)
        + contents("The core", [f"api/{m}" for m in MODULES if "." not in m])
        + contents("The wings", [f"api/{w}" for w in WINGS])
    )


def claims_of() -> dict[str, list[str]]:
    """The claims that each notebook bears on, as the tables of the texts say."""
    found, texts = {}, [(ROOT / path).read_text(encoding="utf-8") for path in TEXTS]
    for line in "\n".join(texts).split("\n"):
        for step in set(re.findall(r"executed/(\w+)\.ipynb", line)) if line[:1] == "|" else ():
            found.setdefault(step, set()).update(re.findall(r"\bC[1-6][ab]?\b", line))
    return {step: sorted(claims) for step, claims in found.items()}


def sources_of(book) -> tuple[list[str], list[str]]:
    """(the tables that a notebook names, the modules that it imports)."""
    code = "\n".join(c.source for c in book.cells if c.cell_type == "code")
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kd_offload"):
            base = node.module.removeprefix("kd_offload").lstrip(".")
            names = {base, *(f"{base}.{a.name}".lstrip(".") for a in node.names)}
            modules |= names & set(MODULES)
    return [t for t in TABLES if f'"{t}"' in code], sorted(modules)


def texts_of(cell) -> list:
    """The texts that a cell put out, taken from it as cells of their own: links work only there."""
    texts = [o for o in cell.get("outputs", ()) if "text/markdown" in o.get("data", ())]
    for output in texts:
        cell.outputs.remove(output)
    return [nbformat.v4.new_markdown_cell(o.data["text/markdown"]) for o in texts]


def notebooks() -> dict[str, list[str]]:
    """The executed notebooks, each with links to its claims, tables and code at its end; returns
    the notebooks of each table."""
    claims, shown = claims_of(), {t: [] for t in TABLES}
    for step in STEPS:
        path, page = ROOT / "notebooks" / "executed" / f"{step}.ipynb", f"notebooks/{step}"
        book = nbformat.read(path, as_version=4)
        tables, modules = sources_of(book)
        book.cells = [part for cell in book.cells for part in (cell, *texts_of(cell))]
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = linked(cell.source, page, "notebooks/executed", "notebooks", "")
        for table in tables:
            shown[table].append(step)
        ends = ["## On this page", f"- Claims: {', '.join(claims.get(step, ['none']))}"]
        for what, names in (("Tables", tables), ("Code", modules)):
            ends += [f"- {what}: {', '.join(f'`{n}`' for n in names)}"] if names else []
        ends = linked(claims_linked("\n".join(ends), "../claims.md"), page)
        book.cells.append(nbformat.v4.new_markdown_cell(ends))
        nbformat.write(book, SOURCE / "notebooks" / f"{step}.ipynb")
    return shown


def is_figure(name: str) -> bool:
    return (ROOT / "figures" / name).exists()


def tables(shown: dict[str, list[str]]) -> None:
    """A page with every table: its columns, file, figure and notebooks."""
    parts = [
        "# Tables and figures",
        "What each notebook writes. Beside a table, as .json, is what made it.",
    ]
    for table in TABLES:
        files = [e for e in ("csv", "json", "pdf", "png") if is_figure(f"{table}.{e}")]
        for end in files:
            copied(f"figures/{table}.{end}")
        links = [f"[{table}.{end}](figures/{table}.{end})" for end in files]
        links += [f"[`{s}`](notebooks/{s}.ipynb)" for s in shown[table]]
        parts += [f"## {table}", ", ".join(links)]
        if "png" in files:
            parts.append(f"![{table}](figures/{table}.png)")
        if "csv" in files:
            frame = pd.read_csv(ROOT / "figures" / f"{table}.csv")
            columns = ", ".join(f"`{c}`" for c in frame.columns)
            parts.append(f"{len(frame):,} rows of {columns}")
    write("tables", "\n\n".join(parts))


def claims() -> None:
    """The claims page within the site, its style kept to itself."""
    page = (ROOT / "figures" / "claims.html").read_text(encoding="utf-8")
    css, body = (re.search(f"<{t}>(.*)</{t}>", page, re.S)[1] for t in ("style", "body"))
    css = re.sub(r"@page [^}]*}", "", css).replace("body {", "& {")
    title, body = re.search(r"<h1>(.*?)</h1>", body)[1], re.sub(r"<h1>.*?</h1>", "", body)
    links = [f"[{c}](figures/claims.{c})" for c in ("csv", "pdf", "html")]
    for end in ("csv", "pdf", "html"):
        copied(f"figures/claims.{end}")
    rows = ["| claim | notebooks |", "| --- | --- |"]
    for claim in sorted({c for of in claims_of().values() for c in of}):
        steps = [s for s, of in claims_of().items() if claim in of]
        rows.append(f"| {claim} | {', '.join(f'[`{s}`](notebooks/{s}.ipynb)' for s in steps)} |")
    sheet = f"<style>.sheet {{ {css} }}</style>\n<div class='sheet'>{body}</div>"
    parts = [f"# {title}", f"As a file: {', '.join(links)}.", f"```{{raw}} html\n{sheet}\n```"]
    write("claims", "\n\n".join([*parts, "## Where each is shown", "\n".join(rows)]))


def api() -> None:
    """A page a module of the core, from its docstrings, and a page a wing: what its modules say."""
    for module in MODULES:
        if "." not in module:
            directive = f"```{{eval-rst}}\n.. automodule:: kd_offload.{module}\n```"
            write(f"api/{module}", f"# `{module}`\n\n{directive}")
    for wing in WINGS:
        parts = [f"# `{wing}`", said(f"{wing}/__init__")]
        for module in [m for m in MODULES if m.startswith(f"{wing}.")]:
            path = f"kd_offload/{module.replace('.', '/')}.py"
            copied(path)
            parts += [f"## `{module}`", said(module), f"[Source]({to(f'api/{wing}', path)})"]
        write(f"api/{wing}", "\n\n".join(parts))


def said(module: str) -> str:
    """What a module says of itself."""
    text = (PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or ""


def browser_data() -> dict:
    """What the page of the student needs: graph, tasks, ranges of the sliders, colours, code."""
    graph, ranges = dag(), Ranges()
    tasks = sample_tasks(graph, 8, np.random.default_rng(1))[:, : -len(STATE)]
    state = []
    for name in STATE:
        low, high = getattr(ranges, name, (0, 0))
        if name == "B_down":
            low, high = np.multiply(ranges.B_up, ranges.down_over_up)
        state.append([name, *QUANTITIES[name], low, high])
    return {
        "graph": {"n": graph.n, "edges": graph.edges}, "tasks": tasks.tolist(), "state": state,
        "colours": LOCATION_COLOURS,
        "wasm": base64.b64encode((HERE / "student.wasm").read_bytes()).decode(),
    }  # fmt: skip


def student() -> None:
    """The page of the student, and what it loads: files, so that it works without a server."""
    static = SOURCE / "static"
    static.mkdir()
    (static / "student_data.js").write_text(f"const DATA = {json.dumps(browser_data())};\n")
    shutil.copy(HERE / "student.js", static)
    write("student", (HERE / "student.md").read_text(encoding="utf-8"))


class Links(HTMLParser):
    """The links and the targets of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("href", "src"):
                self.links.append((tag, value))
            elif key in ("id", "name"):
                self.ids.add(value)


def broken() -> list[str]:
    """Links of the site that lead nowhere, and files that it would fetch from elsewhere."""
    pages, wrong = {p: Links(p) for p in sorted(OUT.rglob("*.html"))}, []
    for path, page in pages.items():
        for tag, link in page.links:
            url = urlsplit(link)
            if url.scheme in ("http", "https") or link.startswith("//"):
                wrong += [f"{path.relative_to(OUT)} fetches {link}"] if tag != "a" else []
            elif not url.scheme:
                target = (path.parent / unquote(url.path)).resolve() if url.path else path
                known = pages[target].ids | {"", "top"} if target in pages else {url.fragment}
                if not target.exists() or unquote(url.fragment) not in known:
                    wrong.append(f"{path.relative_to(OUT)} links to {link}")
    return sorted(set(wrong))


def installed() -> Path:
    """The folder of the pinned packages that build the site, apart from the environment."""
    pins = (HERE / "requirements.txt").read_bytes()
    folder = ROOT / "build" / f"site-packages-{hashlib.sha256(pins).hexdigest()[:8]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            command = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            given = ["--target", scratch + "/packages", "-r", str(HERE / "requirements.txt")]
            subprocess.run([sys.executable, *command, *given], check=True)
            os.rename(scratch + "/packages", folder)
    return folder


def main() -> None:
    (ROOT / "build").mkdir(exist_ok=True)
    sys.path.insert(0, str(installed()))
    from sphinx.cmd.build import build_main

    for folder in (SOURCE, OUT):
        shutil.rmtree(folder, ignore_errors=True)
    (SOURCE / "notebooks").mkdir(parents=True)
    texts()
    tables(notebooks())
    claims()
    api()
    student()
    command = ["-q", "-b", "html", "-c", str(HERE), "-d", str(SOURCE / ".doctrees")]
    if build_main([*command, str(SOURCE), str(OUT)]):
        sys.exit("error: Sphinx failed")
    if wrong := broken():
        sys.exit("error: " + "\n".join(wrong))
    print(f"{OUT.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
