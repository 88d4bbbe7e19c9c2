"""Work in several processes: all of it once, and clean ends."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from mimicctl.errors import RunFailed
from mimicctl.processes import SharedNumbers, results_of


def numbers_taken(numbers):
    for number in numbers:
        time.sleep(0.01)
        yield os.getpid(), number


def dies(numbers):
    yield next(numbers)
    os._exit(3)


def raises(numbers):
    yield next(numbers)
    raise ValueError("odd")


def in_processes(work, last):
    return results_of(work, (SharedNumbers(5, last),), 2, do="do something")


def test_numbers_are_handed_out_once_to_all_processes():
    taken = list(in_processes(numbers_taken, 60))
    assert sorted(number for _, number in taken) == list(range(5, 60))
    assert os.getpid() not in {pid for pid, _ in taken}


def test_closing_ends_the_processes():
    results = in_processes(numbers_taken, None)
    next(results)
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("work", "message", "do"), [(dies, "exit code 3", "do something"), (raises, "ValueError: odd", "--debug")])
def test_a_process_that_fails_ends_the_others_and_what_was_done_before_counts(work, message, do):
    done = []
    with pytest.raises(RunFailed, match=message) as caught:
        for number in in_processes(work, None):
            done.append(number)
    assert do in caught.value.do and set(done) <= {5, 6}
    assert not multiprocessing.active_children()
