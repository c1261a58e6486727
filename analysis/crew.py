"""Several processes that share the work of a sweep: this one, and hands that it has.

Tasks and answers are plain values, as JSON holds them. Whoever is free takes the next task; one
that a hand leaves undone goes to the others. What a task means, whoever shares it says.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trainer.core.events import Emit, Warned

Task = dict[str, Any]
Stop = Callable[[], bool]

_GLANCE = 0.2
"""Seconds after which one who waits looks whether somebody asked to stop."""


class StoppedError(Exception):
    """Somebody asked the sweep to stop; what is rendered is kept."""


class LostError(Exception):
    """A hand has ended, or cannot help; says why."""


class Hand(Protocol):
    """Somebody who does tasks, one at a time."""

    def greet(self) -> None:
        """Wait until it can begin.

        Raises:
            LostError: It never will.
        """

    def ask(self, task: Task) -> Any:
        """The answer to a task.

        Raises:
            LostError: There will be none.
        """

    def close(self) -> None:
        """Let it go, whatever it is at."""


class Crew:
    """This process, and any number of hands, each asked by a thread of its own.

    Args:
        hands: Those who help; none is a crew of one.
        emit: Told of hands that are lost.
    """

    def __init__(self, hands: Sequence[Hand] = (), emit: Emit = lambda event: None) -> None:
        self._hands, self._emit = list(hands), emit
        self._changed = threading.Condition(threading.RLock())
        self._tasks: Sequence[Task] = ()
        self._told: Callable[[int, Any], None] = lambda index, answer: None
        self._todo: deque[int] = deque()
        self._busy, self._open, self._closed = 0, False, False
        self._trouble: Exception | None = None
        for number, hand in enumerate(self._hands, start=2):
            threading.Thread(target=self._serve, args=(hand, number), daemon=True).start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for hand in self._hands:
            hand.close()

    @property
    def size(self) -> int:
        """How many share the work, this process with them."""
        return 1 + len(self._hands)

    def portion(self, count: int, most: int) -> int:
        """So many of `count` things at a time, at most, that everybody gets some."""
        return max(1, min(most, -(-count // self.size)))

    def share(
        self,
        tasks: Sequence[Task],
        do: Callable[[Task], Any],
        told: Callable[[int, Any], None],
        stop: Stop,
    ) -> None:
        """Have every task done by somebody.

        Args:
            tasks: What is to be done, in the order of beginning.
            do: Does one here.
            told: Given each task's index and answer, in the order of finishing; never by two
                threads at once. What it raises is raised here.
            stop: Asked before each task here, and while waiting for the hands.

        Raises:
            StoppedError: `stop` said so; the hands' tasks of the moment are finished.
        """
        with self._changed:
            self._tasks, self._told, self._trouble, self._open = tasks, told, None, True
            self._todo.extend(range(len(tasks)))
            self._changed.notify_all()
        try:
            while (index := self._next_here(stop)) is not None:
                answer = do(tasks[index])
                with self._changed:
                    told(index, answer)
        finally:
            self._settle()
        if self._trouble is not None:
            raise self._trouble

    def _next_here(self, stop: Stop) -> int | None:
        """A task for this process; waits while hands may leave one. None when all are done."""
        with self._changed:
            while True:
                if stop():
                    raise StoppedError
                if self._trouble is not None:
                    return None
                if self._todo:
                    return self._todo.popleft()
                if not self._busy:
                    return None
                self._changed.wait(_GLANCE)

    def _settle(self) -> None:
        """Give out nothing more, and wait for what is being done."""
        with self._changed:
            self._open = False
            self._todo.clear()
            while self._busy:
                self._changed.wait()

    def _serve(self, hand: Hand, number: int) -> None:
        """Give a hand one task after the other; in a thread of its own."""
        index: int | None = None
        try:
            hand.greet()
            while (index := self._next_for_hand()) is not None:
                answer = hand.ask(self._tasks[index])
                self._take(index, answer)
        except LostError as lost:
            self._lose(hand, index, f"process {number} no longer helps: {lost}")

    def _next_for_hand(self) -> int | None:
        with self._changed:
            while not self._todo and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._busy += 1
            return self._todo.popleft()

    def _take(self, index: int, answer: Any) -> None:
        with self._changed:
            try:
                self._told(index, answer)
            except Exception as error:  # raised in `share`, where somebody waits for it
                self._trouble = error
                self._todo.clear()
            self._busy -= 1
            self._changed.notify_all()

    def _lose(self, hand: Hand, index: int | None, why: str) -> None:
        with self._changed:
            if self._closed:
                return
            self._hands.remove(hand)
            if index is not None:
                self._busy -= 1
                self._todo.extendleft([index] if self._open else [])
            self._emit(Warned(f"{why}; the others do its share"))
            self._changed.notify_all()
        hand.close()
