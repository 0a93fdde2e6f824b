"""Time that passes only while somebody sleeps."""

from pipeline.core.polling import Clock


class StandingTime:
    """Has a clock, and remembers how long each sleep was."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []
        self.clock = Clock(lambda: self.seconds, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
