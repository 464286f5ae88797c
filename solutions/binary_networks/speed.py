"""How fast products of signs are on packed bits: the kernel alone against BLAS, and a whole XNOR LeNet-5 end to end.

::

    python -m solutions.binary_networks.speed

measures on a machine that should do nothing else, in about two minutes, and writes ``results/binary_speed.json``;
``--part kernels`` or ``--part network`` measures one of the two tables only.

Every time is the shortest of many calls. On one thread they take turns, so that a busy moment of the machine meets all
alike; on all threads each is measured by itself, since threads that wait for more work keep others from theirs. The
float product is that of the quicker of NumPy's and PyTorch's BLAS for each shape. Convolutions have their channels last
in memory, in all networks, which PyTorch is quickest with.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click
import llvmlite.binding as llvm
import numba
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from nutshell import binary, data, models, results
from nutshell.errors import WrongUse
from nutshell.training import prepare
from solutions.binary_networks.networks import Way, cifar_network, lenet, plain

COMMAND = "python -m solutions.binary_networks.speed"
# Rows (images, or places of an output), signs a row, outputs; and what the product is for.
SHAPES = {
    "LeNet-5-Caffe's fc1, one image": (1, 800, 500),
    "LeNet-5-Caffe's fc1, 100 images": (100, 800, 500),
    "LeNet-5-Caffe's conv2, 100 images": (6400, 500, 50),
    "a BNN's hidden layer, 100 images": (100, 1024, 1024),
    "XNOR-Net's example: 256 channels, 3×3, 14×14 places": (196, 2304, 256),
    "a square product": (1024, 1024, 1024),
    "a large square product": (2048, 2048, 2048),
}
SLOW = 2e9  # products of signs above which the plain version isn't timed
BATCHES = (1, 100)
PAUSE = 0.2  # seconds
Calls = Mapping[str, Callable[[], object]]


@click.command()
@click.option("--part", type=click.Choice(["kernels", "network"]), help="Measure this table only; both if left out.")
@click.option("--seconds", default=1.0, show_default=True, help="How long each call is repeated, in all.")
@click.option("--images", default="mnist", show_default=True, help="Data set of the network's table.")
def main(part: str | None, seconds: float, images: str) -> None:
    """Measure the speed of products of signs."""
    torch.set_num_threads(1)
    try:
        content = results.load("binary_speed")
    except WrongUse:
        content = {}
    dataset = data.load(images)
    if part != "network":
        content["kernels"] = [kernel_row(name, *shape, seconds) for name, shape in SHAPES.items()]
    if part != "kernels":
        content["network"] = network_table(lenet, 2, dataset.test.inputs(slice(0, max(BATCHES))), seconds)
        pictures = torch.randn(max(BATCHES), 3, 32, 32, generator=torch.Generator().manual_seed(0))
        content["cifar_network"] = network_table(cifar_network, 3, pictures, seconds)
    content |= {"processor": processor(), "versions": versions(), "threads": cores()}
    saved = results.save("binary_speed", command=COMMAND, data=dataset.name,
                         **{key: value for key, value in content.items() if key not in ("command", "data")})
    click.echo(str(saved))


def kernel_row(name: str, rows: int, numbers: int, outputs: int, seconds: float) -> dict[str, Any]:
    """One shape: microseconds of every version, of packing the rows, and rates over one and over all threads' BLAS."""
    generator = np.random.default_rng(0)
    left = generator.choice(np.array([-1, 1], dtype=np.float32), (rows, numbers))
    right = generator.choice(np.array([-1, 1], dtype=np.float32), (outputs, numbers))
    packed, weights = binary.pack(left), binary.pack(right)
    for kernel in binary.KERNELS:
        quick = kernel != "plain" or rows * numbers * outputs <= SLOW
        if quick and not np.array_equal(binary.product(packed, weights, kernel, cores()), left @ right.T):
            raise AssertionError(f"{name}: {kernel} isn't the product of ±1.")
    numbers_in = float_calls(left, right)
    bits: dict[str, Callable[[], object]] = {
        "numpy": partial(anew, packed, weights), "numba": partial(binary.product, packed, weights, "numba")}
    if rows * numbers * outputs <= SLOW / 20:
        bits["plain"] = partial(binary.product, packed, weights, "plain")
    with threadpool_limits(1):  # NumPy's BLAS takes all of them by itself
        one = shortest({**numbers_in, **bits, "packing": partial(binary.pack, left, "numba"),
                         "packing_numpy": partial(binary.pack, left)}, seconds)
    blas_kinds = ("blas_numpy", "blas_torch")
    every = {kind: numbers_in[kind] for kind in blas_kinds}
    every["numba"] = partial(binary.product, packed, weights, "numba", cores())
    all_threads: dict[str, float] = {}
    with threadpool_limits(cores()):
        torch.set_num_threads(cores())
        for kind, call in every.items():  # not in turns: threads of BLAS wait at work for a while before they sleep
            time.sleep(PAUSE)
            all_threads |= shortest({kind: call}, seconds)
        torch.set_num_threads(1)
    blas, blas_all = (min(times[kind] for kind in blas_kinds) for times in (one, all_threads))
    row = {
        "name": name, "rows": rows, "signs": numbers, "outputs": outputs,
        "one_thread_us": one | {"blas": blas}, "all_threads_us": all_threads | {"blas": blas_all},
        "speed_up": {kernel: round(blas / one[kernel], 2) for kernel in bits},
        "speed_up_with_packing": {kernel: round(blas / with_packing(one, kernel), 2) for kernel in bits},
        "speed_up_all_threads": round(blas_all / all_threads["numba"], 2),
        "blas_gmacs": round(rows * numbers * outputs / blas / 1e3, 1),
        "numba_gmacs": round(rows * numbers * outputs / one["numba"] / 1e3, 1),
        "float_bytes": right.nbytes, "packed_bytes": weights.words.nbytes,
    }  # fmt: skip
    click.echo(f"{name}: BLAS {row['blas_gmacs']} GMAC/s; {row['speed_up']}; all threads {row['speed_up_all_threads']}")
    return row


