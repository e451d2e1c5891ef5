"""What every host does alike, and the add-on's profiles, inside of Plone."""

import pytest

pytestmark = pytest.mark.environment('plone')


def test_the_kit(inside):
    inside('plone')


def test_the_profiles(inside):
    inside('plone', 'inside_plone/check_profile.py')


def test_what_zope_s_host_does(inside):
    """A Plone site changes nothing about it."""
    inside('zope', 'inside_zope/check_host.py')


def test_the_stub(inside):
    inside('plone', 'inside_zope/check_stub.py')


def test_content(inside):
    inside('plone', 'inside_plone/check_content.py')


def test_the_life_of_a_site(inside):
    inside('plone', 'inside_zope/check_life.py')
