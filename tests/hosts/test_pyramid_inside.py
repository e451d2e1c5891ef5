"""The seam's kit, and applications, inside Pyramid's environment."""

import pytest

pytestmark = pytest.mark.environment('pyramid')


def test_kit(inside):
    inside('pyramid')


def test_tests_of_applications(inside):
    inside('pyramid', 'inside_pyramid/check_testing.py')


def test_applications(inside):
    inside('pyramid', 'inside_pyramid/check_application.py')


def test_decorated_tasks(inside):
    inside('pyramid', 'inside_pyramid/check_decorated.py')
