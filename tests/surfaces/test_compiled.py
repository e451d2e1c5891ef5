"""Templates are compiled before the first page is asked for."""

import subprocess
import sys
import textwrap


def run(program):
    """What a program prints, in a process of its own."""
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(program)], text=True,
        capture_output=True, check=True, timeout=200).stdout


def test_a_thread_compiles_all_of_them():
    assert run('''
        import sys
        import threading
        from lovely.remotetask.web.pages import compiled

        assert 'lovely.remotetask.web.surface' not in sys.modules
        compiled.begin(0.0)
        compiled.begin(0.0)
        [thread] = [one for one in threading.enumerate()
                    if one.name == 'remotetask.templates']
        thread.join(100)
        assert 'lovely.remotetask.web.surface' in sys.modules
        registry = compiled._loader().registry
        print(len(registry) == len(list(compiled._folder().glob('*.pt'))),
              all(one._cooked for one in registry.values()))
        ''') == 'True True\n'


def test_a_child_that_is_forked_meanwhile_makes_pages():
    """No lock, of ours or of an import, is left behind in it."""
    assert run('''
        import os
        from lovely.remotetask.web.pages import compiled

        compiled.begin(0.0)
        for _ in range(8):
            child = os.fork()
            if not child:
                from lovely.remotetask.web import surface
                os._exit(0 if compiled.template('message') else 1)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                print('a child has failed')
        print('all are well')
        ''') == 'all are well\n'
