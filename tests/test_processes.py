"""Interruptions that wait."""

from __future__ import annotations

import signal
import threading

import pytest

from mimicctl.processes import interruptions_wait


def test_an_interruption_waits_until_the_work_is_whole():
    done = []
    with pytest.raises(KeyboardInterrupt), interruptions_wait():
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_waits_too_where_it_is_an_interruption():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), interruptions_wait():
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["all of it"]


def test_an_error_comes_through_where_nothing_interrupts():
    with pytest.raises(ZeroDivisionError), interruptions_wait():
        _ = 1 / 0


def test_other_threads_are_never_interrupted():
    done = []

    def work() -> None:
        with interruptions_wait():
            done.append(threading.current_thread().name)

    thread = threading.Thread(target=work, name="another")
    thread.start()
    thread.join()
    assert done == ["another"]
