"""A machine that lacks what the tests need must not pass for a good one."""

import pytest
from browser_steps import browsing


@pytest.mark.parametrize('required, outcome', [
    ('1', pytest.fail.Exception), ('', pytest.skip.Exception)])
def test_no_browser(monkeypatch, tmp_path, required, outcome):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('REMOTETASK_REQUIRE_SERVICES', required)
    with pytest.raises(outcome, match='no browser on PATH: chromium'):
        with browsing():
            raise AssertionError('it has found one')
