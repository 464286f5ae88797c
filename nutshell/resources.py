"""Resource use as a metric: time of a training step, peak memory, energy, each with a technique off and on.

Times are taken in pairs, off and on by turns, until the noise is known well enough; memory is what torch's tensors hold
at once, or what a process of its own took; energy is the meter's estimate.
"""

import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor, nn
from torch.nn import functional

from nutshell import meter
from nutshell.errors import Trouble, WrongUse
from nutshell.meter.working_memory import peak_bytes


@dataclass(frozen=True)
class Pairs:
    """Seconds of two calls, measured by turns.

    Attributes
    ----------
    off, on : tuple of float
        Seconds of each, the i-th of one taken right beside the i-th of the other.
    settled : bool
        Whether the interval of their mean difference got as narrow as was asked for.
    """

    off: tuple[float, ...]
    on: tuple[float, ...]
    settled: bool

    def __len__(self) -> int:
        return len(self.off)

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of the mean difference, in seconds."""
        return half_width([b - a for a, b in zip(self.off, self.on, strict=True)])


def half_width(differences: list[float], level: float = 0.95) -> float:
    """Half of the interval that a mean of measurements is known to, by Student's t.

    Parameters
    ----------
    differences : list of float
        At least two.
    level : float
        Confidence, above 0 and below 1.

    Examples
    --------
    >>> round(half_width([-2.0, -1.5, -2.5]), 3)
    1.242
    """
    n = len(differences)
    mean = math.fsum(differences) / n
    variance = math.fsum((value - mean) ** 2 for value in differences) / (n - 1)
    return float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance / n)


def by_turns(off: Callable[[], Any], on: Callable[[], Any], *, precision: float = 0.02, least: int = 8,
             most: int = 100, calls: int = 1, clock: Callable[[], float] = time.perf_counter) -> Pairs:
    """Time two calls by turns, which one goes first changing too, until the noise of their difference is known.

    Each is called once before, unmeasured: caches fill, and memory is taken.

    Parameters
    ----------
    off, on : callable
        What is compared; what they return is let go of.
    precision : float
        Enough is enough when the difference is known to within this share of ``off``'s mean time.
    least, most : int
        Pairs that are measured at least and at most, at least 2.
    calls : int
        Calls to a reading of the clock, whose seconds are shared out among them; more where a call is short, since a
        processor's time is kept in steps of milliseconds on some machines.
    clock : callable
        Returns seconds; :func:`time.process_time` leaves out what a process waits for others.

    Returns
    -------
    Pairs

    Raises
    ------
    WrongUse
        If least is below 2 or above most, or calls is below 1.

    Examples
    --------
    >>> found = by_turns(lambda: sum(range(1000)), lambda: sum(range(9000)), least=3, most=4)
    >>> 3 <= len(found) <= 4
    True
    """
    if not 2 <= least <= most:
        raise WrongUse(f"least={least}, most={most}: at least two pairs are needed, and most is not below least.")
    if calls < 1:
        raise WrongUse(f"calls={calls}: a reading takes at least one.")
    seconds: tuple[list[float], list[float]] = ([], [])
    for call in (off, on):
        call()
    while len(seconds[0]) < most:
        order = (0, 1) if len(seconds[0]) % 2 == 0 else (1, 0)
        for which in order:
            started = clock()
            for _ in range(calls):
                (off, on)[which]()
            seconds[which].append((clock() - started) / calls)
        if len(seconds[0]) >= least and _known(*seconds, precision):
            break
    return Pairs(tuple(seconds[0]), tuple(seconds[1]), _known(*seconds, precision))


def _known(off: list[float], on: list[float], precision: float) -> bool:
    return half_width([b - a for a, b in zip(off, on, strict=True)]) <= precision * sum(off) / len(off)


def training_step(network: nn.Module, inputs: Tensor, targets: Tensor, learning_rate: float = 1e-3) -> Callable:
    """One step of gradient descent as a call without arguments: forward, backward, update.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place.
    inputs : Tensor
        A batch as the network takes it.
    targets : Tensor
        Labels (int64, cross-entropy) or numbers (floating, squared error against outputs of shape ``(N, 1)``).
    learning_rate : float
        Of plain SGD.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate)

    def step() -> None:
        outputs = network(inputs)
        loss = (functional.mse_loss(outputs.flatten(), targets) if targets.is_floating_point()
                else functional.cross_entropy(outputs, targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


@dataclass(frozen=True)
class Usage:
    """What a network takes, training and running.

    Attributes
    ----------
    parameters, macs : int
        Of one image.
    step_ms : float
        Milliseconds of a training step, the median of some.
    step_bytes : int
        Most that torch's tensors hold at once in a step, beside parameters and the batch itself.
    energy_uj : float
        Of running it on one image, in microjoules: an estimate (:mod:`nutshell.meter.energy`).
    """

    parameters: int
    macs: int
    step_ms: float
    step_bytes: int
    energy_uj: float


def usage(network: nn.Module, inputs: Tensor, targets: Tensor, repeats: int = 15,
          clock: Callable[[], float] = time.perf_counter) -> Usage:
    """Measure a training step on one batch, and count the network on one of its images; clock as in :func:`by_turns`.

    Examples
    --------
    >>> from nutshell import models
    >>> found = usage(models.build("mlp", sizes=(784, 10)), torch.rand(32, 1, 28, 28), torch.zeros(32).long(), 3)
    >>> found.parameters, found.macs, found.step_bytes > 0
    (7850, 7840, True)
    """
    step = training_step(network, inputs, targets)
    step()
    seconds = []
    for _ in range(repeats):
        started = clock()
        step()
        seconds.append(clock() - started)
    most = peak_bytes(step)
    report = meter.count(network, (1, *inputs.shape[1:]))
    return Usage(report.total.parameters, report.total.macs, 1000 * sorted(seconds)[repeats // 2], most,
                 meter.energy(report).total_uj)


def in_fresh_process(function: Callable[..., Any], *arguments: Any, room: int | None = None) -> tuple[Any, int]:
    """Call a function in a new process and say how much memory it took there beyond what it found.

    Parameters
    ----------
    function : callable
        Importable: of a module, not of a notebook.
    *arguments
        Picklable.
    room : int, optional
        Bytes that it may take at most, on Linux: more raises ``MemoryError`` there.

    Returns
    -------
    result : object
        What it returned, or the ``MemoryError`` that it raised.
    peak : int
        Bytes by which the process's resident memory grew at most.

    Raises
    ------
    Trouble
        If this system doesn't tell, as Windows, or the process ends without an answer.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(there, function, arguments, room))
    process.start()
    there.close()
    try:
        result, peak = here.recv()
    except EOFError:
        process.join()
        raise Trouble(f"{function.__name__} ended its process without an answer (code {process.exitcode}).") from None
    process.join()
    return result, peak


def _call(pipe: Any, function: Callable[..., Any], arguments: tuple, room: int | None) -> None:
    if room is not None:
        _limit(room)
    before = _forget_peak()
    try:
        result = function(*arguments)
    except MemoryError as error:
        result = MemoryError(str(error))
    except RuntimeError as error:  # torch's own word for it
        if "allocate memory" not in str(error):
            raise
        result = MemoryError(str(error))
    pipe.send((result, max(0, _peak() - before)))
    pipe.close()


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def _limit(room: int) -> None:
    if not sys.platform.startswith("linux"):
        raise Trouble("Only on Linux can a process be held to an amount of memory here.")
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData:") + room,) * 2)


def _forget_peak() -> int:
    """Resident memory now; on Linux the peak starts anew from here."""
    if sys.platform.startswith("linux"):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS:")
    return _peak()


def _peak() -> int:
    if sys.platform.startswith("linux"):
        return _status("VmHWM:")
    if sys.platform == "win32":
        raise Trouble("Windows has no peak of resident memory to ask for here. Measure in WSL.")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
