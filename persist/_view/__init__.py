"""One self-contained HTML page of a file, a folder or two files: `persist view`.

_collect.py  what the page shows of one file, as JSON: facts, tree, arrays, plan, verdicts
_previews.py an array as a few hundred bytes: statistics, histogram, heat map, image, curve
_graphs.py   the structure of a network as nodes and edges
_page.py     the page: assets, data, and the policy that lets nothing else run
page.js, page.css  what the browser runs; they are the only script and style of the page
"""

from persist._view._collect import diff_data, file_data, folder_data
from persist._view._page import html_page

__all__ = ["diff_data", "file_data", "folder_data", "html_page"]
