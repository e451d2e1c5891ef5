"""Modules that may not be installed."""

from __future__ import annotations

import importlib
from typing import Any


def optional(name: str) -> Any:
    """A module; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
