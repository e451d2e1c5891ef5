"""The documents about Zope, followed word by word from an empty folder."""

import doctest
import os
import re
import subprocess
from pathlib import Path

import pytest
import zope_instance as instances
from documents import steps
from waiting import free_port

pytestmark = pytest.mark.environment('zope')

DOCS = Path(__file__).parents[2] / 'docs'

MARK = '--8<--'


@pytest.mark.parametrize('document', [
    'tutorial/first-zope-site.rst', 'howto/run-workers-in-zope.rst'])
def test_document(document, environment, tmp_path):
    text = (DOCS / document).read_text(encoding='utf-8')
    for port in ('8080', '9991'):
        text = text.replace(port, str(free_port()))
    # The environment is what the first two lines make.
    (tmp_path / 'venv').symlink_to(environment.path)
    script, wanted = [], []
    for what, name, content in steps(text):
        if what == 'file':
            script += [f"cat > {name} <<'END-OF-FILE'\n{content}END-OF-FILE"]
        elif 'venv venv' not in name and '/pip ' not in name:
            script += [name, f'echo "{MARK}"']
            wanted.append((name, content))
    # The server's port is chosen in a file that the reader leaves alone.
    port = re.search(r'127\.0\.0\.1:(\d+)/', text)
    if port:
        at = next(number for number, line in enumerate(script)
                  if 'mkwsgiinstance' in line)
        script.insert(at + 1, f'sed -i s/8080/{port.group(1)}/ '
                              f'site/etc/zope.ini')
    # Nothing may outlive this, whatever happens.
    script.insert(0, "trap 'kill $(jobs -p) 2> /dev/null' EXIT")
    done = subprocess.run(
        ['bash'], input='\n'.join(script) + '\n', cwd=tmp_path, text=True,
        capture_output=True, timeout=instances.DEADLINE,
        env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
    said = [part.strip() for part in done.stdout.split(f'{MARK}\n')]
    same = doctest.OutputChecker().check_output
    for (line, expected), got in zip(wanted, said, strict=False):
        assert same(expected, got, doctest.ELLIPSIS), (
            f'$ {line}\n{got}\n-- instead of --\n{expected}\n{done.stderr}')
    assert len(said) == len(wanted) + 1, done.stderr
