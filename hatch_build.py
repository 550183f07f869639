"""The package's build hook: it builds the browser page before a wheel, an editable install or an sdist is made."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildPage(BuildHookInterface):
    """Run web/build.py; it does nothing where the page was already built from the same sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build src/clew/page/static, whatever the `version` ("standard" or "editable")."""
        spec = importlib.util.spec_from_file_location("web_build", Path(self.root) / "web" / "build.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build()
