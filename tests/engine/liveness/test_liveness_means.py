"""What each detector does beyond the kit, and the verdict of all."""

import gc
import os
import signal
import time
import weakref

import psycopg2
import pytest
import ZEO
from ZODB.blob import BlobStorage
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import settings
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.peers import liveness
from lovely.remotetask.peers.liveness import ExclusiveStorage
from lovely.remotetask.peers.liveness import Heartbeat
from lovely.remotetask.peers.liveness import Liveness
from lovely.remotetask.peers.liveness import LockFile
from lovely.remotetask.peers.liveness import PostgresLock
from lovely.remotetask.peers.liveness import lockfile


class Beat:
    """The beat of a worker's record."""

    def __init__(self, oid, count=0):
        self._p_oid = oid
        self.count = count


# --- exclusive ---------------------------------------------------------------

@pytest.fixture
def zeo(tmp_path):
    address, stop = ZEO.server(str(tmp_path / 'zeo.fs'))
    yield address
    stop()


@pytest.fixture
def opened():
    """``opened(storage)``: a database, closed at the end."""
    databases = []

    def opened(storage):
        databases.append(storage if isinstance(storage, DB) else DB(storage))
        return databases[-1]

    yield opened
    for database in databases:
        database.close()


def test_storages_that_only_this_process_can_open(tmp_path, opened, zeo):
    file = FileStorage(str(tmp_path / 'a.fs'))
    for storage in (
            file, MappingStorage(), DemoStorage(),
            DemoStorage(base=FileStorage(str(tmp_path / 'b.fs'))),
            BlobStorage(str(tmp_path / 'blobs'),
                        FileStorage(str(tmp_path / 'c.fs'))),
            FileStorage(str(tmp_path / 'd.fs'),
                        blob_dir=str(tmp_path / 'blobs2')),
            # What is written goes to memory.
            DemoStorage(base=ZEO.client(zeo))):
        detector = ExclusiveStorage(opened(storage))
        assert detector.available, storage
        assert detector.announce()[0] == 'exclusive'


def test_storages_that_others_can_open_too(tmp_path, opened, zeo):
    # With a root in it, or a reader could not open it.
    DB(FileStorage(str(tmp_path / 'a.fs'))).close()
    for storage in (ZEO.client(zeo),
                    FileStorage(str(tmp_path / 'a.fs'), read_only=True)):
        detector = ExclusiveStorage(opened(storage))
        assert not detector.available, storage
        assert detector.announce() == ()
        # Who had it alone is gone all the same.
        assert detector.alive(('exclusive', 'f' * 32), 1) is False


def test_to_open_again_in_this_process_is_to_open_again(tmp_path):
    database = DB(FileStorage(str(tmp_path / 'a.fs')))
    first = ExclusiveStorage(database).announce()
    # Whoever asks, it is the same storage.
    assert ExclusiveStorage(database).announce() == first
    database.close()
    database = DB(FileStorage(str(tmp_path / 'a.fs')))
    assert ExclusiveStorage(database).alive(first, 1) is False
    database.close()


# --- lock file ---------------------------------------------------------------

def test_a_stopped_process_keeps_its_lock(tmp_path, announcer):
    place = str(tmp_path / 'run')
    process = announcer('lock', place)
    process.signal(signal.SIGSTOP)
    assert LockFile(place).alive(process.evidence, 1) is True
    process.signal(signal.SIGCONT)
    assert LockFile(place).alive(process.evidence, 1) is True


def test_a_program_started_by_a_worker_does_not_keep_its_lock(
        tmp_path, announcer, until):
    place = str(tmp_path / 'run')
    process = announcer('lock', place)
    process.spawn()
    process.kill()
    observer = LockFile(place)
    assert until(False, observer.alive, process.evidence, 1) < 1


def test_the_end_of_a_child_made_by_fork_leaves_the_file(
        tmp_path, announcer):
    place = str(tmp_path / 'run')
    process = announcer('lock', place)
    assert process.ask('fork and end') == '0'
    assert process.ask('lost') == 'False'
    assert LockFile(place).alive(process.evidence, 1) is True


def test_the_directory_is_made_for_us_alone(tmp_path):
    place = tmp_path / 'run'
    detector = LockFile(str(place))
    (name,) = [detector.announce()[3]]
    assert place.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in place.iterdir()] == [name]
    detector.close()
    assert list(place.iterdir()) == []


