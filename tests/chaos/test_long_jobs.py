"""A long job goes on from its checkpoints, however often its worker dies.

A short form of long_jobs.py, which says how the long one is started.
"""

import json

import long_jobs
import pytest


@pytest.mark.parametrize('way, every', [
    ('cursor', 1), ('cursor', 10), ('step', 1)])
def test_each_item_has_its_effect_once(tmp_path, tasks, way, every):
    items, kills = 600, 4
    figures = long_jobs.measure(items, kills, way, every, directory=tmp_path)
    assert long_jobs.is_right(figures, items, kills, every), json.dumps(
        figures)
