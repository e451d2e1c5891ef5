"""What the tests of the contract share."""

import pytest
import transaction

from lovely.remotetask.processor import SimpleProcessor


@pytest.fixture
def run_all(application, service):
    """Commits, and runs all jobs of ``service`` in a processor."""
    def run_all():
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        while processor.processNext():
            pass
        transaction.begin()

    return run_all
