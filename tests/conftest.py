"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest

pytest.register_assert_rewrite("contracts")

# Who starts the tests in the background, or by nohup, hands on signals that are ignored; the programs that the tests
# interrupt must get them as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
