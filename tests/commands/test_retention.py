"""``remotetask retention`` tells and says how long jobs are kept."""

import json

import pytest

USUAL = {'completed': {'days': 7, 'count': 100_000},
         'error': {'days': 90, 'count': 10_000},
         'cancelled': {'days': 90, 'count': 10_000}}


@pytest.fixture
def retention(remotetask, where):
    """``retention(...)``: exit status, output and errors."""
    def run(*arguments):
        done = remotetask('retention', *arguments, *where)
        return done.returncode, done.stdout, done.stderr

    yield run
    # Other tests have that server, too.
    for status, bounds in USUAL.items():
        run(status, '--days', bounds['days'], '--count', bounds['count'])


def test_it_tells_and_says(retention):
    code, out, _ = retention('--json')
    assert (code, json.loads(out)) == (0, USUAL)
    code, out, _ = retention('completed', '--days', '0.5', '--count', 'any')
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ['status', 'days', 'count'], ['completed', '0.5', 'any'],
        ['error', '90', '10000'], ['cancelled', '90', '10000']]
    code, out, _ = retention('error', '--days', '30', '--json')
    assert (code, json.loads(out)) == (0, {
        **USUAL, 'completed': {'days': 0.5, 'count': None},
        'error': {'days': 30, 'count': 10_000}})


def test_it_refuses(retention):
    for arguments, code, word in (
            (['queued', '--days', '1'], 2, 'queued'),
            (['completed'], 2, '--days'), (['--days', '1'], 2, 'status'),
            (['error', '--days', 'x'], 2, 'no number'),
            (['error', '--days', 'inf'], 2, 'no number'),
            (['error', '--count', '1.5'], 1, 'count'),
            (['error', '--days', '0'], 1, 'days')):
        found = retention(*arguments)
        assert found[:2] == (code, '') and word in found[2], found
    assert json.loads(retention('--json')[1]) == USUAL
