"""The line that says how far long work has come."""

import io

import pytest
from ferry_analysis import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 5.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_line_is_written_over_and_gone_in_the_end(clock):
    terminal = Terminal()
    with progress.Progress(terminal) as line:
        line.tell("first, and longer")
        clock.now += 0.2
        line.tell("second")
    assert terminal.getvalue() == "\rfirst, and longer\x1b[K\rsecond\x1b[K\r\x1b[K"


def test_no_more_often_than_an_eye_can_follow(clock):
    terminal = Terminal()
    with progress.Progress(terminal) as line:
        for step in range(100):
            clock.now += 0.01
            line.tell(str(step))
    assert 9 <= terminal.getvalue().count("\r") <= 12


def test_where_nobody_watches_nothing_is_said():
    file = io.StringIO()
    with progress.Progress(file) as line:
        line.tell("first")
    assert file.getvalue() == ""


def test_nothing_said_leaves_nothing_to_clear():
    terminal = Terminal()
    with progress.Progress(terminal):
        pass
    assert terminal.getvalue() == ""
