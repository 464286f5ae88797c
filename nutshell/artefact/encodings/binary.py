"""One bit a weight, with the size that all weights of a filter share."""

import torch
from torch import Tensor

from nutshell.artefact.coders import fixed
from nutshell.artefact.encodings.base import (
    DTYPES,
    FLOATS,
    Encoding,
    Form,
    Settings,
    Shape,
    axis_of,
    dtype_name,
    elements_of,
    from_bytes,
    setting,
    size_of,
    stored_dtype,
    to_bytes,
)


class Binary(Encoding):
    """w = ±α: first α of every filter, then one bit a weight, 1 for +α, the last byte filled up with zeros.

    It finds no signs and no α: a tensor whose weights aren't all of one size within a filter is refused. So what comes
    back is what was trained, up to the rounding of α if it is stored in fewer bits.

    Parameters
    ----------
    axis : int, optional
        0 for one α for each output channel; ``None`` for one α for all, as where all weights are ±1.
    stored : str, optional
        Dtype of α in the file, such as ``"float16"``; the tensor's own if left out.

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -0.5, 0.5], [2.0, 2.0, -2.0]])
    >>> settings, payload = Binary(stored="float16").encode(weight)
    >>> settings, payload.hex()  # 0.5, 2.0 and the bits 101110
    ({'axis': 0, 'stored': 'float16'}, '00380040b8')
    >>> Binary.decode(memoryview(payload), (2, 3), "float32", settings)[""]
    tensor([[ 0.5000, -0.5000,  0.5000],
            [ 2.0000,  2.0000, -2.0000]])
    """

    name = "binary"

    def __init__(self, *, axis: int | None = 0, stored: str | None = None) -> None:
        if axis not in (None, 0):
            raise ValueError(f"Binary: axis={axis}; choose 0 (output channels) or None (one α).")
        if stored is not None and stored not in FLOATS:
            raise ValueError(f"Binary: stored={stored!r}; choose one of {', '.join(FLOATS)}.")
        self.axis, self.stored = axis, stored

    @property
    def lossless(self) -> bool:
        return False  # most tensors can't be written at all

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        rows = tensor.detach().cpu().reshape(tensor.shape[0] if self.axis == 0 else 1, -1)
        sizes = rows.abs()
        alpha, least = sizes.amax(1), sizes.amin(1)
        if not torch.isfinite(alpha).all():
            raise ValueError("has values that are infinite or not a number (NaN)")
        if not torch.equal(alpha, least):
            filters = f"{int((alpha != least).sum()):,} of {len(rows):,} filters have" if self.axis == 0 else "it has"
            raise ValueError(f"{filters} weights of more than one size; binary weights are +α and −α, α the same "
                             f"within {'a filter' if self.axis == 0 else 'the tensor'}")
        stored = self.stored or dtype_name(tensor)
        settings: Settings = {"axis": 0} if self.axis == 0 else {}
        settings |= {"stored": stored} if stored != dtype_name(tensor) else {}
        bits = (rows >= 0).flatten().numpy().astype("int64")
        return settings, to_bytes(alpha, stored) + fixed.encode(bits, 2)

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "axis", "stored")
        stored, scales = stored_dtype(settings, dtype), axis_of(settings, shape)
        if stored not in FLOATS:
            raise ValueError(f"α stored as {stored!r}; possible are {', '.join(FLOATS)}")
        expected = size_of((scales,), stored) + fixed.size(elements_of(shape), 2)
        if size != expected:
            raise ValueError(f"{size:,} bytes, but {elements_of(shape):,} bits with α in {stored} take {expected:,}")
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        stored, scales = stored_dtype(settings, dtype), axis_of(settings, shape)
        first = size_of((scales,), stored)
        alpha = from_bytes(payload[:first], (scales, 1), stored, dtype)
        if not (alpha >= 0).all():  # not a number isn't either
            raise ValueError("an α is below 0 or not a number")
        bits = torch.from_numpy(fixed.decode(payload[first:], elements_of(shape), 2)).reshape(scales, -1)
        return {"": torch.where(bits == 1, alpha, -alpha).to(DTYPES[dtype]).reshape(shape)}
