"""What is known of items, and what they come to."""

from __future__ import annotations

import threading

import pytest

from cli.progress.kit import Clock, digest
from lamina.cli.progress.tally import KEPT, Summary, Tally


def test_items_add_up() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", 1000)
    tally.start("b", "", 500)
    tally.done("c", "exists")
    clock.now += 2
    tally.advance("a", 400)
    assert tally.summary() == Summary(3, 1, 400, 1500, False, 200.0, 200.0, 1100 / 200)


def test_without_a_total_the_time_left_is_not_known() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", None)
    tally.start("b", "", 100)
    clock.now += 1
    tally.advance("a", 70)
    all_ = tally.summary()
    assert (all_.current, all_.known, all_.open, all_.left) == (70, 170, True, None)
    tally.done("a", "loaded")
    clock.now += 1
    all_ = tally.summary()
    assert (all_.open, all_.left) == (False, 100 / 35)


def test_lately_and_overall() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", 10_000)
    for count in [1000] * 5 + [10] * 10:
        clock.now += 1
        tally.advance("a", count)
        all_ = tally.summary()
    assert all_.lately == 10
    assert all_.overall == 5100 / 15
    assert all_.left == 4900 / 10


def test_time_counts_from_the_first_item() -> None:
    clock = Clock()
    tally = Tally(clock)
    assert tally.summary() == Summary()
    clock.now += 50
    tally.start("a", "", 100)
    clock.now += 2
    tally.advance("a", 20)
    assert tally.summary() == Summary(1, 0, 20, 100, False, 10.0, 10.0, 8.0)


def test_a_stall_has_no_time_left() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", 10_000)
    tally.advance("a", 100)
    clock.now += 60
    tally.summary()
    clock.now += 6
    assert (tally.summary().lately, tally.summary().left) == (0, None)


def test_the_rate_stays_when_all_is_done() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", 100)
    clock.now += 2
    tally.advance("a", 100)
    tally.done("a", "loaded")
    for _ in range(3):
        clock.now += 10
        assert tally.summary().overall == 50


def test_more_than_the_total() -> None:
    tally = Tally(Clock())
    tally.start("a", "", 100)
    tally.advance("a", 150)
    assert (tally.summary().current, tally.summary().known) == (150, 150)
    tally.done("a", "loaded")
    assert (tally.summary().current, tally.summary().known) == (150, 150)


def test_an_end_before_the_total_takes_the_rest_back() -> None:
    tally = Tally(Clock())
    tally.start("a", "", 100)
    tally.start("b", "", 100)
    tally.advance("b", 10)
    tally.done("a", "exists")
    tally.done("b", "mounted")
    assert (tally.summary().current, tally.summary().known, tally.summary().ended) == (10, 10, 2)


def test_a_second_try_counts_again_but_what_was_moved_was_moved() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start("a", "", 100)
    tally.advance("a", 80)
    tally.start("a", "", 100)
    tally.advance("a", 30)
    clock.now += 1
    all_ = tally.summary()
    assert (all_.items, all_.ended, all_.current, all_.known, all_.overall) == (1, 0, 30, 100, 110)


def test_a_second_try_after_the_end() -> None:
    tally = Tally(Clock())
    tally.start("a", "", None)
    tally.advance("a", 80)
    tally.done("a", "failed")
    tally.start("a", "", 100)
    tally.advance("a", 30)
    all_ = tally.summary()
    assert (all_.items, all_.ended, all_.current, all_.known, all_.open) == (1, 0, 30, 100, False)
    live, ended = tally.items()
    assert [item.key for item in live] == ["a"]
    assert ended == []


def test_a_state_may_come_before_the_start() -> None:
    tally = Tally(Clock())
    tally.state("a", "waiting")
    tally.start("a", "label", 10)
    (item,), _ = tally.items()
    assert (item.status, item.label, item.total) == ("waiting", "label", 10)
    assert (tally.summary().items, tally.summary().open) == (1, False)


@pytest.mark.parametrize(("said", "status"), [("", "downloading"), ("waiting", "downloading"), ("verifying", "verifying")])
def test_bytes_that_move_are_a_state(said: str, status: str) -> None:
    tally = Tally(Clock(), "downloading")
    tally.start("a", "", 10)
    tally.state("a", said)
    tally.advance("a", 1)
    assert tally.items()[0][0].status == status


def test_the_end_of_what_ended_changes_nothing() -> None:
    tally = Tally(Clock())
    tally.start("a", "", 10)
    tally.advance("a", 10)
    tally.done("a", "loaded")
    tally.done("a", "exists")
    tally.advance("a", 10)
    _, (item,) = tally.items()
    assert (item.status, item.count) == ("loaded", 10)
    assert (tally.summary().items, tally.summary().ended, tally.summary().current) == (1, 1, 10)


def test_few_of_many_ended_items_are_kept() -> None:
    tally = Tally(Clock())
    for number in range(1000):
        tally.done(digest(number), "exists")
    _, ended = tally.items()
    assert [item.key for item in ended] == [digest(number) for number in range(1000 - KEPT, 1000)]
    assert (tally.summary().items, tally.summary().ended) == (1000, 1000)


def test_any_thread_may_tell() -> None:
    tally = Tally()
    for number in range(4):
        tally.start(str(number), "", 10_000)

    def work(number: int) -> None:
        for _ in range(10_000):
            tally.advance(str(number % 4), 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tally.summary().current, tally.summary().known) == (80_000, 80_000)
