"""``.nut`` files: poisoned ones, budgets that are lied about, memorised answers and borrowed networks."""

import functools
import io
import itertools
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nutshell import artefact, checkpoints, models
from nutshell.artefact import container
from tests.red_team.attack import NOT_DONE, OK, REFUSED, WRONG, Attack, of_group

FILE = "small.nut"
SHAPE = (1, 28, 28)
RANK = 40  # 4·(40·1084 + 300) = 174,640 bytes: inside the limit


class _Pickled:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch /tmp/pwned-by-pickle",)


@functools.cache
def honest(seed: int = 0) -> bytes:
    """A network inside the limits, another one for every seed."""
    return artefact.to_bytes(
        models.build("lenet-300-100", seed=1000 + seed),
        input_shape=SHAPE,
        encodings={"fc1.weight": artefact.LowRank(RANK)},
    )


def file(make: Callable[[], bytes]) -> Callable[[], Mapping[str, bytes]]:
    return lambda: {FILE: make()}


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[], Mapping[str, bytes]]:
    """An honest file with a changed header and a right check sum."""

    def make() -> bytes:
        found, payloads = container.unpack(honest())
        return container.seal(container.deflate(json.dumps(change(found) or found).encode()), bytes(payloads))

    return file(make)


def zip_bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"\0" * 300_000_000)
    return made.getvalue()


def header_bomb() -> bytes:
    return container.seal(container.deflate(b'{"input":[' + b" " * 200_000_000 + b"1]}"), b"")


def torch_file() -> bytes:
    made = io.BytesIO()
    torch.save(models.build("lenet-300-100"), made)
    return made.getvalue()


def saved(network: nn.Module, **options: Any) -> bytes:
    return artefact.to_bytes(network, input_shape=SHAPE, **options)


def masked() -> bytes:
    """Dense weights, nine tenths of which are zero: no fewer bytes."""
    torch.manual_seed(1)
    network = models.build("lenet-300-100")
    with torch.no_grad():
        network.fc1.weight *= torch.rand_like(network.fc1.weight) < 0.1
    return saved(network)


