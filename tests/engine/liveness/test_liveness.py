"""One kit for all detectors of ILiveness, with real processes."""

import pickle

import pytest
from zope.interface.verify import verifyObject

from lovely.remotetask.interfaces import ILiveness

DETECTORS = ('exclusive', 'lock', 'pg', 'beat')

#: Well-formed evidence that nobody here can know anything about.
FOREIGN = {
    'lock': [
        ('lock', '11111111-2222-3333-4444-555555555555', (1, 2), 'a' * 32)],
    'pg': [('pg', '5@1600000000.5', 0x6c72746b, 17)],
    'beat': [('beat', 'f' * 32)],
    'exclusive': [('exclusive', 'f' * 32)],
}

MALFORMED = [
    None, (), 7, 'lock', ('lock',), ('pg',), ('beat',), ('exclusive',),
    ('lock', 1, 2, 3), ('lock', None, None, None), ('pg', 1, 2, 3),
    ('pg', 'x', 'y', 'z'), ('beat', 3), ('beat', 'x', 'y'),
    ('exclusive', 3), ('exclusive', None), ('new', 'kind', 3), object(),
    {'lock': 1}, (('lock', 'nested'),), ('lock', 'x', (1, 2), '../../x'),
]


class World:
    """A detector, and the place of its evidence."""

    def __init__(self, kind, place, made, announcer):
        self.kind = kind
        self.position = place
        self._made = made
        self._announcer = announcer
        #: Seconds within which a death must be seen.
        self.patience = 5.0 if kind == 'beat' else 1.0

    def start(self):
        return self._announcer(self.kind, self.position)

    def observer(self):
        return self._made(self.kind, self.position)

    @property
    def observes_live(self):
        """Can another process look while the first one lives?"""
        return self.kind != 'exclusive'


@pytest.fixture(params=DETECTORS)
def world(request, tmp_path, made, announcer):
    kind = request.param
    if kind == 'pg':
        place = request.getfixturevalue('postgresql')
        # Two processes that create the tables at once would not both get
        # through; here one is made once before.
        made(kind, place)
    else:
        place = str(tmp_path / ('Data.fs' if kind == 'exclusive' else 'run'))
    return World(kind, place, made, announcer)


def test_it_keeps_the_contract(world):
    assert verifyObject(ILiveness, world.observer())


def test_what_is_announced_is_plain_data_and_stable(world):
    detector = world.observer()
    evidence = detector.announce()
    assert type(evidence) is tuple
    assert evidence[0] == world.kind
    assert pickle.loads(pickle.dumps(evidence, 3)) == evidence
    assert detector.announce() == evidence
    assert detector.lost is False


def test_the_own_process_lives(world):
    detector = world.observer()
    assert detector.alive(detector.announce(), 1) is True
    assert detector.alive(detector.announce(), 1) is True


def test_another_process_lives_until_it_is_killed(world, until):
    process = world.start()
    assert process.evidence[0] == world.kind
    if world.observes_live:
        observer = world.observer()
        assert observer.alive(process.evidence, process.beat) is True
        assert observer.alive(process.evidence, process.beat) is True
    process.kill()
    if not world.observes_live:
        observer = world.observer()
    assert until(False, lambda: observer.alive(
        process.evidence, process.beat)) < world.patience
    # Everybody sees that, also after somebody else did.
    if world.observes_live:
        other = world.observer()
        assert until(False, lambda: other.alive(
            process.evidence, process.beat)) < world.patience
    assert observer.alive(process.evidence, process.beat) is False


def test_who_closed_lives_no_more(world, until):
    process = world.start()
    process.close()
    observer = world.observer()
    expected = None if world.kind == 'lock' else False
    until(expected, lambda: observer.alive(process.evidence, process.beat))


def test_closing_twice_does_no_harm_and_a_new_start_is_possible(world):
    detector = world.observer()
    first = detector.announce()
    detector.close()
    detector.close()
    assert detector.lost is False
    second = detector.announce()
    assert detector.alive(second, 1) is True
    if world.kind != 'beat':
        assert second != first
        assert detector.alive(first, 1) is not True


def test_two_processes_are_told_apart(world, until):
    first = world.start()
    if not world.observes_live:
        first.kill()
    second = world.start()
    assert first.evidence != second.evidence
    if world.observes_live:
        observer = world.observer()
        first.kill()
        until(False, lambda: observer.alive(first.evidence, first.beat))
        assert observer.alive(second.evidence, second.beat) is True


def test_a_child_made_by_fork_is_another_process(world, until):
    process = world.start()
    evidence = process.fork()
    assert evidence != process.evidence
    if world.observes_live:
        observer = world.observer()
        # What the child closed was its own.
        assert observer.alive(process.evidence, process.beat) is True
        # The child lives on, and holds nothing of its parent's.
        process.kill()
        assert until(False, lambda: observer.alive(
            process.evidence, process.beat)) < world.patience


@pytest.mark.parametrize('kind', DETECTORS)
def test_evidence_of_other_kinds_and_places_is_left_to_others(world, kind):
    detector = world.observer()
    detector.announce()
    for evidence in FOREIGN[kind]:
        # Of its own kind these two know: nobody else can have it open; and
        # the time of silence begins now.
        expected = {'exclusive': False, 'beat': True}.get(
            kind) if kind == world.kind else None
        assert detector.alive(evidence, 1) is expected


def test_what_cannot_be_understood_is_left_to_others(world):
    detector = world.observer()
    verdicts = [(evidence, detector.alive(evidence, beat))
                for evidence in MALFORMED for beat in (1, None, object())]
    assert [found for found in verdicts if found[1] is not None] == []
