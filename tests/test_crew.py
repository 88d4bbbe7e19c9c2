"""Numbered jobs in processes that die: each job done once, and an end to it where nothing helps."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from mimicctl.crew import Activity, results_here, results_in_order, results_of_jobs
from mimicctl.errors import RunFailed, UserError


def prepare(work, *arguments):
    def run(next_number):
        for number in iter(next_number, None):
            yield number, (number, os.getpid(), work(number, *arguments))

    return run


def prepare_many_at_once(count, folder):
    """As envs do it: some numbers are begun before any is done, and a slot for which there is none stays empty."""

    def run(next_number):
        slots = [number for number in (next_number() for _ in range(count)) if number is not None]
        while slots:
            number = slots.pop(0)
            die_once(number, folder)
            yield number, (number, os.getpid(), None)
            after = next_number()
            if after is not None:
                slots.append(after)

    return run


def prepare_and_fail():
    raise ValueError("odd")


def nothing(number):
    time.sleep(0.005)


def die_once(number, folder):
    if number % 7 == 3 and not (mark := Path(folder, str(number))).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_four(number):
    if number == 4:
        os._exit(3)


def run_out_of_memory_once(number, folder):
    if number == 2 and not (mark := Path(folder, "full")).exists():
        mark.touch()
        raise MemoryError


def results(prepared, arguments, numbers, activity=None, at_once=1):
    return results_of_jobs(prepared, arguments, numbers, workers=2, at_once=at_once, activity=activity or Activity(), do="do something")


def test_every_number_is_done_once_and_by_all_processes():
    activity = Activity()
    done = list(results(prepare, (nothing,), range(5, 60), activity))
    assert sorted(number for number, *_ in done) == list(range(5, 60))
    assert len({pid for _, pid, _ in done}) == 2 and os.getpid() not in {pid for _, pid, _ in done}
    assert activity.begun == 55 and activity.workers == 0
    assert not multiprocessing.active_children()


def test_numbers_without_end_until_closed():
    jobs = results(prepare, (nothing,), itertools.count())
    assert [next(jobs) for _ in range(20)]
    jobs.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("prepared", "before", "at_once"), [(prepare, (die_once,), 1), (prepare_many_at_once, (3,), 3)], ids=["one", "three"])
def test_what_a_killed_process_had_under_way_is_done_again(tmp_path, prepared, before, at_once):
    told: list[str] = []
    activity = Activity(on_event=told.append)
    done = [number for number, *_ in results(prepared, (*before, str(tmp_path)), range(12), activity, at_once)]
    assert sorted(done) == list(range(12))
    assert len(told) == 2 and "killed (signal 9)" in told[0] and activity.begun == 12


def test_want_of_memory_is_a_death_too(tmp_path):
    told: list[str] = []
    done = list(results(prepare, (run_out_of_memory_once, str(tmp_path)), range(6), Activity(on_event=told.append)))
    assert sorted(number for number, *_ in done) == list(range(6)) and len(told) == 1


def test_a_job_that_kills_every_process_ends_the_run():
    told: list[str] = []
    with pytest.raises(RunFailed, match="5 worker processes died.*exit code 3") as caught:
        list(results(prepare, (die_at_four,), range(20), Activity(on_event=told.append)))
    assert caught.value.do == "do something" and len(told) == 4
    assert not multiprocessing.active_children()


def test_an_exception_ends_the_run():
    with pytest.raises(RunFailed, match="ValueError: odd") as caught:
        list(results(prepare_and_fail, (), range(20)))
    assert "--debug" in caught.value.do and not multiprocessing.active_children()


def prepare_and_refuse():
    raise UserError("The file is damaged.", where="a.hdf5", do="repair it")


def test_a_refusal_in_a_process_is_that_of_the_run():
    with pytest.raises(UserError) as caught:
        list(results(prepare_and_refuse, (), range(20)))
    assert (caught.value.what, caught.value.where, caught.value.do, caught.value.exit_code) == ("The file is damaged.", "a.hdf5", "repair it", 2)


def test_in_this_process_the_results_are_the_same():
    done = list(results_here(prepare(nothing), range(5, 9)))
    assert [number for number, *_ in done] == [5, 6, 7, 8] and {pid for _, pid, _ in done} == {os.getpid()}


# In order ---------------------------------------------------------------------------------------------------


def squares(folder=None):
    def square(number):
        time.sleep(0.03 * (number % 3 == 0))  # so that some are overtaken
        if folder:
            die_once(number, folder)
        return number**2

    return square


def in_order(items, prepared=squares, arguments=()):
    return results_in_order(items, prepared, arguments, 2, do="do something")


ITEMS = [(str(i), list(range(i, i + i % 3))) for i in range(20)]
EXPECTED = [(name, [number**2 for number in jobs]) for name, jobs in ITEMS]


def test_items_come_in_order_with_the_results_of_their_jobs():
    assert any(not jobs for _, jobs in ITEMS) and list(in_order(ITEMS)) == EXPECTED
    assert not multiprocessing.active_children()


def test_a_killed_process_changes_neither_results_nor_order(tmp_path):
    assert list(in_order(ITEMS, arguments=(str(tmp_path),))) == EXPECTED
    assert len(list(tmp_path.iterdir())) > 1, "none was killed"


def test_items_without_jobs_come_out_in_their_turn_and_a_few_are_taken_ahead():
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i, [i] if i < 4 else []

    found = in_order(items())
    for i in range(50):
        assert next(found) == (i, [i**2] if i < 4 else [])
        assert len(taken) <= i + 8
    found.close()
    assert not multiprocessing.active_children()


def test_an_item_may_have_more_jobs_than_are_taken_ahead():
    items = [("many", list(range(40))), ("few", [1]), ("many more", list(range(60)))]
    assert list(in_order(items)) == [(name, [number**2 for number in jobs]) for name, jobs in items]