def with_packing(times: Mapping[str, float], kernel: str) -> float:
    """Microseconds of a version and of packing its rows: Numba's packs with Numba, the others with NumPy.

    Examples
    --------
    >>> times = {"numpy": 10, "numba": 5, "packing": 1, "packing_numpy": 3}
    >>> with_packing(times, "numpy"), with_packing(times, "numba")
    (13, 6)
    """
    return times[kernel] + times["packing" if kernel == "numba" else "packing_numpy"]


def anew(rows: binary.Packed, weights: binary.Packed) -> np.ndarray:
    """NumPy's product with rows that were just packed: only weights may keep their words turned round."""
    return binary.product(binary.Packed(rows.words, rows.numbers), weights)


def float_calls(left: np.ndarray, right: np.ndarray) -> dict[str, Callable[[], object]]:
    """The same product of ±1 as numbers: float32 by two BLAS libraries, and PyTorch's in 16 and in 8 bits."""
    signs, weights = torch.from_numpy(left), torch.from_numpy(right).T
    short, short_weights = signs.bfloat16(), weights.bfloat16()
    bytes_, bytes_weights = signs.to(torch.int8), weights.to(torch.int8)
    return {"blas_numpy": partial(np.matmul, left, right.T),
            "blas_torch": partial(torch.matmul, signs, weights),
            "bfloat16": partial(torch.matmul, short, short_weights),
            "int8": partial(torch._int_mm, bytes_, bytes_weights)}


