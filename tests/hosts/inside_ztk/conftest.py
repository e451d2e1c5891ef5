"""These use the kit's own world and driver."""

import base64
import importlib.util
import re
import urllib.parse
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    'remotetask_kit', Path(__file__).parents[1] / 'kit' / 'conftest.py')
_kit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_kit)

driver = _kit.driver


class Visits:
    """Requests of accounts to the application of a driver's world.

    Arguments: ``database``.
    """

    def __init__(self, database):
        import webtest
        from zope.app.wsgi import WSGIPublisherApplication

        self._app = webtest.TestApp(
            WSGIPublisherApplication(database), lint=False)

    def ask(self, method, path, form=None, who='mgr', **headers):
        """One request below the service.  Returns: webtest's answer."""
        if who is not None:
            login = base64.b64encode(f'{who}:pw'.encode()).decode()
            headers['Authorization'] = f'Basic {login}'
        headers = {name.replace('_', '-'): value
                   for name, value in headers.items()}
        body = None if form is None else urllib.parse.urlencode(
            form, doseq=True)
        return self._app.request(
            f'/site/tasks/{path}', method=method, headers=headers,
            body=(body or '').encode(), expect_errors=True,
            content_type='application/x-www-form-urlencoded')

    def get(self, path='jobs.html', who='mgr', **headers):
        return self.ask('GET', path, None, who, **headers)

    def token(self, who='mgr'):
        """The token that a page of this account has."""
        return re.search(r'name="csrf" value="(\w+)"', self.get(
            '@@dashboard/', who).text)[1]

    def post(self, path='jobs.html', who='mgr', **form):
        """Send a form as a page of ours does."""
        return self.ask('POST', path, {**form, 'csrf': self.token(who)}, who)


@pytest.fixture
def visits(driver):
    return Visits(driver.world.database)
