"""The page of a Pyramid application that shows how its job goes."""

import os
import subprocess

import browser_steps
import pytest
from documents import HOWTO
from documents import file_of
from waiting import answers
from waiting import free_port
from waiting import wait_until
from web_host import WebHost

pytestmark = pytest.mark.environment('pyramid')


def test_the_page_about_an_order(environment, tmp_path):
    """A user sees how the job goes that the application has added."""
    (tmp_path / 'orders.py').write_text(
        file_of(HOWTO / 'show-a-job-on-a-page.rst', 'orders.py'))
    port = free_port()
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            [environment.python, '-c', f'''
import orders
import waitress
waitress.serve(orders.main({{}}, **{{'zodbconn.uri': 'file://Data.fs'}}),
               listen='127.0.0.1:{port}')
'''], cwd=tmp_path, stdout=log, stderr=log,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    host = WebHost('orders', port, '', {
        'mia': {'X-User': 'mia'}, 'ben': {'X-User': 'ben'}})
    try:
        wait_until(lambda: answers(port), (tmp_path / 'log').read_text,
                   processes=[process])
        place = host.ask('POST', '/order', raw=True, who='mia').headers[
            'Location'].removeprefix(host.origin)
        jobid = place.rpartition('/')[2]
        with browser_steps.browsing() as browser:
            # The application has no icon, which a browser asks for.
            with browser_steps.window(
                    browser, host, 'mia', silent=False) as page:
                page.goto(f'{host.origin}{place}')
                page.locator('[data-status=completed]').wait_for()
                assert page.locator('p').inner_text().strip() == (
                    f'Job {jobid}: completed')
            # The job of another one: the text stays that the page had.
            with browser_steps.window(
                    browser, host, 'ben', silent=False) as page:
                with page.expect_response('**/api/v1/jobs/*') as answer:
                    page.goto(f'{host.origin}{place}')
                assert answer.value.status == 403
                assert page.locator('[data-status]').count() == 0
                assert page.locator('p').inner_text() == (
                    f'Job {jobid}: completed')
    finally:
        process.terminate()
        process.wait(60)
