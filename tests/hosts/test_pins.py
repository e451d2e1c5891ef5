"""What the makers of a host have pinned, our extras leave as it is."""

import pytest

pytestmark = pytest.mark.environment('zope', 'plone', 'pyramid', 'ztk')


def test_installing_us_changes_no_version(environment):
    # Plone acceptance 1, first half; as a user does it: without the pins.
    assert environment.changed() == {}


def test_what_comes_with_us_is_as_pinned(environment):
    # What was not there before may be pinned all the same.
    assert environment.unpinned() == {}


def test_what_is_installed_fits_together(environment):
    result = environment.pip('check', check=False)
    ours = [line for line in (result.stdout + result.stderr).splitlines()
            if 'lovely' in line.lower()]
    assert ours == []


def test_the_command_line_is_there(environment):
    result = environment.run('lovely.remotetask.cli', '--help')
    assert 'worker' in result.stdout
