"""What an enqueue adds to a request, measured."""

import statistics
import time

import transaction


def test_an_enqueue_costs_no_millisecond(driver, people):
    """Over the commit of a request that writes something anyway."""
    took = {False: [], True: []}
    with driver.world.acting(people[1]) as service:
        site = service.aq_parent
        for number in range(300):
            for adds in (False, True):
                began = time.perf_counter()
                site.title = str(number)
                if adds:
                    service.add('echo', {'number': number})
                transaction.commit()
                took[adds].append(time.perf_counter() - began)
    more = statistics.median(took[True]) - statistics.median(took[False])
    print(f'an enqueue took {more * 1000:.2f} ms')
    assert more < 0.001


def test_a_run_in_a_request_of_its_own_is_cheap(driver, people):
    with driver.world.acting() as service:
        jobid = service.add('echo', runAs=people[1])
        job = service.jobs[jobid]
        began = time.perf_counter()
        for _ in range(200):
            with service.host.running(service, job):
                pass
        took = (time.perf_counter() - began) / 200
    print(f'entering and leaving a run took {took * 1e6:.0f} us')
    assert took < 0.002
