"""The exceptions that painter raises on purpose.

    PainterError            what the user can mend; the message says how (exit code 2)
    ├── ConfigError         a setting, preset or TOML file
    ├── DataError           images that are missing, unreadable or unsafe
    ├── RunError            a run folder, checkpoint or snapshot
    ├── LaterVersion        a file of a later version, which is left alone
    ├── ScoringError        features and metrics that cannot be computed
    └── KaggleError         Kaggle's site, the client or the credentials
    WorkFailed              the work itself failed (exit code 1)
    ├── DivergedError       a loss was not finite
    ├── RankLost            another process of the same training has ended
    ├── KaggleUnreachable   the network, or Kaggle's site, after several tries
    │   └── KaggleUnsure    the same, and what was asked for may have been done
    ├── ServiceBusy         more requests at once than the service takes
    └── RemoteFailed        a kernel or a submission failed on Kaggle's side
    Interrupted             Ctrl+C or a termination signal, state saved (exit code 130)

Each message says what was found, what was expected and what to do next.
"""


class PainterError(Exception):
    """Wrong usage or bad input. The message is complete: print it, no traceback."""

    exit_code = 2


class ConfigError(PainterError):
    """A setting that is unknown, of the wrong type or out of range."""


class DataError(PainterError):
    """Images that are missing, unreadable, too few or in an unsafe archive."""


class RunError(PainterError):
    """A run folder, checkpoint or snapshot that cannot be used as asked."""


class LaterVersion(PainterError):  # noqa: N818 - reads as what was found
    """A file that a later version of painter wrote: never taken for a damaged one."""


class ScoringError(PainterError):
    """Features or metrics that cannot be computed from what was given."""


class KaggleError(PainterError):
    """Kaggle's site, its client or the credentials refused."""


class WorkFailed(PainterError):  # noqa: N818 - reads as the event that it is
    """Correct input, and the work failed all the same: disk, network or numbers."""

    exit_code = 1


class DivergedError(WorkFailed):
    """A loss became infinite or not a number; the last good checkpoint was kept."""


class RankLost(WorkFailed):
    """Another process of the same training has ended; the last checkpoint was kept."""


class KaggleUnreachable(WorkFailed):
    """No answer, or none that makes sense, after several tries: the same call may work later."""


class KaggleUnsure(KaggleUnreachable):
    """A call that must not be repeated blindly got no answer: it may have been carried out."""


class ServiceBusy(WorkFailed):
    """The service is at capacity: too many images or bytes are pending. Retry later."""

    def __init__(self, message: str, seconds: int = 1) -> None:
        """Say why, and after how many seconds, at least 1, the same request is likely to work."""
        super().__init__(message)
        self.seconds = seconds


class RemoteFailed(WorkFailed):
    """A kernel or a submission ended with an error on Kaggle's side."""


class Interrupted(PainterError):  # noqa: N818 - reads as the event that it is
    """Ctrl+C or a termination signal; what was done so far has been saved."""

    exit_code = 130


_OUT_OF_MEMORY = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory"
)  # fmt: skip
"""How torch on each system, its GPU libraries, and the system itself say it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell running out of memory, on the CPU or a GPU, from other failures."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)
