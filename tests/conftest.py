"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("contracts")

# Who starts the tests in the background, or by nohup, hands on signals that are ignored; the programs that the tests
# interrupt must get them as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

TALLIES = pytest.StashKey[list[str]]()
Tally = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="The tests of tests/reliability at full length: hours in all.")
    parser.addoption("--share", type=float, default=1.0, help="Of the points of R1 and R4 at full length, this part of all.")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the tests of reliability are to run at full length."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def share(request: pytest.FixtureRequest) -> float:
    """The part of all points that is to be tried at full length."""
    return float(request.config.getoption("--share"))


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """`tally("R1", kills=1612, lost=0)`: what a test has counted, printed at the end of the run."""
    lines = request.config.stash.setdefault(TALLIES, [])

    def say(row: str, **counts: object) -> None:
        lines.append(f"{row}: " + ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()))

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(TALLIES, []):
        terminalreporter.section("counts")
        for line in sorted(lines):
            terminalreporter.write_line(line)
