"""Signals between two steps: the first is noted, the second acts, and so does the first when patience ends."""

import os
import signal
import subprocess
import threading
import time

import pytest

from gambeson.interrupt import deferred, uninterrupted


class Terminated(Exception):
    pass


@pytest.fixture(autouse=True)
def handlers():
    def terminate(number, frame):
        raise Terminated

    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


ACTS = pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])


@ACTS
def test_the_first_signal_is_noted_and_obeyed_later(number, error) -> None:
    with deferred() as stop:
        assert not stop.asked()
        stop.obey()
        send(number)
        assert stop.asked()
    with pytest.raises(error):
        stop.obey()
    with pytest.raises(error):
        send(number)  # as before


@ACTS
def test_the_second_acts_at_once(number, error) -> None:
    with pytest.raises(error), deferred():  # noqa: PT012
        send(signal.SIGINT)
        send(number)
        time.sleep(60)
        pytest.fail("nothing happened")


@ACTS
def test_patience_ends(number, error) -> None:
    with pytest.raises(error), deferred(patience=0.05) as stop:  # noqa: PT012
        send(number)
        assert stop.asked()
        time.sleep(60)
        pytest.fail("nothing happened")


def test_patience_that_was_not_needed_does_nothing_later() -> None:
    before = set(threading.enumerate())
    with deferred(patience=600):
        send(signal.SIGINT)
        (timer,) = set(threading.enumerate()) - before
    timer.join(60)
    assert not timer.is_alive()


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred() as stop:
        send(signal.SIGINT)
        assert not stop.asked()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_elsewhere_than_in_the_main_thread_nothing_is_noted() -> None:
    found = []

    def work() -> None:
        with deferred() as stop:
            found.append(stop.asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


@ACTS
@pytest.mark.parametrize("fails", [False, True])
def test_what_starts_a_process_is_not_interrupted_and_the_process_hears_no_ctrl_c(number, error, fails) -> None:
    """The signal is obeyed afterwards, even if the process could not be started."""
    ended = []
    with pytest.raises(error), uninterrupted():  # noqa: PT012
        child = subprocess.Popen(["sleep", "60"])
        child.send_signal(signal.SIGINT)
        send(number)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.1)
        child.kill()
        ended.append(child.wait())
        if fails:
            raise OSError
    assert ended == [-signal.SIGKILL]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