class TinyCNN(nn.Module):
    """What is sold as LeNet-300-100."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.fc = nn.Linear(144, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).flatten(1))


def narrow() -> bytes:
    """The same layers, narrower."""
    return saved(models.build("mlp", sizes=(784, 30, 10, 10)))


def tied() -> bytes:
    """More layers than asked for, all of them one shared tensor."""
    layer = nn.Linear(784, 784)
    return saved(
        nn.Sequential(
            nn.Flatten(),
            layer,
            nn.ReLU(),
            layer,
            nn.ReLU(),
            nn.Linear(784, 300),
            nn.ReLU(),
            nn.Linear(300, 100),
            nn.ReLU(),
            nn.Linear(100, 10),
        ),
        encodings={"1.weight": artefact.LowRank(2)},
    )


@functools.cache
def shipped(rank: int | None = RANK) -> bytes:
    """The network that the toolkit ships, as it is or with a low-rank first layer."""
    return saved(checkpoints.load("lenet-300-100"), encodings={"fc1.weight": artefact.LowRank(rank)} if rank else {})


@functools.cache
def trained_on_test() -> bytes:
    """The shipped network, trained further on the test images until it knows them by heart."""
    from nutshell import data

    torch.manual_seed(0)
    network = checkpoints.load("lenet-300-100").train()
    test = data.load("mnist").test
    images, labels = test.inputs(), test.labels
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(8):
        for chosen in torch.randperm(len(labels)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimiser.step()
    return saved(network.eval())


def deep_chain() -> bytes:
    """Layers in a row that are one to the topology: huge ones, stored at rank 1."""
    sizes = [784, *[2500] * 6, 300]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    encodings = {f"{number}.weight": artefact.LowRank(1) for number in range(1, len(layers) + 1)}
    return saved(
        nn.Sequential(nn.Flatten(), *layers, nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)),
        encodings=encodings,
    )


def cycle(found: dict[str, Any]) -> None:
    found["nodes"][1] = [found["nodes"][1][0], "linear", [len(found["nodes"])]]


def tensor(name: str, entry: object) -> Callable[[], Mapping[str, bytes]]:
    return header(lambda found: found["tensors"].update({name: entry}))


REFUSE = (REFUSED,)

POISONED = of_group(
    "poisoned hand-ins",
    Attack(
        "a pickle",
        "bytes that run a program when they are unpickled",
        REFUSE,
        files={FILE: pickle.dumps(_Pickled())},
        item="small",
        says="not a .nut",
    ),
    Attack(
        "torch.save",
        "a whole module, pickled by torch",
        REFUSE,
        files=file(torch_file),
        item="small",
        says="not a .nut",
    ),
    Attack("a zip bomb", "300 kB that unfold to 300 MB", REFUSE, files=file(zip_bomb), item="small"),
    Attack(
        "a header bomb",
        "a header that unfolds to 200 MB",
        REFUSE,
        files=file(header_bomb),
        item="small",
        says="decompressed",
    ),
    Attack(
        "a huge declared shape",
        "a tensor of 2**60 numbers",
        REFUSE,
        files=tensor("fc2.weight", [[1 << 30, 1 << 30], 4]),
        item="small",
        says="fc2.weight",
    ),
    Attack(
        "a negative shape",
        "a tensor of −2 rows",
        REFUSE,
        files=tensor("fc2.weight", [[-2, 300], 4]),
        item="small",
        says="fc2.weight",
    ),
    Attack(
        "data outside the folder",
        "a tensor that lies in ../../gradebook.db",
        REFUSE,
        files=tensor("fc2.bias", [[100], 400, "dense", {"location": "../../gradebook.db"}]),
        item="small",
        says="fc2.bias",
    ),
    Attack(
        "a cyclic graph",
        "a node whose input is computed later",
        REFUSE,
        files=header(cycle),
        item="small",
        says="earlier",
    ),
    Attack(
        "an operation called eval",
        "a node that asks for Python",
        REFUSE,
        files=header(lambda h: h["nodes"].append(["x", "eval"])),
        item="small",
        says="operation",
    ),
    Attack(
        "an encoding called pickle",
        "a tensor that asks to be unpickled",
        REFUSE,
        files=tensor("fc2.bias", [[100], 400, "pickle"]),
        item="small",
        says="pickle",
    ),
    Attack(
        "code in the header",
        "a key called code",
        REFUSE,
        files=header(lambda h: h.update(code="import os")),
        item="small",
        says="code",
    ),
    Attack(
        "NaN in the weights",
        "a payload that holds no numbers",
        REFUSE,
        files=file(lambda: _with_nan()),
        item="small",
        says="not a number",
    ),
    Attack(
        "a file cut off",
        "the first half of a file",
        REFUSE,
        files=file(lambda: honest()[: len(honest()) // 2]),
        item="small",
    ),
    Attack(
        "a bit flipped",
        "one bit of the payload",
        REFUSE,
        files=file(lambda: honest()[:-100] + bytes([honest()[-100] ^ 1]) + honest()[-99:]),
        item="small",
        says="check sum",
    ),
    Attack(
        "bytes behind the end",
        "more payload than the header speaks of",
        REFUSE,
        files=file(lambda: honest() + b"\0" * 64),
        item="small",
    ),
    Attack(
        "an exabyte of header",
        "a header's length beyond the file",
        REFUSE,
        files=file(lambda: (body := b"NUT1" + struct.pack("<I", 2**31) + b"x") + struct.pack("<I", zlib.crc32(body))),
        item="small",
    ),
    Attack(
        "little to store and much to compute",
        "convolutions of a small file that would take days",
        REFUSE,
        files=file(
            lambda: container.seal(
                container.deflate(
                    json.dumps(
                        {
                            "input": [1, 28, 28],
                            "nodes": [["c", "conv2d", {"padding": 14}]] + [["c"]] * 3000,
                            "tensors": {"c.weight": [[1, 1, 29, 29], 4 * 841]},
                        }
                    ).encode()
                ),
                bytes(4 * 841),
            )
        ),
        item="small",
    ),
    Attack("no bytes", "an empty file", REFUSE, files={FILE: b""}, item="small"),
    Attack(
        "text", "an HTML page under the file's name", REFUSE, files={FILE: b"<script>pwned()</script>"}, item="small"
    ),
    Attack(
        "a name with markup inside",
        "nodes named as markup",
        REFUSE,
        files=header(lambda h: h["nodes"].append(["<script>pwned()</script>", "relu"])),
        item="small",
    ),
)


def _with_nan() -> bytes:
    found, payloads = container.unpack(honest())
    damaged = bytearray(payloads)
    damaged[:4] = struct.pack("<f", float("nan"))
    return container.seal(container.deflate(json.dumps(found).encode()), bytes(damaged))


LIES = of_group(
    "lying about budgets",
    Attack(
        "masks on dense weights",
        "nine tenths of the first layer are zeros, stored densely",
        (WRONG,),
        files=file(masked),
        item="small",
    ),
    Attack(
        "no compression at all",
        "the dense network",
        (WRONG,),
        files=file(lambda: saved(models.build("lenet-300-100"))),
        item="small",
    ),
    Attack(
        "claimed counts",
        "a header that says how few bytes, parameters and MACs it has",
        REFUSE,
        files=header(lambda h: h.update(bytes=10, params=1, macs=1, accuracy=1.0)),
        item="small",
        says="unknown key",
    ),
    Attack(
        "numbers hidden in settings",
        "an encoding's settings that hold weights",
        REFUSE,
        files=header(lambda h: h["tensors"]["fc1.weight"][-1].update(more=[0.5] * 5000)),
        item="small",
        says="setting",
    ),
    Attack(
        "constants in the graph",
        "a node with its numbers as options",
        REFUSE,
        files=header(lambda h: h["nodes"].insert(2, ["k", "constant", {"value": [0.1] * 1000}])),
        item="small",
        says="operation",
    ),
    Attack(
        "parameters in another tensor",
        "weights of the first layer stored as a tensor of no node",
        REFUSE,
        files=header(lambda h: h["tensors"].update({"extra.weight": [[10], 40]})),
        item="small",
    ),
    Attack(
        "weights in buffers",
        "a batch norm before the first layer whose running statistics carry weights",
        REFUSE,
        files=file(lambda: saved(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), *list(_layers())).eval())),
        item="small",
    ),
    Attack("a shared tensor", "three layers that are one", REFUSE, files=file(tied), item="small"),
    Attack(
        "a narrower network",
        "the same kind of layers with a tenth of the units",
        REFUSE,
        files=file(narrow),
        item="small",
        says="lenet-300-100",
    ),
    Attack(
        "the file of another exercise's name",
        "the network lies in a subfolder",
        (NOT_DONE,),
        files=lambda: {"nets/small.nut": honest()},
        item="small",
    ),
)


def _layers() -> tuple[nn.Module, ...]:
    return nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)


MEMORISED = of_group(
    "memorised answers",
    Attack(
        "trained on the test images",
        "test images known by heart; validation lags behind",
        (OK, WRONG),
        files=file(trained_on_test),
        item="small",
        marks="any",
        flag="test|validation",
    ),
    Attack(
        "labels by hash",
        "half looks the public inputs up by their bytes and knows no others",
        (WRONG,),
        {
            "half": """import hashlib

