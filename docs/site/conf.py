"""Sphinx's settings for the documentation site (`make site`): the Markdown pages as they are on GitHub.

The pages hold no directives. What the site needs beyond them is here: the navigation, which follows docs/README.md,
links to folders of the repository, and Mermaid, which GitHub brings itself.
"""

from __future__ import annotations

import re
import sys
import tomllib
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
_INDEX = "docs/README"
_URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]

project = "MESS"
project_copyright = "the MESS authors, Apache License 2.0"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "bench/README.md", "docs/**.md"]
exclude_patterns = ["**/*.intro.md", "**/*.more.md", ".venv*", ".services", "build"]

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_title = "MESS"
html_static_path = ["static", str(Path(sys.prefix, "node_modules", "@mermaid-js", "tiny", "dist"))]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
templates_path = ["templates"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False
pygments_style, pygments_dark_style = "friendly", "github-dark"


class Mermaid(SphinxDirective):
    """A block of Mermaid, drawn in the browser by the site's own copy of the library."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The source as text; static/diagrams.js draws it."""
        source = escape("\n".join(self.content), quote=False)
        return [nodes.raw("", f'<div class="mermaid">{source}</div>', format="html")]


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the home page a hidden table of contents: docs/README.md, and each of its headings with its pages."""
    if docname != root_doc:
        return
    source[0] += f"\n\n```{{toctree}}\n:hidden:\n{_INDEX}\n```\n"
    for part in re.split(r"^## ", (ROOT / f"{_INDEX}.md").read_text(), flags=re.MULTILINE)[1:]:
        caption, _, rest = part.partition("\n")
        pages = [
            f"{title} <{(ROOT / 'docs' / target).resolve().relative_to(ROOT)}>"
            for title, target in re.findall(r"\[`?([^\]`]+)`?\]\(([^)#]+\.md)\)", rest)
        ]
        source[0] += "\n".join(["", "", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", ""])


def link_folders(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to folders lead to the repository."""
    for link in list(doctree.findall(pending_xref)):
        target = (Path(app.env.doc2path(link["refdoc"])).parent / link["reftarget"]).resolve()
        if link["refdomain"] is None and target.is_dir():
            uri = f"{_URLS['Repository']}/tree/main/{target.relative_to(ROOT)}"
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri))


def mark_option_tables(app: Sphinx, doctree: nodes.document) -> None:
    """Give tables of options a class: on a phone, static/site.css shows their rows as cards."""
    for table in doctree.findall(nodes.table):
        if next(table.findall(nodes.entry)).astext() == "option":
            table["classes"].append("options")


def add_diagrams(
    app: Sphinx, page: str, template: str, context: dict[str, str], doctree: nodes.document | None
) -> None:
    """Load Mermaid where a page has a diagram."""
    if 'class="mermaid"' in context.get("body", ""):
        app.add_js_file("mermaid.tiny.js")
        app.add_js_file("diagrams.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    """Connect the parts above."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", link_folders)
    app.connect("doctree-read", mark_option_tables)
    app.connect("html-page-context", add_diagrams)
