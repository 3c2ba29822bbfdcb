"""The site: `pip install -e ".[docs]" && sphinx-build -W --keep-going docs docs/_build`."""

import os
import sys
from pathlib import Path

import skorchlite

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
QUICK = "SKORCHLITE_QUICK" in os.environ  # the gallery's examples read it too

project = "skorchlite"
author = "the skorchlite developers"
copyright = f"2026, {author}"
version = release = skorchlite.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py", "gallery/**/*.json"]
exclude_patterns += ["gallery/**/*.md5", "gallery/**/*.zip", "sg_execution_times.rst"]
suppress_warnings = ["config.cache"]  # of the gallery's sorting function, which cannot be pickled
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
default_role = "literal"  # as in scikit-learn's docstrings
templates_path = ["_templates"]
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"[\\/]plot_",
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": "ExampleTitleSortKey",
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
    "download_all_examples": False,
    "abort_on_example_error": True,
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_title = "skorchlite"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
