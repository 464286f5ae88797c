"""How large a file and the network in it may be; checked before anything of that size is made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds on a ``.nut`` file and on what it decodes to.

    The defaults hold every network that the course trains with room to spare, and keep a hostile file to seconds
    and a few hundred megabytes. Raise them with :func:`dataclasses.replace` for a network of your own.

    Attributes
    ----------
    file_bytes : int
        Size of the file.
    header_bytes : int
        Size of the header once decompressed.
    nodes, tensors : int
        Entries of the graph and of the table of tensors.
    tensor_elements, total_elements : int
        Numbers that one tensor, and all of them, decode to.
    activations : int
        Numbers that all nodes together put out for one image.
    macs : int
        Multiply-accumulates for one image.
    run_macs : int
        Multiply-accumulates for all images that a measurement runs.
    """

    file_bytes: int = 1 << 26
    header_bytes: int = 1 << 18
    nodes: int = 2048
    tensors: int = 4096
    tensor_elements: int = 1 << 24
    total_elements: int = 1 << 25
    activations: int = 1 << 25
    macs: int = 1 << 35
    run_macs: int = 1 << 43
