"""Ctrl-C and SIGTERM, noted so that the step under way is finished and saved."""

import signal
import threading


class Interrupts:
    """In `with Interrupts() as interrupt:` interrupt.received is the signal or None.

    A second signal acts as if there were no such block.
    """

    def __enter__(self):
        self.received, self._previous = None, {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.received = number
        self.__exit__()

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
