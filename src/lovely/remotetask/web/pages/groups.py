"""The pages of groups: those that are not over, and one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.store.batches import BROKEN
from lovely.remotetask.store.batches import DONE
from lovely.remotetask.store.batches import GONE
from lovely.remotetask.store.batches import OPEN
from lovely.remotetask.web import grouped
from lovely.remotetask.web.pages import acting
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.rows import row
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

# A look at a group in the list loads up to 20 of its jobs.
_PAGE = 25

# state -> the style in which it is shown.
_KINDS = {OPEN: 'open', DONE: 'completed', 'stuck': 'failed',
          BROKEN: 'failed', CANCELLED: 'cancelled'}

# How the jobs have ended: end -> (its title on the page of one group, the
# word for it in the list).
_ENDS = {COMPLETED: ('Completed', 'completed'), ERROR: ('Failed', 'failed'),
         CANCELLED: ('Cancelled', 'cancelled'),
         GONE: ('Removed, its end unknown', 'removed'),
         OPEN: ('Not over', 'not over')}

_POLICIES = {True: 'stop: all have to complete',
             False: 'continue: all have to be over'}


def show(request: Request, part: str) -> frame.Page:
    """The groups that are not over."""
    start = request.query.get('start') or None

    def look(service: TaskService) -> dict[str, Any]:
        found, behind = service.listGroups(start, _PAGE)
        return {'rows': [_line(one) for one in found], 'next': behind,
                'count': grouped.count_open(service)}

    found: Any = request.run(look, False)
    return frame.Page('groups', 'Groups', 'jobs', {
        **found, 'is_first': start is None,
        'total': words.count(found['count'], 'group is', 'groups are'),
        'is_cut': any(one['is_cut'] for one in found['rows'])})


def show_one(request: Request, part: str) -> frame.Page:
    """The page of the group whose id is in the path."""
    found: Any = request.run(
        lambda service: grouped.group(service, int(part)), False)
    return frame.Page('group', f'Group {part}', 'jobs', {
        'group': _summary(found),
        'ends': [(title, words.number(found[end]))
                 for end, (title, _) in _ENDS.items()
                 if found[end] or end != GONE],
        'facts': [
            ('Policy', _POLICIES[found['policy'] == STOP]),
            ('Added by', found['submitter'] or '–')],
        'follows': _follows(found),
        'jobs': [row(one) for one in found['jobs']],
        'shown': _shown(found),
        'can_cancel': found['endedAt'] is None,
    })


def _summary(group: dict[str, Any]) -> dict[str, Any]:
    """What both pages show of a group."""
    return {
        'id': str(group['id']),
        'state': {'text': group['state'],
                  'kind': _KINDS.get(group['state'], 'open')},
        'note': group['note'],
        'number': words.number(group['of']),
        'jobs': words.count(group['of'], 'job', 'jobs'),
        'task': group['task'],
        'added': words.moment(group['createdAt']),
        'ended': words.moment(group['endedAt']),
        'is_cut': group['looked'] < group['of'],
        'looked': words.number(group['looked']),
    }


def _line(group: dict[str, Any]) -> dict[str, Any]:
    ends = ', '.join(f'{words.number(group[end])} {word}'
                     for end, (_, word) in _ENDS.items() if group[end])
    if group['looked'] < group['of']:
        ends += f' of the first {words.number(group["looked"])}'
    return {**_summary(group), 'ends': ends or '–',
            'submitter': group['submitter'] or '–'}


def _follows(group: dict[str, Any]) -> dict[str, Any] | None:
    """What follows the group: its task, and the job once it is added."""
    if group['task'] is None:
        return None
    if group['then'] is not None:
        return {'task': group['task'], 'id': str(group['then']),
                'text': 'was added'}
    text = {CANCELLED: 'does not follow', BROKEN: 'never follows',
            'stuck': 'is stuck'}.get(group['state'], 'is to follow')
    return {'task': group['task'], 'id': None, 'text': text}


def _shown(group: dict[str, Any]) -> str | None:
    """Which of the jobs are shown, where not all are."""
    jobs, of = group['jobs'], group['of']
    if len(jobs) == of:
        return None
    text = f'{words.number(len(jobs))} of {words.number(of)} are shown'
    failed = group[ERROR] + group[CANCELLED]
    if failed:
        text += ', those that failed first'
        there = sum(job['status'] in (ERROR, CANCELLED) for job in jobs)
        if there < min(failed, grouped.MOST_SHOWN) and group['found'] < of:
            text += (f', as far as they are among the first '
                     f'{words.number(group["found"])}')
    if len(jobs) < min(of, grouped.MOST_SHOWN):
        text += '; those that were removed are left out'
    return f'{text}.'


def cancel(request: Request, part: str) -> Response:
    """Cancel the jobs of a group that are not over, and what follows them."""
    form = acting.form_of(request)
    number = int(part)
    if not acting.is_sure(form):
        found: Any = request.run(
            lambda service: service.getGroup(number), False)
        task = found['task']
        then = '' if task is None else f', and {task:.80} does not follow'
        return acting.ask(
            request, form, f'Cancel group {number}?',
            f'Its jobs that are not over are cancelled{then}. What a task '
            f'that runs has done in the database is undone; what it has done '
            f'elsewhere is not.', 'Cancel the group',
            back=f'groups/{number}', leave='Leave it as it is')
    cancelled: Any = request.run(
        lambda service: service.cancelGroup(number), True)
    acting.note(request, f'cancelled group {number}, '
                         f'{words.count(cancelled, "job", "jobs")} of it')
    return frame.see(request, f'groups/{number}', done='cancelled',
                     n=str(cancelled))
