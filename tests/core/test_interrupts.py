"""One signal asks, a later one stops at once."""

from __future__ import annotations

import signal
import threading

import pytest

from emnist_diff.running import interrupts
from emnist_diff.running.interrupts import stop_requests


def test_a_signal_asks_and_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as stopping:
        assert not stopping.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stopping.is_set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_request_stops_and_an_echo_of_the_first_does_not(monkeypatch):
    """A terminal and a launcher may both pass one Ctrl-C on."""
    clock = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: clock[0])
    with stop_requests() as stopping:
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.9
        signal.raise_signal(signal.SIGTERM)
        assert stopping.is_set()
        clock[0] += 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with stop_requests() as stopping:
            seen.extend([signal.getsignal(signal.SIGINT), stopping.is_set()])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]
