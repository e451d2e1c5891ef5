"""Run the tests on a Python that may not be the newest one here: see tox.ini.

    python tests/older.py FOLDER... [-- PYTEST OPTIONS]

Where a newer Python runs all tests, the folders are left out; where there is
none, this one runs everything, so that nothing is left out altogether.
"""

import os
import shutil
import subprocess
import sys

NEWEST = 'python3.13'


def newer_is_here():
    """Does the newest Python that tox runs the tests on work here?"""
    # Not merely the first on PATH: pyenv puts names there that only fail.
    found = {shutil.which(NEWEST, path=place)
             for place in os.environ.get('PATH', '').split(os.pathsep)}
    return any(subprocess.run([one, '-c', ''], capture_output=True
                              ).returncode == 0 for one in found if one)


def main(arguments):
    if '--' in arguments:
        at = arguments.index('--')
        folders, options = arguments[:at], arguments[at + 1:]
    else:
        folders, options = arguments, []
    left_out = ([f'--ignore=tests/{folder}' for folder in folders]
                if newer_is_here() else [])
    print('left out here, for', NEWEST, 'runs it:', *left_out, flush=True)
    return subprocess.call(
        [sys.executable, '-m', 'pytest', *left_out, *options])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
