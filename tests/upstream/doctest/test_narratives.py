"""Runs the narratives: the seed document as it stands, and our own.

TESTING.txt is the document this project was created from, byte for byte; the
only thing normalised is Python 2's ``u''`` in what it prints.
"""

import doctest
import hashlib
import logging
import re
from pathlib import Path

import pytest
from zope.component.testing import setUp as component_set_up
from zope.component.testing import tearDown as component_tear_down

HERE = Path(__file__).parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
SEED = HERE / 'TESTING.txt'

#: What the seed document's examples are: 30 of them, none skipped.
SEED_SHA256 = (
    '05fe3d17ade824c15ed8d7dbf4d79e00b73f3e857817d49699a474828d72dd3d')


class Python2Repr(doctest.OutputChecker):
    """Lets the expected ``u'echo'`` mean ``'echo'``; nothing else."""

    def check_output(self, want, got, optionflags):
        want = re.sub(r"\bu('[^']*')", r'\1', want)
        return super().check_output(want, got, optionflags)


def run(path, checker=None, globs=None):
    parser = doctest.DocTestParser()
    text = path.read_text(encoding='utf-8')
    test = parser.get_doctest(text, dict(globs or {}), path.name, str(path),
                              0)
    runner = doctest.DocTestRunner(checker=checker, optionflags=FLAGS)
    report = []
    runner.run(test, out=report.append)
    assert not runner.failures, ''.join(report)
    return runner.tries


@pytest.fixture
def components():
    component_set_up()
    yield
    component_tear_down()


def test_the_seed_document_runs_as_it_stands(components):
    content = SEED.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SEED_SHA256
    assert run(SEED, Python2Repr()) == 30


@pytest.mark.parametrize(
    'name', sorted(path.name for path in HERE.glob('*.txt')
                   if path != SEED))
def test_narrative(name, components, narrative_root):
    assert run(HERE / name, globs=narrative_root) > 5


@pytest.fixture
def narrative_root(application, serve):
    """What the narratives find ready.

    Names: ``db``, ``root`` (an application root that is stored), ``log``
    (the records of the package's logger), ``url`` (of a server on ``db``).
    """
    address = serve(application.db, 'secret')
    records = []

    class Collect(logging.Handler):
        def emit(self, record):
            records.append(f'{record.levelname} {record.getMessage()}')

    handler = Collect()
    logger = logging.getLogger('lovely.remotetask')
    logger.addHandler(handler)
    yield {'db': application.db, 'root': application.root, 'log': records,
           'url': f'http://anybody:secret@{address}/tasks'}
    logger.removeHandler(handler)
