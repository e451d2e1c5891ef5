"""The structures with BTrees' other implementation."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_lanes_and_logs_on_pure_python_btrees():
    code = 'import BTrees.LLBTree as b; assert b.LLBTree is b.LLBTreePy'
    environment = {**os.environ, 'PURE_PYTHON': '1'}
    subprocess.run([sys.executable, '-c', code], env=environment, check=True)
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         # The model there is a BTree, and this one takes keys that are no
         # integers.
         '-k', 'not behave_like_a_btree',
         str(HERE / 'test_lanes.py')], env=environment, capture_output=True,
        text=True, cwd=HERE.parents[2])
    assert done.returncode == 0, done.stdout[-3000:]
    assert ' passed' in done.stdout
