"""Signals that no system call of the main thread notices: they end a command all the same."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# The signal goes to another thread, as if it had come before the read began.
WAITING = """
import os, signal, sys, threading, time
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
from lamina.cli.signals import Interrupted, signals
number, (end, _) = int(sys.argv[1]), os.pipe()
try:
    with signals():
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
        os.read(end, 1)
except Interrupted as came:
    print(came.number)
before = signal.getsignal(signal.SIGURG), signal.getsignal(number)
print(*(each in (signal.SIG_DFL, signal.default_int_handler) for each in before), signal.set_wakeup_fd(-1))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_read_that_does_not_return(number: signal.Signals) -> None:
    ended = subprocess.run([sys.executable, "-c", WAITING, str(int(number))], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, [str(int(number)), "True", "True", "-1"], "")


# Nobody but the main thread may take it.
HELD = """
import os, signal, time
from lamina.cli.signals import Interrupted, signals
try:
    with signals():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.001)
        print("cleaned up")
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        time.sleep(100)
except Interrupted as came:
    print(came.number)
"""


def test_a_signal_that_is_held_back_while_something_is_cleaned_up() -> None:
    ended = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "cleaned up\n15\n", "")
