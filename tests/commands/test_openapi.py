"""`remotetask serve` answers as its OpenAPI document says.

Some 1,000 requests here, allowed and forbidden ones; thousands by
``python tests/surfaces/run_schemathesis.py serve``.
"""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / 'surfaces' / 'run_schemathesis.py'


def test_answers_are_those_of_the_document():
    run = subprocess.run(
        [sys.executable, str(PROGRAM), 'serve', '--examples', '1', '--seed',
         '1'], text=True, capture_output=True, timeout=200)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr
    last = run.stdout.splitlines()[-1]
    assert last.endswith('test cases, 0 tracebacks in the log of the server')
    assert int(last.split()[1]) > 400, last
