"""What needs no server, inside of an environment with the ZTK."""

import pytest

pytestmark = pytest.mark.environment('ztk')


def test_the_kit(inside):
    inside('ztk')


def test_ours(inside):
    inside('ztk', 'inside_ztk/check_security.py', 'inside_ztk/check_host.py',
           'inside_ztk/check_publisher.py', 'inside_ztk/check_generations.py',
           'inside_ztk/check_life.py', 'inside_ztk/check_jobs_page.py',
           'inside_ztk/check_cron_form.py')


def test_the_narratives_of_the_pages(inside, upstream, monkeypatch):
    """Ours, and that of 0.5.2 as its release has it."""
    monkeypatch.setenv('REMOTETASK_UPSTREAM_README',
                       str(upstream / 'browser' / 'README.txt'))
    assert '2 passed' in inside('ztk', 'inside_ztk/check_narratives.py')
