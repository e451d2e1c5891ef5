"""How the documents test tasks in real hosts, followed word by word."""

from pathlib import Path

import pytest
from documents import follow

HOWTO = Path(__file__).parents[2] / 'docs' / 'howto'


@pytest.mark.environment('zope')
def test_with_zope_testrunner(environment, tmp_path):
    assert follow(HOWTO / 'test-with-zope-testrunner.rst', environment.path,
                  tmp_path) == 1


@pytest.mark.environment('pyramid')
def test_in_pyramid(environment, tmp_path):
    assert follow(HOWTO / 'test-in-pyramid.rst', environment.path,
                  tmp_path) == 1


@pytest.mark.environment('plone')
def test_in_plone(environment, tmp_path):
    assert follow(HOWTO / 'test-in-plone.rst', environment.path,
                  tmp_path) == 1
