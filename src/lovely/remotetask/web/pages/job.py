"""The page of one job."""

from __future__ import annotations

from typing import Any

from lovely.remotetask.edge.texts import retry_text
from lovely.remotetask.interfaces import CRONJOB
from lovely.remotetask.interfaces import DELAYED
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import STARTLATER
from lovely.remotetask.web import changes
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.rows import row
from lovely.remotetask.web.requests import Request

# In these, a job can be told to run now.
_WAITING = (STARTLATER, DELAYED, CRONJOB)

# What follows a job, in words.
_AFTER = {'success': 'After its success', 'failure': 'After its failure'}
_STATES = {'added': 'follows', 'waits': 'is to follow',
           'off': 'does not follow', 'stuck': 'is stuck'}

# How much of an input or output is shown (characters).
_MOST = 64_000


def show(request: Request, part: str) -> frame.Page:
    """The page of the job whose id is in the path."""
    jobid = int(part)
    found: Any = request.run(lambda service: {
        **presenter.job(service, jobid),
        'canRetry': changes.can_retry(service, jobid)}, False)
    status = found['status']
    return frame.Page('job', f'Job {jobid}', 'jobs', {
        'job': row(found),
        'error': found['error'],
        'error_type': found['errorType'],
        'failures': [{
            'type': one['type'], 'message': one['message'],
            'traceback': one['traceback'], 'attempt': one['attempt'],
            'time': words.moment(one['time'])} for one in found['errors']],
        'runs': [{
            'ended': words.moment(one['endedAt']),
            'took': words.duration(one['seconds']),
            'outcome': words.badge(one['outcome']), 'error': one['error']}
            for one in found.get('runs', ())],
        'facts': _facts(found),
        'others': _others(found),
        'group': None if found['group'] is None else str(found['group']),
        'payloads': [
            _payload(found, 'input'),
            *([_payload(found['checkpoint'], 'cursor')]
              if _has_cursor(found) else ()),
            _payload(found, 'output')],
        'can_retry': found['canRetry'],
        'can_cancel': status not in FINAL,
        'can_remove': status in FINAL,
        'can_start': status in _WAITING or found['waitsFor'] is not None,
    })


def _has_cursor(job: dict[str, Any]) -> bool:
    """Has the job a cursor?  One with steps alone has none."""
    reached = job.get('checkpoint', {})
    return reached.get('cursor') is not None or 'cursorNote' in reached


def _own(job: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if job['retry'] is not None:
        facts.append(('Retries', retry_text(job['retry'])))
    if job['timeout'] is not None:
        facts.append(('Time limit', f'{job["timeout"]:g} s'))
    return facts


def _reached(job: dict[str, Any]) -> list[tuple[str, str]]:
    reached = job.get('checkpoint', {})
    if 'count' not in reached:
        return []
    facts = [('Checkpoints', words.number(reached['count']))]
    if reached['steps']:
        facts.append(('Steps', f'{words.number(reached["steps"])}, the last '
                               f'of them {reached["latestStep"]}'))
    return facts


def _facts(job: dict[str, Any]) -> list[tuple[str, str]]:
    waited = words.between(job['createdAt'], job['startedAt'])
    took = words.between(job['startedAt'], job['completedAt'])
    return [
        ('Waited', words.duration(waited)),
        ('Ran', words.duration(took)),
        ('Attempts', words.number(job['attempts'])),
        ('Priority', str(job['priority'])),
        ('Key', '–' if job['key'] is None else str(job['key'])),
        ('Queue', job['queue']),
        *([('Concurrency key', job['concurrencyKey'])]
          if job['concurrencyKey'] else []),
        ('Added by', job['submitter'] or '–'),
        *_own(job),
        *_reached(job),
    ]


def _others(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs before and behind it, a line each."""
    found: list[dict[str, Any]] = []
    if job['follows'] is not None:
        found.append({'text': 'Follows', 'id': str(job['follows']),
                      'stuck': None})
    for one in job['followUps']:
        more = (f', and {words.number(one["behind"])} more behind it'
                if one['behind'] else '')
        state = _STATES[one['state']]
        found.append({
            'text': f'{_AFTER[one["on"]]} {one["task"]} {state}{more}',
            'id': None if one['id'] is None else str(one['id']),
            'stuck': one['note']})
    return found


def _payload(job: dict[str, Any], name: str) -> dict[str, Any]:
    note = job.get(f'{name}Note')
    text = '' if note and job[name] is None else frame.as_json(job[name])
    return {'name': name.capitalize(), 'note': note, 'text': text[:_MOST],
            'cut': (f'cut; it has {words.number(len(text))} characters'
                    if len(text) > _MOST else None)}
