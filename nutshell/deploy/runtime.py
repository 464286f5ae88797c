"""A network in ONNX Runtime, and how long it takes: back to back, and when a frame comes only now and then."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from nutshell.artefact import Artefact
from nutshell.deploy.export import to_onnx

Run = Callable[[Tensor], Any]


class Session:
    """An artefact in ONNX Runtime, on one thread of the processor.

    Parameters
    ----------
    found : Artefact or bytes
        From :func:`nutshell.artefact.load`, or an ONNX model.

    Attributes
    ----------
    input_shape : tuple of int
        Of one image.
    model_bytes : int
        Size of the ONNX model.
    """

    def __init__(self, found: Artefact | bytes) -> None:
        model = found if isinstance(found, bytes) else to_onnx(found)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input_shape = tuple(self._session.get_inputs()[0].shape[1:])
        self.model_bytes = len(model)

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs for inputs ``(N, C, H, W)``, float32."""
        outputs = self._session.run(None, {"input": images.float().contiguous().numpy()})
        return torch.from_numpy(np.asarray(outputs[0]))


@dataclass(frozen=True)
class Latency:
    """How long answers take, in microseconds.

    Attributes
    ----------
    median, p95, worst : float
        The middle one, the one that 95 % aren't slower than, and the slowest.
    answers : int
        How many were timed.
    """

    median: float
    p95: float
    worst: float
    answers: int

    @property
    def frames_a_second(self) -> float:
        """How many answers fit into a second, one after the other, by the median."""
        return 1e6 / self.median

    def keeps_up(self, frames_a_second: float) -> bool:
        """Whether 95 % of the answers are there before the next frame comes."""
        return self.p95 <= 1e6 / frames_a_second


def latencies(run: Run, count: int = 200, warm_up: int = 20, images: Tensor | None = None) -> list[float]:
    """Seconds of answers, one image at a time and back to back; what is slow only at first is left out.

    Parameters
    ----------
    run : callable
        A :class:`Session`, or any network with an ``input_shape`` or given ``images``.
    count, warm_up : int
        Answers that are timed, and answers before them that aren't.
    images : Tensor, optional
        Taken in turn, shape ``(N, C, H, W)``; noise if left out.
    """
    taken = _images(run, images)
    for number in range(warm_up):
        run(taken[number % len(taken)])
    found = []
    for number in range(count):
        image = taken[number % len(taken)]
        started = time.perf_counter()
        run(image)
        found.append(time.perf_counter() - started)
    return found


def at_rate(run: Run, frames_a_second: float, count: int = 60, images: Tensor | None = None) -> list[float]:
    """Seconds of answers when a frame comes only every so often and the processor rests in between.

    Caches go cold and clocks slow down while nothing happens, so an answer now and then takes longer than one of many
    in a row. A frame that comes while the network is busy waits until it is free.

    Parameters
    ----------
    run, images
        As in :func:`latencies`.
    frames_a_second : float
        Of the camera.
    count : int
        Frames.

    Returns
    -------
    list of float
        From a frame's coming to its answer.
    """
    taken = _images(run, images)
    run(taken[0])
    found: list[float] = []
    done = begin = time.perf_counter()
    for number in range(count):
        due = begin + number / frames_a_second
        time.sleep(max(0.0, due - time.perf_counter()))
        came = due if done > due else time.perf_counter()  # a sleep that is too long isn't the network's
        run(taken[number % len(taken)])
        done = time.perf_counter()
        found.append(done - came)
    return found


def summary(seconds: Sequence[float]) -> Latency:
    """Median, 95th percentile (the nearest rank) and worst, in microseconds.

    Examples
    --------
    >>> summary([0.001] * 19 + [0.005])
    Latency(median=1000.0, p95=1000.0, worst=5000.0, answers=20)
    """
    if not seconds:
        raise ValueError("no times: at least one answer must be timed.")
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return round(1e6 * ordered[max(0, -(-int(1000 * share) * len(ordered) // 1000) - 1)], 1)

    return Latency(rank(0.5), rank(0.95), rank(1.0), len(ordered))


def _images(run: Any, images: Tensor | None) -> list[Tensor]:
    if images is None:
        images = torch.rand(16, *run.input_shape, generator=torch.Generator().manual_seed(0))
    return [image[None] for image in images]
