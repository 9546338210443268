"""The toy protocol, but what it does depends on the name of the model."""

import time

from .toy import Toy


class Bad(Toy):
    name = "toy-bad"

    def request(self, ask, *, stream):
        if ask.model == "fails":
            return ask.no_such_field
        if ask.model == "exits":
            raise SystemExit(3)
        if ask.model == "blocks":
            while True:
                time.sleep(0.01)
        return super().request(ask, stream=stream)


def make():
    return Bad()
