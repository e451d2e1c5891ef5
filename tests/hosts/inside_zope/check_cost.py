"""What an enqueue adds to a request: CPU, measured.

Of many the least: that one was disturbed least by what else the machine does.
"""

import time

import transaction


def test_an_enqueue_costs_no_millisecond(driver, people):
    """Over the commit of a request that writes something anyway."""
    took = {False: [], True: []}
    with driver.world.acting(people[1]) as service:
        site = service.aq_parent
        for number in range(300):
            for adds in (False, True):
                began = time.thread_time()
                site.title = str(number)
                if adds:
                    service.add('echo', {'number': number})
                transaction.commit()
                took[adds].append(time.thread_time() - began)
    more = min(took[True]) - min(took[False])
    print(f'an enqueue took {more * 1000:.2f} ms')
    assert more < 0.001


def test_a_run_in_a_request_of_its_own_is_cheap(driver, people):
    with driver.world.acting() as service:
        jobid = service.add('echo', runAs=people[1])
        job = service.jobs[jobid]
        took = []
        for _ in range(200):
            began = time.thread_time()
            with service.host.running(service, job):
                pass
            took.append(time.thread_time() - began)
    print(f'entering and leaving a run took {min(took) * 1e6:.0f} us')
    assert min(took) < 0.002
