"""Every example in the documentation runs as it is printed."""

import ast
import doctest
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import transaction
from documents import follow
from zope.testing.cleanup import cleanUp

from lovely.remotetask import settings
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import runs
from lovely.remotetask.edge.log import trace

ROOT = Path(__file__).parents[2]
README = ROOT / 'README.rst'
SOURCE = Path(settings.__file__).parent
# Its doctest is a file that it has the reader write: see tests/hosts.
FOLLOWED = ('test-with-zope-testrunner.rst',)
DOCUMENTS = sorted(
    path for path in (ROOT / 'docs').rglob('*.rst')
    if '>>> ' in path.read_text(encoding='utf-8')
    and path.name not in FOLLOWED)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """An empty folder, and no task registered yet."""
    monkeypatch.chdir(tmp_path)
    cleanUp()
    # A page may set what is logged, for its reader.
    levels = [(logger, logger.level) for logger in (log, runs, trace)]
    yield tmp_path
    for logger, level in levels:
        logger.setLevel(level)
    transaction.abort()
    cleanUp()


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize('path', DOCUMENTS, ids=name_of)
def test_examples(path, newcomer):
    text = path.read_text(encoding='utf-8')
    test = doctest.DocTestParser().get_doctest(
        text, {'__name__': '__main__'}, name_of(path), str(path), 0)
    said = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    failed, tried = runner.run(test, out=said.append)
    assert tried
    assert not failed, ''.join(said)


def test_the_files_of_the_page_on_pytest(tmp_path):
    """As in tests/hosts, where other pages are about a host."""
    assert follow(ROOT / 'docs' / 'howto' / 'test-with-pytest.rst',
                  sys.prefix, tmp_path) == 3


def test_the_files_and_commands_of_the_page_on_production(tmp_path):
    page = ROOT / 'docs' / 'howto' / 'get-ready-for-production.rst'
    assert follow(page, sys.prefix, tmp_path) == 7
    # Its unit starts a worker, and that logs where it is told to.
    start = re.search('^ExecStart=/srv/app/(.*)$', (
        tmp_path / 'remotetask@.service').read_text(), re.M).group(1)
    worker = subprocess.Popen(start.split(), cwd=tmp_path, text=True,
                              stdout=subprocess.PIPE)
    try:
        assert worker.stdout.readline().endswith('tasks: echo, send\n')
    finally:
        worker.terminate()
    assert worker.wait(60) == 0
    assert (tmp_path / 'worker.log').exists()


def test_the_page_on_last_nights_import(tmp_path):
    page = ROOT / 'docs' / 'howto' / 'did-last-nights-import-run.rst'
    assert follow(page, sys.prefix, tmp_path) == 12


def test_the_tutorial_is_among_them():
    assert 'docs/tutorial/first-job.rst' in map(name_of, DOCUMENTS)


