"""Requests to end are heeded once, wherever they come, and whatever swallows them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from latentkit import interrupts
from latentkit.interrupts import heeded


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_raises_and_its_echo_does_not(number, monkeypatch):
    before = signal.getsignal(number)
    with heeded() as requests:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(interrupts, "SAME", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert requests.number == number, "the first one decides"
    assert signal.getsignal(number) == before
    assert requests.over


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeded() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert requests.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_that_a_finaliser_swallows_is_raised_again():
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)  # where it is raised

    def work():
        found = Finalised()
        del found
        time.sleep(30.0)

    began = time.monotonic()
    with heeded(), pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_work_a_request_ends_the_process_without_a_word(number):
    code = (
        "import os, time\n"
        "from latentkit.interrupts import heeded\n"
        "with heeded(ends=True): pass\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "time.sleep(30)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-number, "")
