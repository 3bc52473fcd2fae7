"""A request to stop, on its way through a search."""


class Stopped(BaseException):
    """The user or the scheduler asked the process to stop.

    No `Exception`, since the run that raises it has not failed: its trial stays
    ongoing, and the next start of the search goes on with it.

    Attributes:
        exit_code: What the process shall end with, 128 + the signal.
    """

    def __init__(self, exit_code):
        super().__init__(f"stopped with exit code {exit_code}")
        self.exit_code = exit_code
