"""The fixtures of the kit, for tests that only Zope needs."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    'remotetask_kit', Path(__file__).parents[1] / 'kit' / 'conftest.py')
_kit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_kit)

driver = _kit.driver
people = _kit.people
