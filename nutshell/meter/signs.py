"""Products of signs: a layer whose inputs are ±1 and whose weights are ±α needs no multiply-accumulates.

A module says with the attribute ``puts_out_signs = True`` that all it puts out is ±1. A product or convolution of such
a value with stored weights that have one magnitude in each output, α, counts two binary operations for each product of
signs, one for the exclusive or and one for counting it (XNOR-Net: Rastegari et al. 2016, arXiv 1603.05279, section
3.2), and a multiplication by α for each output unless α is 1. Sixty-four binary operations are one on packed words.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from nutshell.meter import names
from nutshell.meter.rules import Call, Cost

PER_PRODUCT = 2  # binary operations: exclusive or, and counting ones
PACKED = 32  # signs in the memory of a float32


def on_bits(call: Call, costs: Iterable[Cost], weight: Tensor) -> list[Cost]:
    """Costs of a product of signs instead of those of a product of numbers.

    Parameters
    ----------
    call : Call
        A convolution or matrix product of signs with ``weight``.
    costs : iterable of Cost
        What it would cost with numbers.
    weight : Tensor
        With its values, for which :func:`magnitudes` finds one magnitude an output.
    """
    found = [Cost("binary", 0, cost.bias_adds, cost.elementwise, PER_PRODUCT * cost.macs, cost.written)
             if cost.macs else cost for cost in costs]  # fmt: skip
    if not bool((weight.abs() == 1).all()):
        found.append(Cost("multiplication", elementwise=call.output.numel(), written=0))
    return found


def is_scaled_signs(name: str, weight: Tensor) -> bool:
    """Whether weights have one magnitude above 0 in each output.

    Parameters
    ----------
    name : str
        ATen name of the operation: outputs are the first dimension of a convolution's weights, the last of a matrix's.
    weight : Tensor
        As the operation takes it.

    Examples
    --------
    >>> weight = torch.tensor([[0.5, -0.5], [2.0, 2.0]])
    >>> is_scaled_signs("convolution", weight), is_scaled_signs("mm", weight)
    (True, False)
    """
    if weight.is_meta or weight.layout is not torch.strided or weight.ndim < 2 or not weight.numel():
        return False
    sizes = weight.detach().abs()
    sizes = sizes.flatten(1) if name in names.CONVOLUTIONS else sizes.movedim(-1, 0).flatten(1)
    least, most = sizes.aminmax(dim=1)
    return bool((least == most).all() and (least > 0).all() and torch.isfinite(most).all())
