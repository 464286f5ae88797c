"""Products of signs on packed bits: 64 multiplications of ±1 are one exclusive or and one count of ones.

>>> import numpy as np
>>> signs = np.array([[1, -1, 1, 1], [-1, -1, 1, -1]])
>>> product(pack(signs), pack(signs)).tolist(), (signs @ signs.T).tolist()
([[4, 0], [0, 4]], [[4, 0], [0, 4]])
"""

from nutshell.binary.layers import PackedConv2d, PackedLinear, on_bits
from nutshell.binary.packing import Packed, pack
from nutshell.binary.products import KERNELS, product

__all__ = ["KERNELS", "Packed", "PackedConv2d", "PackedLinear", "on_bits", "pack", "product"]
