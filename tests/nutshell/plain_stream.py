"""A stream that worker processes can import."""

import torch

from nutshell.streams import open_shelf


def in_order(place, batch_size, *, worker, workers):
    """Numbers alone, in batches."""
    numbers = list(range(worker, len(open_shelf(place)), workers))
    for start in range(0, len(numbers), batch_size):
        yield torch.tensor(numbers[start : start + batch_size])
