"""The steps of a document, for tests that follow it from an empty folder."""

import doctest
import os
import re
import subprocess
import textwrap
from pathlib import Path

BLOCK = re.compile(
    r'^\.\. code-block:: (\w+)\n(?:   :caption: (.*)\n)?\n'
    r'((?:   .*\n|\n)+)', re.M)


#: Where the pages are that people follow.
HOWTO = Path(__file__).parents[3] / 'docs' / 'howto'


def file_of(document, name):
    """The file of this name (its caption) that a document (Path) shows."""
    found, = (block for _, caption, block in BLOCK.findall(
        document.read_text(encoding='utf-8')) if caption == name)
    return textwrap.dedent(found).strip() + '\n'


def steps(text):
    """What the reader does: ('file', name, text) or ('run', line, output)."""
    for kind, name, block in BLOCK.findall(text):
        block = textwrap.dedent(block).strip() + '\n'
        if kind == 'console':
            for part in re.split(r'^\$ ', block, flags=re.M)[1:]:
                line, _, output = part.partition('\n')
                yield 'run', line, output.strip()
        else:
            assert name, block
            yield 'file', name, block


def follow(document, environment, place):
    """Write the files of a document, and run its commands in their order.

    Arguments: ``document`` (Path); ``environment``, the path of the virtual
    environment that it calls ``venv``; ``place`` (Path), an empty folder.
    Returns: how many commands were run.
    """
    (place / 'venv').symlink_to(environment)
    ran = 0
    for what, name, content in steps(document.read_text(encoding='utf-8')):
        if what == 'file':
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            continue
        done = subprocess.run(
            name, shell=True, cwd=place, text=True, capture_output=True,
            timeout=300, env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1',
                              'COLUMNS': '80'})
        said = done.stdout.strip()
        assert done.returncode == 0 and doctest.OutputChecker().check_output(
            content, said, doctest.ELLIPSIS), (
                f'$ {name}\n{said}\n-- instead of --\n{content}\n'
                f'{done.stderr}')
        ran += 1
    return ran
