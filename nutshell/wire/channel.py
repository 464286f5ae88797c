"""Ways a request reaches the learner's end: in this process, or recorded and replayed.

A channel has one method: ``request(label, message) -> reply``, both messages as bytes. The label says in words what is
asked (``"get truncate"``); only the recorder and the replay read it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from nutshell.errors import NutshellError
from nutshell.wire import codec
from nutshell.wire.harness import Harness

UNRECORDED = "drop"  # when objects are freed depends on the interpreter, not on the check


class Channel(Protocol):
    """Anything that answers requests."""

    def request(self, label: str, message: bytes) -> bytes:
        """Send one message and wait for its reply."""


class Ended(NutshellError):
    """The other end is gone, or gave no answer in time.

    Attributes
    ----------
    status : str
        The verdict that follows: ``"TIMEOUT"``, ``"CRASH"``, ``"MEMORY"`` or ``"OUTPUT"``.
    """

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        super().__init__(message)


class NotRecorded(NutshellError):
    """A replay was asked for something else than was recorded: the check depends on what the learner answers."""

    exit_code = 3


class Loopback:
    """The learner's end in this process; everything is really encoded and decoded.

    Parameters
    ----------
    end : Harness or namespace
        The harness, or the dictionary or module to make one for.

    Notes
    -----
    torch's global random state is the learner's own during a request, so that what a learner draws doesn't change what
    a check draws afterwards, as in a process of its own.
    """

    def __init__(self, end: Any) -> None:
        self.harness = end if isinstance(end, Harness) else Harness(end)
        self._random = torch.Generator().manual_seed(0).get_state()

    def request(self, label: str, message: bytes) -> bytes:
        ours = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            return self.harness.answer(message)
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(ours)


class Recorder:
    """Passes requests on and keeps each label with its reply.

    Attributes
    ----------
    replies : list of (str, bytes)
        In the order of the requests.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.replies: list[tuple[str, bytes]] = []

    def request(self, label: str, message: bytes) -> bytes:
        reply = self.channel.request(label, message)
        if label != UNRECORDED:
            self.replies.append((label, reply))
        return reply


class Replay:
    """Answers with recorded replies, in their order; another request than was recorded is the author's error.

    Parameters
    ----------
    replies : sequence of (str, bytes)
        What a :class:`Recorder` kept.
    name : str
        Name of the check, for messages.
    """

    def __init__(self, replies: Sequence[tuple[str, bytes]], name: str = "this check") -> None:
        self.replies, self.name, self.position = list(replies), name, 0

    def request(self, label: str, message: bytes) -> bytes:
        if label == UNRECORDED:
            return codec.encode({"value": None})
        if self.position >= len(self.replies):
            raise NotRecorded(
                f"{self.name} asks the reference for “{label}”, and all {len(self.replies)} recorded replies are "
                "used up. What a check asks of the reference may not depend on the learner's answers."
            )
        recorded, reply = self.replies[self.position]
        if recorded != label:
            raise NotRecorded(
                f"{self.name} asks the reference for “{label}”, and “{recorded}” was recorded. What a check asks "
                "of the reference may not depend on the learner's answers."
            )
        self.position += 1
        return reply


def save_replies(replies: Mapping[str, Sequence[tuple[str, bytes]]]) -> bytes:
    """The recorded replies of a unit's checks, by name of the check, as bytes."""
    return codec.encode({name: [tuple(pair) for pair in pairs] for name, pairs in replies.items()})


def load_replies(data: bytes) -> dict[str, list[tuple[str, bytes]]]:
    """What :func:`save_replies` wrote; other bytes raise :class:`nutshell.wire.codec.WireError`."""
    found = codec.decode(data)
    if not isinstance(found, dict) or any(not isinstance(pairs, list) for pairs in found.values()):
        raise codec.Malformed("These are no recorded replies.")
    return found
