"""What needs no server, inside of an environment with the ZTK."""

import pytest

pytestmark = pytest.mark.environment('ztk')


def test_the_kit(inside):
    inside('ztk')


def test_ours(inside):
    inside('ztk', 'inside_ztk/check_security.py', 'inside_ztk/check_host.py',
           'inside_ztk/check_publisher.py', 'inside_ztk/check_generations.py',
           'inside_ztk/check_life.py')
