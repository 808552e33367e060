"""The explorer on the first page of the documentation, laid out anew whenever the documentation is built."""

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from vaekit_demo.web.pages import page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page that `vaekit export --web --light` would write of what content.json holds."""
    content = json.loads(Path(__file__).with_name("content.json").read_text(encoding="utf-8"))
    files.append(File.generated(config, "explorer/index.html", content=page(content, {})))
    return files
