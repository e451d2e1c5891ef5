"""A host whose pages are tried: how to reach them, and as whom."""

import http.client
import re
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from typing import NamedTuple

from waiting import wait_until

SECONDS = 60
FORM = 'application/x-www-form-urlencoded'
#: What each of them may do; the names of the permissions on the pages.
PEOPLE = {'anonymous': (), 'nobody': (), 'viewer': ('View',),
          'adder': ('Add',), 'manager': ('View', 'Add', 'Manage')}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: str

    def __repr__(self):
        words = re.sub(r'<[^>]*>|\s+', ' ', self.text)
        return f'<{self.status} {words[-600:]}>'


@dataclass(frozen=True)
class WebHost:
    """Where the pages of a service are, in a host that is served.

    Arguments: ``name``, for pictures and messages; ``port``; ``mount``, the
    path of the pages without a slash behind; ``people``, a name of PEOPLE ->
    the headers by which that one logs in; ``tasks``, the names of tasks that
    are there besides those of web_tasks and echo; ``hidden``, how the host
    answers a page that a visitor without a login asks for.
    """

    name: str
    port: int
    mount: str
    people: dict
    tasks: tuple = ()
    hidden: tuple = (401, 403)
    links: dict = field(default_factory=dict)

    @property
    def origin(self):
        return f'http://127.0.0.1:{self.port}'

    def url(self, path=''):
        return f'{self.origin}{self.mount}/{path}'

    def ask(self, method, path, form=None, who='manager', body=None,
            raw=False, **headers):
        """One request.  ``raw``: the path is not below the mount point."""
        headers = {name.replace('_', '-'): value
                   for name, value in headers.items()}
        if form is not None:
            body = urllib.parse.urlencode(form, doseq=True)
            headers.setdefault('Content-Type', FORM)
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=SECONDS)
        try:
            connection.request(
                method, path if raw else f'{self.mount}/{path}', body,
                {**self.people[who], **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers,
                          answer.read().decode())
        finally:
            connection.close()

    def get(self, path='', who='manager', **options):
        return self.ask('GET', path, who=who, **options)

    def token(self, who='manager', page=''):
        """(name, value) of the field that the forms of a page have."""
        answer = self.get(page, who)
        assert answer.status == 200, answer
        found = re.search(r'<form id="act".*?name="([^"]+)" value="([^"]*)"',
                          answer.text, re.S)
        return found.groups()

    def post(self, path, who='manager', **form):
        """Send a form of a page, and say where the answer leads to."""
        name, value = self.token(who)
        answer = self.ask('POST', path, {**form, name: value}, who,
                          Origin=self.origin)
        assert answer.status == 303, answer
        assert answer.headers['Location'].removeprefix(
            self.origin).startswith(f'{self.mount}/'), answer
        return answer.headers['Location'].removeprefix(self.origin)

    def add(self, task, input='', **form):
        """Add a job by the form.  Returns: its id."""
        place = self.post('jobs/add', task=task, input=input, **form)
        return re.match(rf'{re.escape(self.mount)}/jobs/(\d+)\?', place)[1]

    def status(self, jobid):
        answer = self.get(f'jobs/{jobid}')
        assert answer.status == 200, answer
        return re.search(r'class="badge \w+">([^<]*)<', answer.text)[1]

    def wait(self, jobid, status):
        def has_ended():
            found = self.status(jobid)
            assert found == status or found not in (
                'completed', 'cancelled', 'error'), self.get(f'jobs/{jobid}')
            return found == status

        wait_until(has_ended, lambda: self.get(f'jobs/{jobid}'))
        return jobid

    def schedules(self):
        return re.findall(r'jobs/(\d+)">', main(self.get('schedules').text))


@contextmanager
def filled(host):
    """Have jobs with each status there, and no others.  Gives: {what: id}."""
    clear(host)
    try:
        made = {'done': host.wait(host.add('echo', '{"a": [1, "x"]}'),
                                  'completed'),
                'failed': host.wait(host.add('fail'), 'error'),
                'planned': host.wait(host.add('plan', '"tea"'), 'completed'),
                'later': host.add('echo', '"later"', delay='3600')}
        made['schedule'], = {*host.schedules()} - {made['later']}
        cancelled = host.add('echo', '"never"', delay='3600')
        host.post('jobs/cancel', job=cancelled)
        made['cancelled'] = host.wait(cancelled, 'cancelled')
        yield made
    finally:
        clear(host)


def clear(host):
    """Remove all jobs of a host."""
    for status in ('scheduled', 'queued'):
        host.post('jobs/all/cancel', status=status, sure='1')
    for status in ('completed', 'error', 'cancelled'):
        host.post('jobs/all/remove', status=status, sure='1')


def main(text):
    """The ``main`` element of a page, alone."""
    found = re.search(r'<main.*</main>', text, re.S)
    assert found, text
    return found.group()


def without_host(text, host):
    """``main`` without what differs from host to host, or with the hour.

    That is the mount point, the token, the user; numbers, times and durations;
    and tasks that one host alone has.
    """
    text = main(text).replace(host.mount, 'M')
    text = re.sub(r'(name=")\w+(" value=")[0-9a-f]{40,}"', r'\1T\2T"', text)
    text = re.sub(r'(<dt>Added by</dt><dd>)[^<]*', r'\1U', text)
    for name in host.tasks:
        text = re.sub(rf'<option value="{name}">.*?</option>', '', text)
        text = re.sub(rf'<tr>\s*<td data-label="Name">{name}</td>.*?</tr>',
                      '', text, flags=re.S)
    # What earlier tests of the same server have drawn.
    text = re.sub(r'(?s)(<svg)[^>]*>.*?</svg>', r'\1/>', text)
    text = re.sub(r'(?s)<tbody><tr><td data-label="From">.*?</tbody>', '',
                  text)
    # The places of files, and the lines of code in a traceback, of which each
    # Python shows others.
    text = re.sub(r'File "[^"]*/', 'File "', text)
    text = re.sub(r'(?s)<pre.*?</pre>', lambda found: re.sub(
        r'\n    .*', '', found.group()), text)
    text = re.sub(r'\d+([-.:T+\u202f]\d+)*', '0', text)
    text = re.sub('0\u202f(ms|s|min)', 'D', text)
    text = re.sub(r'0 threads?', '0 threads', text)
    # Of one worker, how it is known to live, and on which machine.
    text = re.sub(r'(data-label="(Worker|Host|Known alive by)">)[^<]*',
                  r'\1W', text)
    return re.sub(r'\s+', ' ', re.sub(r'>\s+<', '><', text))
