"""A pytest plugin: imports one module from another file. SUTURE_MUTANT is ``module=file``."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULE, _, FILE = os.environ.get("SUTURE_MUTANT", "").partition("=")


class MutantFinder(MetaPathFinder):
    """Before every other finder, the editable install's too."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(fullname, FILE) if fullname == MODULE else None


if MODULE:
    assert MODULE not in sys.modules
    sys.meta_path.insert(0, MutantFinder())
