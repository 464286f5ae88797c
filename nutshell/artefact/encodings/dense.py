"""Every number as it is."""

from torch import Tensor

from nutshell.artefact.encodings.base import (
    DTYPES,
    Encoding,
    Form,
    Settings,
    Shape,
    dtype_name,
    from_bytes,
    setting,
    size_of,
    stored_dtype,
    to_bytes,
)


class Dense(Encoding):
    """Every number as it is, in the tensor's own dtype or in another one.

    Parameters
    ----------
    stored : str, optional
        Dtype in the file, such as ``"float16"``; the tensor's own if left out, which is lossless. An integer dtype
        must hold the values exactly.

    Examples
    --------
    >>> import torch
    >>> settings, payload = Dense("float16").encode(torch.ones(2, 3))
    >>> settings, len(payload)
    ({'stored': 'float16'}, 12)
    """

    name = "dense"

    def __init__(self, stored: str | None = None) -> None:
        if stored is not None and stored not in DTYPES:
            raise ValueError(f"stored={stored!r}: choose one of {', '.join(DTYPES)}.")
        self.stored = stored

    @property
    def lossless(self) -> bool:
        return self.stored is None

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        stored = self.stored or dtype_name(tensor)
        return ({} if stored == dtype_name(tensor) else {"stored": stored}), to_bytes(tensor, stored)

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "stored")
        stored = stored_dtype(settings, dtype)
        if size != size_of(shape, stored):
            raise ValueError(f"{size:,} bytes, but shape {list(shape)} in {stored} takes {size_of(shape, stored):,}")
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        return {"": from_bytes(payload, shape, stored_dtype(settings, dtype), dtype)}
