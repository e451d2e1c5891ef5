"""The kit, and what only Zope's host does, inside of Zope."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.environment('zope')


def test_the_kit(inside):
    inside('zope')


def test_the_host(inside):
    inside('zope', 'inside_zope/check_host.py')


def test_the_stub(inside):
    inside('zope', 'inside_zope/check_stub.py')


def test_the_life_of_a_site(inside):
    inside('zope', 'inside_zope/check_life.py')


# It starts a Zope of its own each time, in a process of its own.
@pytest.mark.parametrize('file', ['check_cost.py'])
def test_what_it_costs(inside, file):
    """The issue: 1 ms for an enqueue; hosts.md: nothing but an import."""
    inside('zope', f'inside_zope/{file}')


def test_zcml_in_a_process_that_runs_no_zope(environment):
    """Zope may be installed beside a worker that has nothing to do with it."""
    said = subprocess.run(
        [environment.python, '-c', 'import sys\n'
         'from zope.configuration import xmlconfig\n'
         'import lovely.remotetask\n'
         'from lovely.remotetask import host\n'
         'xmlconfig.file("configure.zcml", lovely.remotetask)\n'
         'print(host.current() is host.PLAIN, "OFS" in sys.modules)'],
        text=True, capture_output=True, check=True).stdout
    assert said.split() == ['True', 'False']


def test_wrapped_inputs_load_without_zope():
    """Their class is in databases that a plain worker may open."""
    said = subprocess.run(
        [sys.executable, '-c', 'import sys\n'
         'import lovely.remotetask.zope.inputs\n'
         'print([name for name in sys.modules if name.split(".")[0] in '
         '("AccessControl", "Acquisition", "OFS", "ZPublisher")])'],
        text=True, capture_output=True, check=True).stdout
    assert said.strip() == '[]'
