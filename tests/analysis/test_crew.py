"""A crew does every task once, whoever is lost on the way."""

from __future__ import annotations

import threading
import time

import pytest

from analysis.crew import Crew, LostError, StoppedError
from trainer.core.events import Warned

TASKS = [{"number": number} for number in range(20)]


class Hand:
    """Answers ten times the number, until it has answered `lasts` times."""

    def __init__(self, lasts=1000):
        self.lasts, self.done, self.closed = lasts, [], False

    def greet(self):
        if self.lasts == 0:
            raise LostError("no such device")

    def ask(self, task):
        if len(self.done) >= self.lasts:
            raise LostError("signal 9 ended it")
        self.done.append(task["number"])
        time.sleep(0.002)
        return 10 * task["number"]

    def close(self):
        self.closed = True


def shared(crew, stop=lambda: False, told=lambda index, answer: None):
    answers, here = {}, []

    def do(task):
        here.append(task["number"])
        time.sleep(0.002)
        return 10 * task["number"]

    def take(index, answer):
        assert index not in answers
        answers[index] = answer
        told(index, answer)

    crew.share(TASKS, do, take, stop)
    return answers, here


def test_a_crew_of_one_does_all_in_order():
    answers, here = shared(Crew())
    assert here == list(range(20))
    assert answers == {n: 10 * n for n in range(20)}


def test_everybody_takes_a_share_and_nothing_is_done_twice():
    hands = [Hand(), Hand()]
    with Crew(hands) as crew:
        assert crew.size == 3
        answers, here = shared(crew)
    assert answers == {n: 10 * n for n in range(20)}
    assert sorted(here + hands[0].done + hands[1].done) == list(range(20))
    assert here
    assert hands[0].done
    assert hands[1].done
    assert hands[0].closed


def test_what_a_lost_hand_left_is_done_by_the_others_and_told():
    told = []
    with Crew([Hand(lasts=2), Hand()], told.append) as crew:
        answers, _ = shared(crew)
        assert crew.size == 2
        again, _ = shared(crew)
    assert answers == again == {n: 10 * n for n in range(20)}
    assert told == [Warned("process 2 no longer helps: signal 9 ended it; the others do its share")]


def test_without_any_hand_that_can_begin_the_work_is_done_here():
    told = []
    with Crew([Hand(lasts=0)], told.append) as crew:
        answers, here = shared(crew)
    assert len(answers) == 20
    assert len(here) == 20
    assert "no such device" in told[0].message


def test_a_stop_leaves_the_rest_undone_and_nothing_half_done():
    hand, answers = Hand(), []
    with Crew([hand]) as crew:
        with pytest.raises(StoppedError):
            shared(crew, lambda: len(answers) >= 5, lambda index, answer: answers.append(index))
        assert 5 <= len(answers) < 20
        at_the_stop = len(answers)
        time.sleep(0.02)
        assert len(answers) == at_the_stop
        assert len(shared(crew)[0]) == 20


def test_what_a_hand_left_at_a_stop_is_not_taken_for_a_later_task():
    hand, answers = Hand(lasts=4), []
    with Crew([hand]) as crew:
        with pytest.raises(StoppedError):
            shared(crew, lambda: len(hand.done) == 4, lambda index, answer: answers.append(index))
        again, _ = shared(crew)
    assert again == {n: 10 * n for n in range(20)}


def test_what_is_raised_on_an_answer_is_raised_where_the_work_was_shared():
    def full(index, answer):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is full")

    with Crew([Hand()]) as crew, pytest.raises(OSError, match="the disk is full"):
        shared(crew, told=full)


def test_a_portion_gives_everybody_some():
    with Crew([Hand(), Hand()]) as crew:
        assert [crew.portion(count, 36) for count in (1, 3, 36, 200)] == [1, 1, 12, 36]
    assert Crew().portion(24, 36) == 24
