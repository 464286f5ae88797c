"""The two LeNets as functions of their parameters, with dropout that a seeded generator decides."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def logits_of(
    name: str, parameters: Mapping[str, Tensor], images: Tensor, precision: str = "float32", dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Logits of ``"lenet-300-100"`` or ``"lenet-5-caffe"`` with these parameters.

    Parameters
    ----------
    name : str
        The network.
    parameters : mapping of str to Tensor
        By the names they have in the network, float32.
    images : Tensor
        float32, shape ``(N, 1, 28, 28)``.
    precision : {"float32", "bfloat16"}
        Arithmetic of products.
    dropout : float
        Share of hidden units of the fully connected layers that are left out, from 0 to below 1.
    generator : torch.Generator, optional
        Which units are.

    Returns
    -------
    Tensor
        float32, shape ``(N, 10)``.

    Examples
    --------
    >>> from nutshell import models
    >>> network, images = models.build("lenet-5-caffe", seed=0), torch.randn(2, 1, 28, 28)
    >>> found = logits_of("lenet-5-caffe", dict(network.named_parameters()), images)
    >>> torch.allclose(found, network(images), atol=1e-5)
    True
    """
    dtype = DTYPES[precision]
    at = {key: value.to(dtype) for key, value in parameters.items()}
    values = images.to(dtype)
    if name == "lenet-5-caffe":
        for layer in ("conv1", "conv2"):
            values = functional.conv2d(values, at[f"{layer}.weight"], at[f"{layer}.bias"])
            values = functional.max_pool2d(values, 2)
    values = values.flatten(1)
    layers = sorted({key.partition(".")[0] for key in at if key.startswith("fc")})
    for layer in layers:
        values = functional.linear(values, at[f"{layer}.weight"], at[f"{layer}.bias"])
        if layer != layers[-1]:
            values = values.relu()
            if dropout:
                there = torch.rand(values.shape, generator=generator) >= dropout
                values = values * there.to(dtype) / (1 - dropout)
    return values.float()