def network_table(build: Callable[[Way], nn.Module], blocks: int, images: Tensor, seconds: float) -> dict[str, Any]:
    """A whole network from images to classes, float and binary, for some batches, on one and on all threads.

    Parameters
    ----------
    build : callable
        Makes the network in one of its ways.
    blocks : int
        How many blocks are binary: ``block2`` and those after it.
    images : Tensor
        At least as many as the largest batch.
    seconds : float
        How long each call is repeated, in all.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    layers, signs = ([f"block{2 + block}.{part}" for block in range(blocks)] for part in ("layer", "sign"))
    xnor, bare = settled(build, "xnor", images), settled(build, "signs", images)
    networks = {
        "float, normalised alike": settled(build, "dense", images),
        "XNOR, signs as floats": xnor,
        "XNOR, NumPy": binary.on_bits(xnor, layers, signs, kernel="numpy"),
        "XNOR, Numba": binary.on_bits(xnor, layers, signs),
        "XNOR, Numba, without K": binary.on_bits(bare, layers, signs),
    }
    if build is lenet:
        networks = {"LeNet-5-Caffe, float": prepare(models.build("lenet-5-caffe").eval())} | networks
    rows = []
    with torch.inference_mode():
        difference = max(float((networks[name](images) - xnor(images)).abs().max())
                         for name in ("XNOR, NumPy", "XNOR, Numba"))
        for threads in sorted({1, cores()}):
            torch.set_num_threads(threads)
            for network in networks.values():
                set_threads(network, threads)
            for batch in BATCHES:
                calls = {name: partial(network, images[:batch]) for name, network in networks.items()}
                taken = shortest(calls, seconds)
                rows.append({"images": batch, "threads": threads, "us": taken})
                click.echo(f"{batch} images, {threads} threads: {taken}")
        torch.set_num_threads(1)
        for network in networks.values():
            set_threads(network, 1)
        parts = {name: layer_times(networks[name], images[:100], seconds)
                 for name in ("float, normalised alike", "XNOR, Numba")}
    return {"rows": rows, "parts_us": parts, "parts_images": 100, "largest_difference": difference,
            "weights": "random, normalised by statistics of the images: times don't depend on them"}


def settled(build: Callable[[Way], nn.Module], way: Way, images: Tensor) -> nn.Module:
    """The network with random weights, normalised by the images' statistics, so that signs are of both kinds."""
    torch.manual_seed(0)
    network = build(way).train()
    with torch.no_grad():
        network(images)
    return prepare(plain(network))


def set_threads(network: nn.Module, threads: int) -> None:
    """Give the packed layers so many threads."""
    for module in network.modules():
        if isinstance(module, binary.PackedLinear):
            module.threads = threads


def layer_times(network: nn.Module, images: Tensor, seconds: float) -> dict[str, float]:
    """Microseconds of each part by itself, on the inputs that it has in the network."""
    calls: dict[str, partial[Any]] = {}
    handles = []
    for name, module in network.named_modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            def note(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                calls[name] = partial(module, *inputs)

            handles.append(module.register_forward_hook(note))
    network(images)
    for handle in handles:
        handle.remove()
    for name, call in list(calls.items()):
        if isinstance(call.func, binary.PackedConv2d):
            calls[f"{name}: signs to bits"] = partial(call.func.bits, *call.args)
    return shortest(calls, seconds / 5)


def shortest(calls: Calls, seconds: float) -> dict[str, float]:
    """Microseconds of the shortest of many runs of each call; they take turns of a fifth of their seconds.

    Examples
    --------
    >>> sorted(shortest({"a": list, "b": dict}, 0.01))
    ['a', 'b']
    """
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(5):
        for name, call in calls.items():
            until, runs = time.perf_counter() + seconds / 5, 0
            while time.perf_counter() < until or runs < 2:
                started = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - started)
                runs += 1
    return {name: round(1e6 * least, 2) for name, least in best.items()}


def cores() -> int:
    """Processors that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> dict[str, Any]:
    """What the processor has for counting ones and for matrices."""
    known = llvm.get_host_cpu_features()
    wanted = ("avx2", "avx512f", "avx512vpopcntdq", "avx512vnni", "amx-bf16", "amx-int8")
    return {"llvm_name": llvm.get_host_cpu_name(), "has": [name for name in wanted if known.get(name)]}


def versions() -> dict[str, str]:
    """Of the libraries that were timed."""
    return {"numpy": np.__version__, "torch": torch.__version__, "numba": numba.__version__}


if __name__ == "__main__":
    main()
