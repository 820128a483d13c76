"""What was computed is computed once and kept within bounds, whoever asks."""

import threading
import time

from pixelcontrast.explore.keeping import Kept


def test_a_value_is_computed_once() -> None:
    kept, calls = Kept(100, len), []
    for _ in range(3):
        assert kept.get("a", lambda: calls.append(0) or b"x" * 10) == b"x" * 10
    assert calls == [0]


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept, computed = Kept(25, len), []

    def ask(key: str) -> None:
        kept.get(key, lambda: computed.append(key) or b"x" * 10)

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)
    assert computed == ["a", "b", "c", "b"]
    assert kept.num_bytes <= 25


def test_the_newest_is_kept_whatever_its_size() -> None:
    kept = Kept(5, len)
    kept.get("a", lambda: b"x" * 10)
    assert kept.num_bytes == 10
    kept.get("b", lambda: b"x" * 20)
    assert kept.num_bytes == 20


def test_users_who_ask_at_once_wait_for_one_computation() -> None:
    kept, running, most = Kept(1000, len), [], []

    def compute() -> bytes:
        running.append(0)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return b"x"

    threads = [threading.Thread(target=kept.get, args=(key, compute)) for key in "aabbccaabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_a_value_may_need_another() -> None:
    kept = Kept(100, len)
    assert kept.get("a", lambda: kept.get("b", lambda: b"x") + b"y") == b"xy"
    assert kept.get("b", lambda: b"other") == b"x"


def test_an_error_is_passed_on_and_not_kept() -> None:
    kept = Kept(100, len)
    for _ in range(2):
        try:
            kept.get("a", lambda: 1 // 0)
        except ZeroDivisionError:
            continue
        raise AssertionError
    assert kept.get("a", lambda: b"x") == b"x"
