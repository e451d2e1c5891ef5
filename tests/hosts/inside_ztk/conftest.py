"""These use the kit's own world and driver."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    'remotetask_kit', Path(__file__).parents[1] / 'kit' / 'conftest.py')
_kit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_kit)

driver = _kit.driver
