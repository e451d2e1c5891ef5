"""Pages of the how-tos, typed into a shell from top to bottom."""

import doctest
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HOWTOS = Path(__file__).parents[2] / 'docs' / 'howto'
DEADLINE = 60

_BLOCK = re.compile(
    r'^\.\. code-block:: (?P<kind>\w+)\n(?:   :caption: (?P<file>\S+)\n)?\n'
    r'(?P<text>(?:   .*\n|\n)+)', re.M)

# The reader's `remotetask`, on a port that is free while this runs.
PRELUDE = '''
remotetask() { "$PYTHON" -m lovely.remotetask.cli "$@"; }
python() { "$PYTHON" "$@"; }
'''


def commands(text):
    """Each command of a console block, with the output it is to have."""
    for part in re.split(r'^\$ ', text, flags=re.M)[1:]:
        command, _, output = part.partition('\n')
        yield command, output


@pytest.mark.skipif(shutil.which('bash') is None or
                    shutil.which('curl') is None,
                    reason='the page is typed into bash and uses curl')
@pytest.mark.parametrize('page, number', [
    ('run-a-server.rst', 11), ('watch-jobs-in-a-browser.rst', 2)])
def test_what_is_typed(serve, environ, tmp_path, page, number):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    environ = environ | {'REMOTETASK_URL': f'http://127.0.0.1:{port}',
                         'PYTHON': sys.executable}
    checker = doctest.OutputChecker()
    said = PRELUDE
    ran = 0
    for block in _BLOCK.finditer(
            (HOWTOS / page).read_text().replace('8080', port)):
        text = textwrap.dedent(block['text']).strip() + '\n'
        if block['kind'] == 'python':
            (tmp_path / block['file']).write_text(text)
            continue
        for command, expected in commands(text):
            if command.startswith('remotetask serve'):
                server = serve(*command.split()[2:], '--port', port)
                line = ''.join(server.lines.get(timeout=DEADLINE)
                               for _ in expected.strip().splitlines())
            else:
                # One shell per command; variables are carried along.
                assigned = re.match(r'(\w+)=\$\(', command)
                tail = f'\necho "${assigned[1]}"' if assigned else ''
                run = subprocess.run(
                    ['bash', '-c', said + command + tail],
                    capture_output=True, text=True, env=environ,
                    cwd=tmp_path, timeout=DEADLINE)
                assert run.returncode == 0, (command, run.stderr)
                assert run.stderr == ''
                line = run.stdout
                if assigned:
                    said += f'{assigned[1]}={line.strip()}\n'
                    line = ''
            assert checker.check_output(
                expected, line, doctest.ELLIPSIS
                | doctest.NORMALIZE_WHITESPACE), (command, line)
            ran += 1
    assert ran >= number
    assert server.stop() == 0
    assert os.path.exists(tmp_path / 'remotetask-data' / 'Data.fs')
