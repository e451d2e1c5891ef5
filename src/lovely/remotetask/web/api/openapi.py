"""The OpenAPI 3.1 document, made from the routes."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from lovely.remotetask.errors.bounds import LONGEST
from lovely.remotetask.fields.edges import EDGE_STATES
from lovely.remotetask.follow import POLICIES
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import KEY_UNTIL
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import NOT_OVER
from lovely.remotetask.interfaces import ON_DUPLICATE
from lovely.remotetask.interfaces import ON_DUPLICATE_CRON
from lovely.remotetask.interfaces import RETRIED
from lovely.remotetask.interfaces import SCHEDULED
from lovely.remotetask.interfaces import STATUSES
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.rule import MISSED
from lovely.remotetask.schedule.rule import OVERLAP
from lovely.remotetask.store.retention import DAY
from lovely.remotetask.store.retention import MOST_JOBS
from lovely.remotetask.web.api.jobs import MOST_ADDED
from lovely.remotetask.web.api.routes import ROUTES
from lovely.remotetask.web.api.routes import Route
from lovely.remotetask.web.api.schedules import MOST_RUNS
from lovely.remotetask.web.follow_ups import AFTER
from lovely.remotetask.web.follow_ups import MOST_CALLS
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response
from lovely.remotetask.web.selecting import MOMENTS
from lovely.remotetask.web.selecting import NAMES

_VERSION = '3.1.0'

_PERMISSIONS = {VIEW: 'View', ADD: 'Add', MANAGE: 'Manage'}

_TEXT = {'type': 'string'}
_MAYBE_TEXT = {'type': ['string', 'null']}
_MOMENT = {'type': ['string', 'null'], 'format': 'date-time'}
_WHOLE = {'type': 'integer'}
_YES = {'type': 'boolean'}
_NEXT = {'type': ['string', 'null'],
         'description': 'Where to go on: the "start" of the next request; '
                        'null at the end.'}
_ID = {'type': 'integer', 'minimum': -2 ** 63, 'maximum': 2 ** 63 - 1}
_STATUS = {'type': 'string', 'enum': list(STATUSES)}
_PRIORITY = {'type': 'integer', 'minimum': -4, 'maximum': 3, 'default': 0}
_DELAY = {'type': ['number', 'null'], 'minimum': 0,
          'description': 'Seconds to wait.'}
_OWN: dict[str, Any] = {
    'retry': {'type': ['integer', 'null'], 'minimum': 0,
              'description': 'How often it is tried again; null: as its task '
                             'has it.  Takes the permission to manage.'},
    'timeout': {'type': ['number', 'null'], 'exclusiveMinimum': 0,
                'description': 'How long a run may last, in seconds; null: '
                               'as its task has it.  Takes the permission to '
                               'manage.'}}
_OWN_SHOWN: dict[str, Any] = {
    'retry': {'type': ['integer', 'object', 'string', 'null']},
    'timeout': {'type': ['number', 'null']}}


def _object(needed: tuple[str, ...] = (), **parts: object) -> dict[str, Any]:
    found: dict[str, Any] = {'type': 'object', 'properties': parts}
    if needed:
        found['required'] = list(needed)
    return found


def _closed(needed: tuple[str, ...] = (), **parts: object) -> dict[str, Any]:
    return {**_object(needed, **parts), 'additionalProperties': False}


def _list(of: object) -> dict[str, Any]:
    return {'type': 'array', 'items': of}


_LIMIT = {'type': ['integer', 'null'], 'minimum': 1}
_RATE = {'type': ['array', 'null'], 'items': {'type': 'number'},
         'minItems': 2, 'maxItems': 2}
_MORE = {'queue': _MAYBE_TEXT, 'concurrencyKey': _MAYBE_TEXT}

_CALL: dict[str, Any] = {'anyOf': [
    {'$ref': '#/components/schemas/Call'}, {'type': 'null'}]}
_CALLS = {'type': 'array', 'maxItems': MOST_CALLS,
          'items': {'$ref': '#/components/schemas/Call'}}
_POLICY = {'type': 'string', 'enum': list(POLICIES)}
_AFTER = dict.fromkeys(AFTER, _CALL)

_SELECTION = {**{name: _MAYBE_TEXT for name in NAMES},
              **{name: _MOMENT for name in MOMENTS}}

_SUMMARY = {
    'id': _ID, 'task': _MAYBE_TEXT, 'status': _TEXT, 'createdAt': _MOMENT,
    'startedAt': _MOMENT, 'completedAt': _MOMENT, 'scheduledAt': _MOMENT,
    'waitsFor': _MAYBE_TEXT, 'attempts': _WHOLE, 'priority': _WHOLE,
    'submitter': _MAYBE_TEXT, 'key': {}, 'queue': _TEXT,
    'concurrencyKey': _MAYBE_TEXT, 'error': _MAYBE_TEXT,
    'errorType': _MAYBE_TEXT, 'enabled': _YES, 'declared': _YES,
    'pausedBecause': _TEXT, 'progress': {'type': 'object'}}

_PLAN: dict[str, Any] = {
    'task': _TEXT, 'input': {}, 'priority': _PRIORITY, 'delay': _DELAY,
    **{name: _list(_WHOLE) for name in FIELDS},
    'cron': _MAYBE_TEXT, 'every': {'type': ['number', 'null'], 'minimum': 1},
    'at': _MAYBE_TEXT, 'timezone': _TEXT,
    'missed': {'type': 'string', 'enum': list(MISSED)},
    'atMost': {'type': ['integer', 'null'], 'minimum': 1},
    'deadline': {'type': ['number', 'null'], 'exclusiveMinimum': 0},
    'overlap': {'type': 'string', 'enum': list(OVERLAP)}, **_OWN, **_MORE}
_SCHEDULE: dict[str, Any] = {
    **_SUMMARY, 'schedule': {'type': 'object'}, 'plan': {'type': 'object'},
    'delay': {'type': ['number', 'null']},
    'lastRun': {'type': ['object', 'null']}, 'localAt': _MAYBE_TEXT,
    'nextRuns': _list(_object(('at', 'local'), at=_MOMENT, local=_TEXT))}

_COUNT = {'type': 'integer', 'minimum': 0}
_GROUP: dict[str, Any] = {
    'id': _ID, 'state': {'type': 'string', 'enum': [
        'open', 'stuck', 'done', 'cancelled', 'broken']},
    'policy': {'type': 'string', 'enum': list(POLICIES)},
    **{name: _COUNT for name in (
        'of', 'completed', 'error', 'cancelled', 'gone', 'open', 'looked')},
    'createdAt': _MOMENT, 'endedAt': _MOMENT, 'task': _MAYBE_TEXT,
    'then': {'type': ['integer', 'null']}, 'note': _MAYBE_TEXT,
    'submitter': _MAYBE_TEXT}
_BOUNDS: dict[str, Any] = {
    'days': {'type': ['number', 'null'], 'exclusiveMinimum': 0,
             'maximum': LONGEST / DAY},
    'count': {'type': ['integer', 'null'], 'minimum': 1,
              'maximum': MOST_JOBS}}

_SCHEMAS: dict[str, dict[str, Any]] = {
    'Summary': _object(('id', 'status'), **_SUMMARY),
    'Job': _object(
        ('id', 'status'), **_SUMMARY, **_OWN_SHOWN, input={}, output={},
        inputNote=_TEXT,
        outputNote=_TEXT, bytes=_list(_TEXT), runs=_list({'type': 'object'}),
        checkpoint=_object(
            at=_MOMENT, count=_WHOLE, steps=_WHOLE, latestStep=_MAYBE_TEXT,
            cursor={}, cursorNote=_TEXT),
        follows={'type': ['integer', 'null']},
        group={'type': ['integer', 'null']},
        followUps=_list(_object(
            ('on', 'task', 'state'), on={'type': 'string', 'enum': [
                'success', 'failure']}, task=_TEXT,
            state={'type': 'string', 'enum': list(EDGE_STATES)},
            id={'type': ['integer', 'null']}, note=_MAYBE_TEXT,
            behind=_COUNT)),
        errors=_list(_object(
            type=_TEXT, message=_TEXT, traceback=_MAYBE_TEXT, attempt=_WHOLE,
            time=_MOMENT))),
    'Page': _object(('jobs', 'next'), jobs=_list(
        {'$ref': '#/components/schemas/Summary'}), next=_NEXT, looked=_WHOLE,
        paused=_YES),
    'NewJob': _closed(
        ('task',), task=_TEXT, input={}, priority=_PRIORITY, delay=_DELAY,
        key=_MAYBE_TEXT, keyUntil={'type': 'string', 'enum': list(KEY_UNTIL)},
        onDuplicate={'type': 'string', 'enum': list(ON_DUPLICATE)}, **_MORE,
        **_OWN, **_AFTER),
    'Call': {'oneOf': [_TEXT, _closed(
        ('task',), task=_TEXT, input={
            'description': 'In it, an object {"RESULT": true} stands for the '
                           'result of the job before.'},
        priority={**_PRIORITY, 'type': ['integer', 'null'], 'default': None},
        delay=_DELAY, policy=_POLICY, **_MORE, **_OWN, **_AFTER)]},
    'NewChain': _closed(('calls',), calls=_CALLS, policy=_POLICY),
    'NewGroup': _closed(('calls',), calls=_CALLS, then=_CALL, policy=_POLICY),
    'AddedGroup': _object(('id', 'of'), id=_ID, of=_WHOLE, paused=_YES),
    'NewJobs': _closed(
        ('task', 'inputs'), task=_TEXT, inputs={
            'type': 'array', 'minItems': 1, 'maxItems': MOST_ADDED},
        priority=_PRIORITY, delay=_DELAY, **_MORE, **_OWN),
    'Added': _object(('id', 'status'), id=_ID, status=_TEXT, paused=_YES),
    'AddedMany': _object(('ids',), ids=_list(_ID)),
    'Changed': _object(('id', 'status'), id=_ID, status=_TEXT, deleted=_YES),
    'Nothing': _closed(),
    'Retry': _closed(anew={
        **_YES, 'default': False,
        'description': 'Forget the checkpoint and the steps of the job, and '
                       'begin at the beginning.'}),
    'Pause': _closed(reason={'type': ['string', 'null'], 'minLength': 1,
                             'maxLength': 200}, queue=_MAYBE_TEXT,
                     resumeAt=_MAYBE_TEXT),
    'Resume': _closed(queue=_MAYBE_TEXT),
    'NewLimit': _closed(task=_MAYBE_TEXT, key=_MAYBE_TEXT, limit=_LIMIT,
                        rate=_RATE),
    'WhichLimit': _closed(task=_MAYBE_TEXT, key=_MAYBE_TEXT),
    'Limits': _object(('limits',), limits=_list(_object(
        ('kind', 'name', 'set', 'running', 'waiting'), kind=_TEXT, name=_TEXT,
        limit=_LIMIT, rate=_RATE, set=_YES, running=_WHOLE, waiting=_WHOLE))),
    'Queues': _object(('queues',), queues=_list(_object(
        ('name', 'ready', 'paused'), name=_TEXT, ready=_WHOLE, paused=_YES,
        pausedBy=_MAYBE_TEXT, pausedAt=_MAYBE_TEXT, pauseReason=_MAYBE_TEXT,
        resumeAt=_MAYBE_TEXT))),
    'NewSchedule': _closed(
        ('task',), **_PLAN, key=_MAYBE_TEXT,
        onDuplicate={'type': 'string', 'enum': list(ON_DUPLICATE_CRON)},
        enabled=_YES, **_AFTER),
    'EditedSchedule': _closed(version=_MAYBE_TEXT, **_PLAN),
    'Schedule': _object(
        ('id', 'status', 'version'), **_SCHEDULE, **_OWN_SHOWN, input={},
        inputNote=_TEXT,
        bytes=_list(_TEXT), version=_TEXT),
    'Schedules': _object(('jobs', 'next'), jobs=_list(_object(
        ('id', 'status'), **_SCHEDULE)), next=_NEXT, paused=_YES),
    'Events': _object(('events', 'next'), events=_list(_object(
        ('id', 'job', 'status', 'at'), id=_TEXT, job=_ID, status=_TEXT,
        at=_MOMENT)), next=_TEXT),
    'History': _object(('history',), history=_list(_object(
        ('start', 'done', 'failed'), start=_MOMENT, seconds=_WHOLE,
        done=_WHOLE, failed=_WHOLE))),
    'Group': _object(('id', 'state', 'of'), **_GROUP, jobs=_list(_ID)),
    'Groups': _object(('groups', 'next'), groups=_list(_object(
        ('id', 'state', 'of'), **_GROUP)), next=_NEXT),
    'GroupCancelled': _object(('cancelled',), cancelled=_COUNT),
    'WhichOpen': _closed(
        ('status',), status={'type': 'string', 'enum': [*NOT_OVER, SCHEDULED]},
        start=_MAYBE_TEXT, **_SELECTION),
    'WhichOver': _closed(
        ('status',), status={'type': 'string', 'enum': list(RETRIED)},
        start=_MAYBE_TEXT, **_SELECTION),
    'Clean': _closed(
        ('status',), status=_list({'type': 'string', 'enum': list(FINAL)}),
        start=_MAYBE_TEXT, before=_MAYBE_TEXT,
        keep={'type': 'integer', 'minimum': 0}),
    'Check': _closed(('repair',), repair=_YES, start=_MAYBE_TEXT),
    'Cancelled': _object(('cancelled', 'next'), cancelled=_WHOLE, next=_NEXT),
    'Retried': _object(('retried', 'left', 'next'), retried=_WHOLE,
                       left=_WHOLE, next=_NEXT),
    'Removed': _object(('removed', 'next'), removed={'type': 'object'},
                       next=_NEXT),
    'Checked': _object(('found', 'repaired', 'next'),
                       found={'type': 'object'}, repaired={'type': 'object'},
                       next=_NEXT),
    'Stats': _object(('paused', 'workers'), paused=_YES, workers=_WHOLE,
                     oldest={'type': ['number', 'null']}),
    'Tasks': _object(('tasks', 'inputs'), tasks=_list(_TEXT),
                     inputs={'type': 'object'}),
    'Task': _object(('name', 'input'), name=_TEXT, input={'type': 'object'}),
    'Workers': _object(('workers',), workers=_list({'type': 'object'})),
    'Paused': _object(('paused',), paused=_YES),
    'Retention': _object(FINAL, **dict.fromkeys(FINAL, _object(
        ('days', 'count'), **_BOUNDS))),
    'NewRetention': _closed((), **dict.fromkeys(
        FINAL, _closed((), **_BOUNDS))),
    'Problem': _object(
        ('type', 'title', 'status', 'detail', 'error'), type=_TEXT,
        title=_TEXT, status=_WHOLE, detail=_TEXT, error=_TEXT),
}

_LIST = {
    'status': {'type': 'string', 'enum': [*STATUSES, SCHEDULED, '']},
    'start': _TEXT,
    'after': {'type': 'string', 'pattern': '^[0-9]{0,18}$'},
    'hours': {'type': 'integer', 'minimum': 1, 'maximum': 720, 'default': 1},
    'runs': {'type': 'integer', 'minimum': 0, 'maximum': MOST_RUNS},
    'limit': {'type': 'integer', 'minimum': 1, 'maximum': MAX_PAGE,
              'default': 50},
    # An empty one is as one that is left out: forms send such.
    **{name: _TEXT for name in _SELECTION}}


@functools.cache
def document() -> dict[str, Any]:
    """The document; its server is the one that sends it."""
    return {
        'openapi': _VERSION,
        'info': {
            'title': 'lovely.remotetask', 'version': '1',
            'license': {'name': 'ZPL-2.1', 'identifier': 'ZPL-2.1'},
            'description': 'Jobs of a task queue in a ZODB: add, watch and '
                           'steer them.'},
        'servers': [{'url': 'api/v1'}],
        'security': [{'bearer': []}, {'basic': []}],
        'paths': {_path(path): {
            method.lower(): _operation(path, method, route)
            for method, route in methods.items()}
            for path, methods in ROUTES.items()},
        'components': {
            'schemas': _SCHEMAS,
            'securitySchemes': {
                'bearer': {'type': 'http', 'scheme': 'bearer'},
                'basic': {'type': 'http', 'scheme': 'basic'}},
            'responses': {'Problem': {
                'description': 'Why not.', 'content': {
                    'application/problem+json': {'schema': {
                        '$ref': '#/components/schemas/Problem'}}}}}},
    }


def serve(request: Request, part: str) -> Response:
    """Answer with the document; it is the same for everybody."""
    return Response(200, 'application/json; charset=utf-8',
                    text().encode(), {'Cache-Control': 'no-cache',
                                      'X-Content-Type-Options': 'nosniff'})


def text() -> str:
    """The document as a file has it."""
    return json.dumps(document(), indent=1) + '\n'


def _path(path: str) -> str:
    return '/' + path.replace('ID', '{id}').replace('NAME', '{name}')


def _operation(path: str, method: str, route: Route) -> dict[str, Any]:
    words = re.sub('ID|NAME', '', path).replace('/', ' ').split()
    found: dict[str, Any] = {
        'operationId': '_'.join((method.lower(), *words, *(
            ['one'] if 'ID' in path or 'NAME' in path else []))),
        'summary': route.summary,
        'description': f'Takes the permission {_PERMISSIONS[route.permission]}'
                       f'.',
        'responses': {
            str(route.status): _response(route),
            **{str(status): {'$ref': '#/components/responses/Problem'}
               for status in _problems(path, method)}}}
    parameters = [{'name': name, 'in': 'query', 'schema': _LIST[name]}
                  for name in route.query]
    for word, name, schema in (('ID', 'id', _ID), ('NAME', 'name', _TEXT)):
        if word in path:
            parameters.append({'name': name, 'in': 'path', 'required': True,
                               'schema': schema})
    if parameters:
        found['parameters'] = parameters
    if route.body:
        found['requestBody'] = {'required': True, 'content': {
            'application/json': {'schema': {
                '$ref': f'#/components/schemas/{route.body}'}}}}
    return found


def _response(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {'description': 'It is done.'}
    if route.answer:
        found['content'] = {'application/json': {'schema': {
            '$ref': f'#/components/schemas/{route.answer}'}}}
    return found


def _problems(path: str, method: str) -> list[int]:
    found = [400, 401, 403, 404, 503]
    if 'ID' in path and method != 'GET':
        found.append(409)
    if path == 'jobs' and method == 'POST':
        found.append(409)
    if method in ('POST', 'PUT'):
        found += [411, 413, 415]
    return sorted(set(found))


if __name__ == '__main__':
    import sys

    # For docs/reference/openapi.json.
    sys.stdout.write(text())