def example_of_readme():
    text = README.read_text(encoding='utf-8')
    found = re.search(
        r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', text)
    return textwrap.dedent(found.group(1)).strip()


def test_example_of_readme(newcomer):
    code = example_of_readme()
    expected = re.search(r'# prints: (.*)', code).group(1)
    (newcomer / 'example.py').write_text(code)
    # A process of its own, as the reader would: nothing is prepared.
    done = subprocess.run(
        [sys.executable, 'example.py'], capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected
    assert done.stderr == ''


def test_the_service_of_the_readme_can_be_started(newcomer):
    code = example_of_readme()
    for line in (
            'tasks.startProcessing()',
            'assert tasks.isProcessing()',
            'tasks.stopProcessing(wait=None)',
            'print("started")'):
        code += f'\n{line}'
    (newcomer / 'example.py').write_text(code)
    done = subprocess.run(
        [sys.executable, 'example.py'], capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'started'
    assert done.stderr == ''


def command_below(heading):
    lines = README.read_text(encoding='utf-8').splitlines()
    start = lines.index(heading)
    assert set(lines[start + 1]) == {'-'}
    below = []
    for line in lines[start + 2:]:
        if line.startswith('---'):
            # The line above an underline is the next heading.
            below.pop()
            break
        below.append(line)
    return [line.strip() for line in below if line.startswith(' ')]


@pytest.mark.parametrize('heading, ends', [
    # " --once" is appended to it by whoever checks us.
    ('Run it', 'remotetask demo'),
    ('Test it', 'tox'),
])
def test_readme_has_one_command_line(heading, ends):
    command, = command_below(heading)
    assert command.endswith(ends)


def test_first_screen_of_readme():
    lines = README.read_text(encoding='utf-8').splitlines()
    assert lines.index('Test it') < 45
    code = [line for line in example_of_readme().splitlines() if line]
    assert len(code) <= 16


def test_ci_runs_the_line_of_the_readme(tmp_path):
    # .ci/run in a folder with our README and a `bash` that only tells.
    (tmp_path / '.ci').mkdir()
    run = tmp_path / '.ci' / 'run'
    run.write_text((ROOT / '.ci' / 'run').read_text())
    (tmp_path / 'README.rst').write_text(README.read_text())
    stand_in = tmp_path / 'bin' / 'bash'
    stand_in.parent.mkdir()
    stand_in.write_text(
        '#!/bin/sh\necho "ran: $2 ($REMOTETASK_REQUIRE_SERVICES)"\n')
    stand_in.chmod(0o755)
    path = f'{stand_in.parent}{os.pathsep}{os.environ["PATH"]}'
    done = subprocess.run(
        ['/bin/bash', run], capture_output=True, text=True, timeout=60,
        env={**os.environ, 'PATH': path})
    command, = command_below('Test it')
    assert done.returncode == 0, done.stderr
    assert f'ran: {command} (1)' in done.stdout.splitlines()


def test_the_page_of_settings_has_each_with_its_default():
    page = ROOT / 'docs' / 'reference' / 'settings.rst'
    rows = re.findall(r'^``([A-Z_]+)`` +\w+ +([0-9.]+) ',
                      page.read_text(encoding='utf-8'), re.M)
    assert {name: float(default) for name, default in rows} == {
        name: number for name, number in vars(settings).items()
        if name.isupper() and not name.startswith('_')}
    assert len(rows) == len(set(rows))


def test_readme_and_the_page_on_porting_name_each_extra():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
    extras = set(project['project']['optional-dependencies'])
    extras -= {'test', 'docs'}
    porting = (ROOT / 'docs' / 'explanation' / 'porting.rst').read_text()
    assert set(re.findall(r'^``\[([a-z]+)\]``', porting, re.M)) == extras
    _, _, below = README.read_text().partition('all else is an extra')
    named = set(re.findall('``([a-z]+)``', below.partition('\n\n')[0]))
    assert named == extras


def test_html_is_where_readme_says():
    section = (ROOT / 'tox.ini').read_text().partition('[testenv:docs]')[2]
    place = re.search(r' docs (docs/_build/\S+)$', section, re.M).group(1)
    assert f'{place}/index.html' in README.read_text()


def test_the_functions_that_the_page_on_the_inside_names_are_there():
    page = ROOT / 'docs' / 'explanation' / 'inside.rst'
    named = re.findall(r'``([a-z_/]+\.py)``:\s+``([A-Za-z_.]+)``',
                       page.read_text(encoding='utf-8'))
    assert len(named) > 30
    for file, function in named:
        body = ast.parse((SOURCE / file).read_text(encoding='utf-8')).body
        for name in function.split('.'):
            found = [item for item in body
                     if isinstance(item, ast.ClassDef | ast.FunctionDef)
                     and item.name == name]
            assert found, f'{file} has no {function}'
            body = found[0].body


def test_the_tests_that_the_page_of_guarantees_names_are_there():
    page = ROOT / 'docs' / 'explanation' / 'guarantees.rst'
    named = re.findall(r'``([a-z_/]+\.py)::(test_[a-z_0-9]+)``',
                       page.read_text(encoding='utf-8'))
    assert len(named) > 30
    for file, name in named:
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert f'def {name}(' in text, f'{file} has no {name}'


def test_each_heading_is_underlined_as_far_as_it_goes():
    """A merge once took the section "Say when", and left an '=' of its line.
    """
    short = [
        f'{name_of(path)}: {heading}'
        for path in (README, *sorted((ROOT / 'docs').rglob('*.rst')))
        for heading, line in re.findall(
            r'(?m)^(\w.*)\n(=+|-+|~+)$', path.read_text(encoding='utf-8'))
        if len(line) < len(heading)]
    assert short == []
