"""Ctrl-C and SIGTERM between two steps of the work, not in the middle of one."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Which signal asked for the end, if any did."""

    number: int | None = None

    def asked(self) -> bool:
        return self.number is not None

    def obey(self) -> None:
        """Do what the signal would have done, if one came."""
        if self.number is not None:
            signal.raise_signal(self.number)


@contextmanager
def deferred(patience: float | None = None) -> Iterator[Stop]:
    """Inside, the first signal is only noted, to be obeyed later; a second one acts at once, as it would have before.

    patience: seconds after which the first one acts too; None: as long as it takes. Signals that are ignored stay so.
    They belong to the main thread: elsewhere none is ever noted.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    timers: list[threading.Timer] = []

    def restore() -> None:
        for timer in timers:
            timer.cancel()
        for number, handler in mine.items():
            signal.signal(number, handler)

    def again(number: int) -> None:
        if signal.getsignal(number) is note:  # not while the signal is being obeyed already
            os.kill(os.getpid(), number)

    def note(number: int, frame: FrameType | None) -> None:
        if stop.number is not None:
            restore()
            signal.raise_signal(number)
            return
        stop.number = number
        if patience is not None:
            # Sent to the process: raised in the timer's own thread, it would not wake the main one.
            timers.append(threading.Timer(patience, again, [number]))
            timers[0].daemon = True
            timers[0].start()

    for number in mine:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """For what starts a process: signals act afterwards, and the process never hears of a Ctrl-C, which a terminal
    sends to it too: what this thread blocks, a process that it starts has blocked.
    """
    with deferred() as stop:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            stop.obey()