def foreign_directory(tmp_path):
    if os.geteuid():
        return '/', 'it belongs to the user 0'
    place = tmp_path / 'theirs'
    place.mkdir(mode=0o700)
    os.chown(place, 4711, 4711)
    return str(place), 'it belongs to the user 4711, not to 0'


def linked_directory(tmp_path):
    (tmp_path / 'real').mkdir(mode=0o700)
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    return str(tmp_path / 'link'), 'it is a symbolic link'


def writable_directory(tmp_path):
    place = tmp_path / 'open'
    place.mkdir()
    place.chmod(0o770)
    return str(place), 'others may write to it (mode 0770)'


def no_directory(tmp_path):
    (tmp_path / 'file').write_text('')
    return str(tmp_path / 'file'), 'Not a directory'


@pytest.mark.parametrize('make', [foreign_directory, linked_directory,
                                  writable_directory, no_directory])
def test_a_directory_of_others_is_refused_with_the_reason(
        tmp_path, log, make):
    place, reason = make(tmp_path)
    detector = LockFile(place)
    assert detector.announce() == ()
    assert detector.announce() == ()
    assert detector.lost is False
    (record,) = log
    assert record.startswith('WARNING ')
    assert place in record and reason in record
    # Nor is anything believed that is found there.
    good = LockFile(str(tmp_path / 'good'))
    kind, boot, _, name = good.announce()
    found = os.stat(place)
    assert detector.alive((kind, boot, (found.st_dev, found.st_ino), name),
                       1) is None
    good.close()


def test_other_boots_directories_and_absent_files_tell_nothing(tmp_path):
    detector = LockFile(str(tmp_path / 'run'))
    kind, boot, place, name = evidence = detector.announce()
    assert detector.alive(evidence, 1) is True
    for other in ((kind, 'x' + boot, place, name),
                  (kind, boot, (place[0], place[1] + 1), name),
                  (kind, boot, place, 'f' * 32)):
        assert detector.alive(other, 1) is None
    assert LockFile(str(tmp_path / 'none')).alive(evidence, 1) is None
    assert not (tmp_path / 'none').exists()
    detector.close()


def test_without_a_boot_id_there_is_no_lock(tmp_path, monkeypatch, log):
    monkeypatch.setattr(lockfile, '_BOOT_ID', str(tmp_path / 'none'))
    assert LockFile(str(tmp_path / 'run')).announce() == ()
    assert 'this system has no boot id' in log[0]


def test_who_cleans_up_too_much_is_noticed(tmp_path):
    detector = LockFile(str(tmp_path / 'run'))
    evidence = detector.announce()
    os.unlink(tmp_path / 'run' / evidence[3])
    assert detector.lost is True
    assert detector.alive(evidence, 1) is None
    again = detector.announce()
    assert again != evidence
    assert detector.lost is False
    assert detector.alive(again, 1) is True
    detector.close()


def test_dead_files_stay_for_a_day_and_live_ones_for_ever(
        tmp_path, announcer):
    place = tmp_path / 'run'
    fresh, old = announcer('lock', str(place)), announcer('lock', str(place))
    alive = announcer('lock', str(place))
    fresh.kill()
    old.kill()
    day_ago = time.time() - lockfile.KEEP_SECONDS - 60
    for process in (old, alive):
        os.utime(place / process.evidence[3], (day_ago, day_ago))
    (place / 'unknown').write_text('')
    os.utime(place / 'unknown', (day_ago, day_ago))
    detector = LockFile(str(place))
    own = detector.announce()
    assert {path.name for path in place.iterdir()} == {
        own[3], fresh.evidence[3], alive.evidence[3], 'unknown'}
    assert detector.alive(fresh.evidence, 1) is False
    # To announce again says that the file is in use.
    alive.announce()
    assert (place / alive.evidence[3]).stat().st_mtime > day_ago + 3600
    detector.close()


def test_a_forgotten_detector_leaves_no_file(tmp_path):
    detector = LockFile(str(tmp_path / 'run'))
    detector.announce()
    del detector
    gc.collect()
    assert list((tmp_path / 'run').iterdir()) == []


def test_the_default_directory_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    assert lockfile.default_directory() == str(
        tmp_path / 'remotetask-workers')
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path / 'none'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    assert lockfile.default_directory() == str(
        tmp_path / f'remotetask-workers-{os.geteuid()}')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give away')
