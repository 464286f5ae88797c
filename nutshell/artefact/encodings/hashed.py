"""Buckets of numbers that share one value; which number lies in which bucket is told by a seed."""

import torch
from torch import Tensor

from nutshell.artefact.encodings import values as inside
from nutshell.artefact.encodings.base import DTYPES, Encoding, Form, Settings, Shape, elements_of, setting, whole
from nutshell.artefact.encodings.hashing import checked_seed, drawn, means


class Hashed(Encoding):
    """V_p = ξ(p)·w[h(p)]: K values and a seed instead of n numbers; positions cost nothing.

    HashedNets (Chen et al. 2015, 1504.04788, section 4). Hash and sign are those of
    :mod:`nutshell.artefact.encodings.hashing`, the same on every machine. A tensor that shares its values in this way
    comes back as it is; of any other one the nearest such tensor, in which a bucket's value is the mean of ξ(p)·V_p.
    The layer runs as an ordinary one, with all of its multiply-accumulates.

    Parameters
    ----------
    buckets : int
        K, from 1 to the numbers of the tensor.
    seed : int
        From 0 to 2³¹ − 1; choose another one for each tensor.
    values : Encoding, optional
        For the K values: ``Dense``, ``Codebook``, ``Affine`` or ``FixedPoint``; ``Dense()`` if left out.

    Examples
    --------
    >>> weight = torch.linspace(-1, 1, 12).reshape(3, 4)
    >>> settings, payload = Hashed(2, seed=7).encode(weight)
    >>> settings, len(payload)
    ({'buckets': 2, 'seed': 7}, 8)
    >>> nearest = Hashed.decode(memoryview(payload), (3, 4), "float32", settings)[""]
    >>> len(nearest.abs().unique())
    2
    >>> Hashed(2, seed=7).encode(nearest)[1] == payload
    True
    """

    name = "hashed"

    def __init__(self, buckets: int, seed: int = 0, *, values: Encoding | None = None) -> None:
        if not isinstance(buckets, int) or buckets < 1:
            raise ValueError(f"Hashed: buckets={buckets}; choose at least 1.")
        self.buckets, self.seed, self.values = buckets, checked_seed(seed), inside.allowed(values, "Hashed")

    @property
    def lossless(self) -> bool:
        return False

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        if self.buckets > tensor.numel():
            raise ValueError(f"{self.buckets:,} buckets for {tensor.numel():,} numbers")
        numbers = tensor.detach().cpu().double().reshape(-1).numpy()
        nearest = means(numbers, self.seed, self.buckets, lambda where, draw: (draw % self.buckets, draw >= 0))
        inner, payload = self.values.encode(torch.from_numpy(nearest).to(tensor.dtype))
        settings = {"buckets": self.buckets} | ({"seed": self.seed} if self.seed else {})
        return settings | inside.written(self.values, inner), payload

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "buckets", "seed", "values")
        buckets = whole(settings, "buckets", 1, elements_of(shape))
        checked_seed(settings.get("seed", 0))
        inside.checked(settings, buckets, dtype, size)
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        kind, inner = inside.read(settings)
        kept = kind.decode(payload, (settings["buckets"],), dtype, inner)[""]
        found = torch.empty(elements_of(shape), dtype=DTYPES[dtype])
        for where, draw, negative in drawn(len(found), settings.get("seed", 0)):
            found[where] = kept[torch.from_numpy(draw % len(kept))]
            found[where][torch.from_numpy(negative)] *= -1
        return {"": found.reshape(shape)}
