"""How Sphinx builds the site; `docs/build_site.py` calls it."""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import site_notebooks  # noqa: E402
import site_reference  # noqa: E402

import alutils  # noqa: E402

project = "alutils"
version = release = alutils.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "Label less for semantic segmentation"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False

smartquotes = False  # quotes in docstrings are those of Python
myst_heading_anchors = 4  # like GitHub's
nb_execution_mode = "off"  # the notebooks that come here are executed
nb_ipywidgets_js: dict[str, Any] = {}  # nothing from the net
nb_merge_streams = True

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
toc_object_entries = False  # beside a page, its modules are enough
nitpick_ignore_regex = [("py:.*", ".*")]  # names in signatures: other packages' pages are on the net only


def setup(app: Any) -> None:
    """Connect what this folder adds to Sphinx."""
    app.connect("autodoc-process-docstring", site_reference.convert_docstring)
    app.connect("autodoc-process-signature", site_reference.readable_signature)
    app.connect("autodoc-skip-member", site_reference.skip_member)
    app.connect("doctree-read", site_notebooks.name_pictures)