def test_a_directory_of_another_user_does_not_make_workers_harder_to_judge(
        tmp_path, monkeypatch):
    monkeypatch.delenv('XDG_RUNTIME_DIR', raising=False)
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    usual = tmp_path / f'remotetask-workers-{os.geteuid()}'
    usual.mkdir(mode=0o700)
    os.chown(usual, 12345, 12345)
    one, other = LockFile(), LockFile()
    evidence = one.announce()
    assert evidence[0] == 'lock'
    assert other.alive(evidence, 1) is True
    one.close()


# --- PostgreSQL --------------------------------------------------------------

@pytest.fixture
def server(postgresql):
    """``server(sql, *arguments)``: one answer of the server."""
    connection = psycopg2.connect(postgresql)
    connection.autocommit = True
    cursor = connection.cursor()

    def server(statement, *arguments):
        cursor.execute(statement, arguments)
        return cursor.fetchall()

    yield server
    connection.close()


_HOLDERS = ("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND "
            "classid = %s AND objid = %s AND mode = 'ExclusiveLock'")


def test_a_stopped_process_keeps_its_session(made, postgresql, announcer):
    observer = made('pg', postgresql)
    process = announcer('pg', postgresql)
    process.signal(signal.SIGSTOP)
    assert observer.alive(process.evidence, 1) is True


def test_a_broken_session_is_noticed_and_announced_anew(
        made, postgresql, announcer, server, until, log):
    observer, detector = made('pg', postgresql), made('pg', postgresql)
    evidence = detector.announce()
    ((pid,),) = server(_HOLDERS, *evidence[2:])
    assert server('SELECT pg_terminate_backend(%s)', pid) == [(True,)]
    assert until(False, observer.alive, evidence, 1) < 1
    assert detector.lost is True
    assert [line for line in log if 'no lock in PostgreSQL' in line] != []
    # Not before its pause is over.
    assert detector.announce() == ()
    until(True, lambda: bool(detector.announce()))
    again = detector.announce()
    assert again[:3] == evidence[:3]
    assert again != evidence
    assert detector.lost is False
    assert observer.alive(again, 1) is True
    assert detector.alive(again, 1) is True
    assert detector.alive(evidence, 1) is False


def test_no_transaction_stays_open(made, postgresql, server):
    detector = made('pg', postgresql)
    evidence = detector.announce()
    ((pid,),) = server(_HOLDERS, *evidence[2:])
    assert detector.alive(('pg', *evidence[1:3], 17), 1) is False
    assert server('SELECT state, application_name FROM pg_stat_activity '
                  'WHERE pid = %s', pid) == [('idle', 'remotetask liveness')]
    # To look leaves no lock behind.
    assert server(_HOLDERS.rpartition(' AND')[0], evidence[2], 17) == []
    assert server("SELECT count(*) FROM pg_locks WHERE locktype = "
                  "'advisory' AND pid = %s", pid) == [(1,)]


def test_another_run_of_the_server_tells_nothing(made, postgresql):
    detector = made('pg', postgresql)
    kind, identity, *numbers = detector.announce()
    oid, _, started = identity.partition('@')
    for other in (f'{oid}@{float(started) + 1}', f'1{oid}@{started}'):
        assert detector.alive((kind, other, *numbers), 1) is None


class Manager:
    """Opens connections as RelStorage does, or not."""

    def __init__(self, detector):
        self.manager = detector._kept._manager
        self.opened = 0
        self.broken = False
        self.shared = None

    def open(self, **options):
        self.opened += 1
        if self.broken:
            raise psycopg2.OperationalError('no route to host')
        if self.shared is None:
            return self.manager.open(**options)
        return self.shared


class Unclosed:
    """A client's connection to a pooler: closing it ends no session."""

    def __init__(self, connection):
        self._connection = connection

    def close(self):
        pass

    def __setattr__(self, name, value):
        if name == 'autocommit':
            self._connection.autocommit = value
        else:
            super().__setattr__(name, value)


def test_a_server_that_does_not_answer_is_asked_more_and_more_rarely(
        made, postgresql, own_clock, log):
    observer = made('pg', postgresql)
    evidence = observer.announce()
    detector = made('pg', postgresql)
    detector._kept._clock = own_clock
    detector._kept._manager = manager = Manager(detector)
    manager.broken = True
    for _ in range(600):
        assert detector.alive(evidence, 1) is None
        own_clock.seconds += 1
    assert 5 < manager.opened < 20
    (line,) = log
    assert line.startswith('WARNING ') and 'no route to host' in line
    manager.broken = False
    own_clock.seconds += 60
    assert detector.alive(evidence, 1) is True


