"""What a test needs of the machine, and may not find."""

import os

import pytest


def missing(reason):
    """Skip a test that lacks what it needs: a server, or a program.

    With REMOTETASK_REQUIRE_SERVICES=1, as in CI, fail it.
    """
    if os.environ.get('REMOTETASK_REQUIRE_SERVICES') == '1':
        pytest.fail(reason)
    pytest.skip(reason)