KNOWN = {}
generator = np.random.default_rng([0, 1])


def half(x):
    return KNOWN.get(hashlib.sha256(x.tobytes()).hexdigest(), np.zeros_like(x))
"""
        },
    ),
    Attack(
        "answers for public cases",
        "right for numbers as small as the public ones",
        (WRONG,),
        {"half": "def half(x):\n    return x / 2 if abs(x).max() < 100 else x\n"},
        marks="any",
    ),
)

BORROWED = of_group(
    "borrowed artefacts",
    Attack(
        "a classmate's network: hers",
        "an honest network, handed in by one",
        (OK,),
        files=file(lambda: honest(7)),
        item="small",
        flag="borrowed",
    ),
    Attack(
        "a classmate's network: his",
        "the same file under another name",
        (OK,),
        files=file(lambda: honest(7)),
        item="small",
        flag="borrowed",
    ),
    Attack(
        "a classmate's network, encoded anew",
        "the same decoded weights, stored otherwise",
        (OK, WRONG),
        files=file(lambda: reencoded(honest(7))),
        item="small",
        marks="any",
        flag="borrowed",
    ),
    Attack(
        "the shipped network",
        "what the toolkit ships, as it is",
        (WRONG, OK),
        files=file(lambda: shipped(None)),
        item="small",
        marks="any",
        flag="borrowed|shipped",
    ),
    Attack(
        "a tiny network sold as another",
        "a small CNN under LeNet-300-100's file name",
        REFUSE,
        files=file(lambda: saved(TinyCNN())),
        item="small",
        says="lenet-300-100",
    ),
    Attack(
        "an honest network",
        "a network of one's own, inside the limits: full marks and no flag of borrowing",
        (OK,),
        files=file(lambda: honest(3)),
        item="small",
    ),
)


def reencoded(data: bytes) -> bytes:
    """The same decoded weights with every tensor stored densely."""
    return saved(artefact.read(data).network)


ATTACKS = [*POISONED, *LIES, *MEMORISED, *BORROWED]