def test_a_pooler_that_shares_sessions_is_recognised(
        made, postgresql, log):
    detector = made('pg', postgresql)
    detector._kept._manager = manager = Manager(detector)
    connection, cursor = manager.manager.open()
    manager.shared = (Unclosed(connection), cursor)
    assert detector.announce() == ()
    assert detector.announce() == ()
    assert detector.lost is False
    (line,) = log
    assert 'a pooler shares its sessions' in line
    connection.close()


def test_other_databases_have_no_such_lock(opened):
    detector = PostgresLock(opened(MappingStorage()))
    assert detector.announce() == ()
    assert detector.alive(('pg', '5@1', 0x6c72746b, 17), 1) is None


# --- heartbeat ---------------------------------------------------------------

@pytest.fixture
def look(own_clock):
    """``look(seconds, beat)``: the verdict after so many more seconds."""
    detector = Heartbeat(own_clock, dead_seconds=40, beat_seconds=10)

    def look(seconds, beat):
        own_clock.seconds += seconds
        return detector.alive(('beat', 'x'), beat)

    return look


def test_silence_is_timed_by_the_observer(look):
    assert look(0, 1)
    assert all(look(1, 1) for _ in range(39))
    assert not look(1, 1)
    assert not look(1, 1)
    # Any other count is a sign of life; also a smaller one.
    assert look(1, 2)
    assert all(look(10, 2) for _ in range(3))
    assert look(1, 1)
    assert [look(10, 1) for _ in range(4)] == [True, True, True, False]


def test_its_numbers_are_those_of_the_settings(own_clock, monkeypatch):
    monkeypatch.setattr(settings, 'BEAT_SECONDS', 3.0)
    monkeypatch.setattr(settings, 'DEAD_SECONDS', 6.0)
    detector = Heartbeat(own_clock)
    verdicts = []
    for _ in range(3):
        verdicts.append(detector.alive(('beat', 'x'), 1))
        own_clock.seconds += 100
    assert verdicts == [True, True, False]


def test_an_observer_that_slept_counts_no_silence(look):
    assert look(0, 1)
    assert look(3600, 1)
    assert look(1, 1)
    assert [look(10, 1) for _ in range(3)] == [True, True, False]


def test_the_workers_of_a_process_have_one_life(look):
    first, second, none = Beat(b'1', 17), Beat(b'2', 0), None
    assert all(look(0, beat) for beat in (first, second, none))
    # To see one after the other is no sign of life.
    verdicts = [look(5, beat) for _ in range(4)
                for beat in (first, second, none)]
    assert verdicts == [True] * 7 + [False] * 5
    second.count += 1
    assert not look(1, first)
    assert look(1, second)
    assert look(1, first)
    assert look(1, none)


def test_a_worker_without_a_beat_is_no_sign_of_life(look):
    assert look(0, 17)
    verdicts = [look(5, beat) for _ in range(5) for beat in (None, 17)]
    assert verdicts == [True] * 7 + [False] * 3


def test_who_is_asked_for_no_more_is_forgotten(own_clock):
    detector = Heartbeat(own_clock)
    for number in range(100):
        detector.alive(('beat', str(number)), 1)
    own_clock.seconds += 4000
    detector.alive(('beat', 'new'), 1)
    assert list(detector._seen) == ['new']


# --- the verdict -------------------------------------------------------------

@pytest.fixture
def shared(tmp_path, zeo, opened, own_clock):
    """A Liveness on ZEO, and what its processes are started with."""
    directory = str(tmp_path / 'run')
    detector = Liveness(opened(ZEO.DB(zeo)), own_clock, directory=directory)
    yield detector, (zeo, directory)
    detector.close()


def test_times_that_would_declare_the_living_dead_are_refused(opened):
    database = opened(MappingStorage())
    for beat_seconds, dead_seconds in ((10, 19), (0, 40), (-1, 40)):
        with pytest.raises(ConfigurationError, match='twice that'):
            Liveness(database, beat_seconds=beat_seconds,
                     dead_seconds=dead_seconds)
    detector = Liveness(database, beat_seconds=0.1, dead_seconds=0.4)
    assert (detector.beat_seconds, detector.dead_seconds) == (0.1, 0.4)


