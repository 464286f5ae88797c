"""What a submission may use, and the error for what is not the submission's fault."""

import platform
from dataclasses import asdict, dataclass
from typing import Any

from nutshell.errors import Trouble, WrongUse
from nutshell.wire import codec

OWN_COUNT = (5, 14)  # the first Linux that counts processes for each user namespace
SERVING = 6  # bubblewrap's, the fork server's and the keeper's processes, which the kernel counts too


class Lost(Trouble):
    """The sandbox itself failed; the submission is tried again and never gets a zero for it."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    request, submission : float
        Seconds for one answer, and for all of them together.
    memory : int
        Bytes that all of its processes hold together. Files in memory come on top, up to ``disk``.
    address_space : int
        Bytes that one process may map.
    processes : int
        Processes and threads together.
    disk : int
        Bytes in the working folder, ``/tmp`` and ``/dev/shm`` together.
    files, file_size, descriptors : int
        Files in those folders, bytes of one file, open descriptors of one process.
    message : int
        Bytes of one reply.

    Examples
    --------
    >>> Limits(memory=0)
    Traceback (most recent call last):
    nutshell.errors.WrongUse: memory = 0: a limit must be above 0.
    """

    request: float = 20.0
    submission: float = 300.0
    memory: int = 3 << 30
    address_space: int = 4 << 30
    processes: int = 64
    disk: int = 512 << 20
    files: int = 20_000
    file_size: int = 256 << 20
    descriptors: int = 256
    message: int = codec.DEFAULT_LIMITS.size

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise WrongUse(f"{name} = {value}: a limit must be above 0.")


def for_kernel(limits: Limits, *, own_user: bool) -> dict[str, Any]:
    """The limits that the fork server sets; without a count of processes where the kernel would count the wrong ones.

    Parameters
    ----------
    limits : Limits
        Of the submission.
    own_user : bool
        Whether it runs in a user namespace of its own.
    """
    found = asdict(limits)
    found["processes"] = limits.processes + SERVING if own_user and kernel() >= OWN_COUNT else None
    return found


def kernel() -> tuple[int, ...]:
    """The running Linux, as numbers; ``(0,)`` where it can't be told.

    Examples
    --------
    >>> all(isinstance(part, int) for part in kernel())
    True
    """
    parts = platform.release().split("-")[0].split(".")
    return tuple(int(part) for part in parts[:2]) if all(part.isdigit() for part in parts[:2]) else (0,)