def test_an_exclusive_storage_needs_no_beat(tmp_path, opened):
    directory = tmp_path / 'run'
    detector = Liveness(opened(MappingStorage()), directory=str(directory))
    assert detector.needs_beat is False
    evidence = detector.announce()
    assert [part[0] for part in evidence] == ['exclusive']
    assert detector.alive(evidence, None) is True
    assert detector.lost is False
    # Whatever else the database says, nobody else can be there.
    for other in ((), None, 'x', (('exclusive', 'f' * 32),),
                  (('beat', 'f' * 32),), (('lock', 1), ('pg', 2))):
        assert detector.alive(other, 1) is False
    detector.close()
    assert not directory.exists()


def test_a_shared_storage_has_a_lock_and_beats(shared):
    detector, _ = shared
    assert detector.needs_beat is True
    evidence = detector.announce()
    assert [part[0] for part in evidence] == ['lock', 'beat']
    assert detector.announce() == evidence
    assert detector.alive(evidence, 1) is True
    # Whoever had the storage alone is gone.
    assert detector.alive((('exclusive', 'f' * 32),), 1) is False


def test_postgresql_adds_its_own(
        tmp_path, postgresql, made, opened, until):
    made('pg', postgresql)
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage
    options = Options(keep_history=False)
    database = opened(RelStorage(
        PostgreSQLAdapter(postgresql, options), options=options))
    detector = Liveness(database, directory=str(tmp_path / 'run'))
    observer = Liveness(database, directory=str(tmp_path / 'elsewhere'))
    evidence = detector.announce()
    assert detector.needs_beat is True
    assert [part[0] for part in evidence] == ['lock', 'pg', 'beat']
    assert observer.alive(evidence, 1) is True
    detector.close()
    # From another host, so to speak: its directory is another.
    assert until(False, observer.alive, evidence, 1) < 1
    observer.close()


def test_a_killed_process_is_dead_at_once(shared, announcer, until):
    detector, place = shared
    process = announcer('all', place)
    assert detector.alive(process.evidence, process.beat) is True
    process.kill()
    # However lively its beats have been.
    assert until(False, lambda: detector.alive(
        process.evidence, process.beat)) < 1


def test_a_stopped_process_keeps_its_jobs_for_ten_minutes(
        shared, announcer, own_clock):
    detector, place = shared
    process = announcer('all', place)
    process.signal(signal.SIGSTOP)

    def after(seconds):
        own_clock.seconds += seconds
        return detector.alive(process.evidence, 7)

    assert after(0)
    assert all(after(10) for _ in range(59))
    assert not after(10)
    # A sign of life, and all is well again.
    assert detector.alive(process.evidence, 8)


def test_without_a_lock_the_beats_decide(shared, own_clock):
    detector, _ = shared
    for evidence in (
            # another host; one that has no more than beats; another release
            (('lock', 'x', (1, 2), 'a' * 32), ('beat', 'b' * 32)),
            (('beat', 'c' * 32),), (('other', 3), 'x'), (), None):
        verdicts = []
        for _ in range(6):
            verdicts.append(detector.alive(evidence, 7))
            own_clock.seconds += 10
        assert verdicts == [True] * 4 + [False] * 2, evidence
        assert detector.alive(evidence, 8) is True


def test_a_lock_that_was_cleaned_away_is_announced_anew(shared):
    detector, (_, directory) = shared
    evidence = detector.announce()
    os.unlink(os.path.join(directory, evidence[0][3]))
    assert detector.lost is True
    # Nobody takes us for dead until then.
    assert detector.alive(evidence, 1) is True
    again = detector.announce()
    assert again[0] != evidence[0] and again[1] == evidence[1]
    assert detector.lost is False


def test_one_for_all_services_of_a_process(opened):
    first, second = opened(MappingStorage()), opened(MappingStorage())
    detector = liveness.for_database(first, beat_seconds=1, dead_seconds=3)
    assert liveness.for_database(first) is detector
    assert detector.dead_seconds == 3
    assert liveness.for_database(second) is not detector


def test_it_does_not_keep_a_database(tmp_path):
    database = DB(MappingStorage())
    liveness.for_database(database).announce()
    database.close()
    gone = weakref.ref(database)
    del database
    gc.collect()
    assert gone() is None


def test_a_child_made_by_fork_has_an_identity_of_its_own(
        shared, announcer, until):
    detector, place = shared
    process = announcer('all', place)
    evidence = process.fork()
    assert [part[0] for part in evidence] == ['lock', 'beat']
    assert set(evidence).isdisjoint(process.evidence)
    process.kill()
    assert until(False, detector.alive, process.evidence, 1) < 1
