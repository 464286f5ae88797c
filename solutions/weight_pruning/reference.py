"""Weight pruning: choose which weights stay, train with the others held at zero, and store what is left.

Notation of the unit: a mask **M** has the shape of a weight tensor, 1 (``True``) where a weight stays. The sparsity is
the share of zeros; the share kept is 1 minus that. σ without an index is the standard deviation of a layer's weights.
"""

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def magnitude_mask(weight: Tensor, sparsity: float | None = None, *, q: float | None = None) -> Tensor:
    """Which weights to keep: those of large magnitude, by a share to prune or by a threshold of q standard deviations.

    With ``sparsity`` s, the ``round(s·N)`` weights of smallest magnitude go, exactly that many: where magnitudes are
    equal, it is free which of them go. With ``q``, every weight below the threshold ``q·σ`` goes, σ being the standard
    deviation of this tensor's weights (Han et al. 2015, arXiv 1506.02626, section 3); either way of dividing, by N
    or by N − 1, will do.

    Parameters
    ----------
    weight : Tensor
        Any shape, floating point; left as it is.
    sparsity : float, optional
        Share of the weights to prune, 0 to 1, both included.
    q : float, optional
        Threshold in standard deviations, at least 0. A weight exactly at the threshold stays. Give this or
        ``sparsity``.

    Returns
    -------
    Tensor
        bool, of the shape of ``weight``: ``True`` where a weight stays.

    Raises
    ------
    ValueError
        If neither or both of ``sparsity`` and ``q`` are given, or the one given is out of its range.

    Examples
    --------
    >>> magnitude_mask(torch.tensor([0.1, -3.0, 0.5, 2.0]), 0.5)
    tensor([False,  True, False,  True])
    >>> magnitude_mask(torch.tensor([0.1, -3.0, 0.5, 2.0]), q=0.2)
    tensor([False,  True,  True,  True])
    """
    if (sparsity is None) == (q is None):
        raise ValueError(f"sparsity={sparsity}, q={q}: give one of the two.")
    sizes = weight.abs()
    if q is not None:
        if q < 0:
            raise ValueError(f"q={q}: must be at least 0.")
        return sizes >= q * weight.std(correction=0)
    if sparsity is None or not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity={sparsity}: must be from 0 to 1, a share of the weights.")
    pruned = sizes.flatten().argsort()[: round(sparsity * weight.numel())]
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[pruned] = False  # by position and not by threshold: equal magnitudes would all go, or all stay
    return mask.reshape(weight.shape)


def sensitivity_scan(
    network: nn.Module, inputs: Tensor, labels: Tensor, sparsities: Sequence[float]
) -> dict[str, list[float]]:
    """How much error each layer costs when it alone is pruned, without retraining.

    Prunes one weight tensor at a time by magnitude, measures, and puts it back before the next (Han et al. 2015,
    section 4, figure 6).

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier; afterwards it is as it was.
    inputs : Tensor
        What it takes, shape ``(N, …)``.
    labels : Tensor
        The right classes, int64, shape ``(N,)``.
    sparsities : sequence of float
        Shares to prune, each 0 to 1; ``round(s·size)`` weights of smallest magnitude go.

    Returns
    -------
    dict
        For the name of each parameter with at least two axes (weights, not biases), in the network's order, a list of
        errors in percent of the N inputs, one for each sparsity.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> with torch.no_grad():
    ...     _ = network[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    >>> sensitivity_scan(network, torch.eye(2), torch.tensor([0, 1]), [0.0, 1.0])
    {'0.weight': [0.0, 50.0]}
    """
    tried = copy.deepcopy(network).eval()
    errors: dict[str, list[float]] = {}
    with torch.no_grad():
        for name, weight in tried.named_parameters():
            if weight.ndim < 2:
                continue
            whole, order = weight.clone(), weight.abs().flatten().argsort()
            errors[name] = []
            for sparsity in sparsities:
                mask = torch.ones(weight.numel(), dtype=weight.dtype)
                mask[order[: round(sparsity * weight.numel())]] = 0
                weight.copy_(whole * mask.reshape(weight.shape))
                wrong = tried(inputs).argmax(1) != labels
                errors[name].append(100 * int(wrong.sum()) / len(labels))
            weight.copy_(whole)
    return errors


def masked_training(
    network: nn.Module,
    masks: dict[str, Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    optimiser: Callable[..., torch.optim.Optimizer],
) -> nn.Module:
    """Train a classifier with cross-entropy while the masked weights stay zero in every step.

    What comes out is what training the kept weights alone would give, as if the others had never been there.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place; maps inputs to logits.
    masks : dict of str to Tensor
        By the name of the parameter, bool, of its shape; ``True`` where a weight stays. Parameters that aren't named
        are trained whole.
    batches : iterable of (inputs, labels)
        Gone through once, one step of the optimiser for each.
    optimiser : callable
        Makes the optimiser from parameters, such as ``functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)``.

    Returns
    -------
    torch.nn.Module
        The network; where a mask is ``False``, its parameters are exactly zero.

    Examples
    --------
    >>> network, mask = nn.Linear(2, 2), torch.tensor([[True, False], [True, True]])
    >>> batch = torch.ones(1, 2), torch.tensor([0])
    >>> masked_training(network, {"weight": mask}, [batch], torch.optim.Adam).weight[0, 1].item()
    0.0
    """
    parameters = dict(network.named_parameters())
    steps = optimiser(network.parameters())

    def hold() -> None:
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].mul_(mask)

    hold()  # before the first step too: its gradients are those of the pruned network
    for inputs, labels in batches:
        steps.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        steps.step()
        hold()
    return network


def gradual_sparsity(step: int, begin: int, every: int, updates: int, final: float, initial: float = 0.0) -> float:
    """Sparsity at a step of training along the cubic ramp of Zhu and Gupta.

    The mask changes at the steps ``begin``, ``begin + every``, …, ``begin + updates·every`` and is held in between.
    After u of the n updates the sparsity is ``final + (initial − final)·(1 − u/n)³`` (Zhu and Gupta 2017, arXiv
    1710.01878, equation 1).

    Parameters
    ----------
    step : int
        Step of training, from 0.
    begin : int
        Step at which the ramp begins; up to and including it the sparsity is ``initial``.
    every : int
        Steps between two updates of the mask, at least 1.
    updates : int
        Updates until ``final`` is reached, at least 1; from then on it stays.
    final, initial : float
        Sparsities at the two ends, ``0 ≤ initial ≤ final ≤ 1``.

    Returns
    -------
    float
        Share of the weights that are zero at this step.

    Raises
    ------
    ValueError
        If ``every`` or ``updates`` is below 1, or the sparsities are out of order or range.

    Examples
    --------
    >>> [gradual_sparsity(step, begin=10, every=5, updates=2, final=1.0) for step in (0, 10, 15, 19, 20, 99)]
    [0.0, 0.0, 0.875, 0.875, 1.0, 1.0]
    """
    if every < 1 or updates < 1:
        raise ValueError(f"every={every}, updates={updates}: both must be at least 1.")
    if not 0 <= initial <= final <= 1:
        raise ValueError(f"initial={initial}, final={final}: sparsities go up, from 0 at least to 1 at most.")
    done = min(updates, max(0, step - begin) // every)
    return final + (initial - final) * (1 - done / updates) ** 3


def csr_product(values: Tensor, columns: Tensor, offsets: Tensor, inputs: Tensor) -> Tensor:
    """Multiply a matrix in compressed sparse row (CSR) form with a vector, or with several side by side.

    Row i of the matrix has the entries ``values[offsets[i] : offsets[i + 1]]`` in the columns
    ``columns[offsets[i] : offsets[i + 1]]``; all others are zero. Work and memory grow with the number of entries and
    the size of the result, never with rows times columns.

    Parameters
    ----------
    values : Tensor
        The entries row by row, shape ``(z,)``, floating point.
    columns : Tensor
        Column of each entry, int64, shape ``(z,)``; in any order within a row.
    offsets : Tensor
        Where each row begins among the entries, and the end: int64, shape ``(m + 1,)``, from 0 to z, never falling. A
        row may be empty.
    inputs : Tensor
        Shape ``(n,)``, or ``(n, batch)`` for several vectors; dtype of ``values``.

    Returns
    -------
    Tensor
        The product, shape ``(m,)`` or ``(m, batch)``, dtype of ``values``.

    Examples
    --------
    The matrix [[0, 5], [0, 0], [2, 3]] times (1, 10):

    >>> values, columns, offsets = torch.tensor([5.0, 2.0, 3.0]), torch.tensor([1, 0, 1]), torch.tensor([0, 1, 1, 3])
    >>> csr_product(values, columns, offsets, torch.tensor([1.0, 10.0]))
    tensor([50.,  0., 32.])
    """
    rows = torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff())
    products = values.reshape(-1, *[1] * (inputs.ndim - 1)) * inputs[columns]
    result = torch.zeros(len(offsets) - 1, *inputs.shape[1:], dtype=products.dtype)
    return result.index_add_(0, rows, products)


class GapCode:
    """A sparse tensor as gaps and values: for each number that isn't zero, how many zeros stand before it.

    The tensor is read row by row. Gaps have few bits, so only 0 to ``limit − 1`` can be written. A longer run of zeros
    is broken up: every ``limit``-th zero of it is written as a *padding zero*, a value 0 with the gap ``limit − 1``
    before it, and counting starts anew. A run of g zeros costs ⌊g / limit⌋ of them (Deep Compression, Han, Mao and
    Dally 2016, arXiv 1510.00149, section 2). Zeros behind the last number are not written.

    Parameters
    ----------
    limit : int
        How many different gaps there are, at least 1: 8 if a gap has three bits.

    Raises
    ------
    ValueError
        If ``limit`` is below 1.

    Examples
    --------
    Figure 2 of the paper: numbers at the positions 1, 4 and 15, gaps of three bits.

    >>> weight = torch.zeros(16)
    >>> weight[[1, 4, 15]] = torch.tensor([3.4, 0.9, 1.7])
    >>> gaps, values = GapCode(8).encode(weight)
    >>> gaps.tolist(), values
    ([1, 2, 7, 2], tensor([3.4000, 0.9000, 0.0000, 1.7000]))
    >>> torch.equal(GapCode(8).decode(gaps, values, (16,)), weight)
    True
    """

    def __init__(self, limit: int) -> None:
        """Keep the limit, which must be at least 1."""
        if limit < 1:
            raise ValueError(f"limit={limit}: must be at least 1.")
        self.limit = limit

    def encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gaps (int64) and values (the weight's dtype) of a tensor of any shape, padding zeros among them."""
        numbers = weight.flatten()
        written, last = [], -1
        for position in numbers.nonzero().flatten().tolist():
            while position - last > self.limit:
                last += self.limit
                written.append(last)  # a padding zero
            written.append(position)
            last = position
        positions = torch.tensor(written, dtype=torch.int64)
        gaps = positions.diff(prepend=torch.tensor([-1])) - 1
        return gaps, numbers[positions]

    def decode(self, gaps: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The tensor of that shape which ``encode`` took; dtype of the values."""
        numbers = torch.zeros(torch.Size(shape).numel(), dtype=values.dtype)
        numbers[(gaps + 1).cumsum(0) - 1] = values
        return numbers.reshape(shape)


def drop_pruning_step(
    weight: Tensor, mask: Tensor, threshold: float, drop_out: float, drop_in: float, draws: Tensor
) -> Tensor:
    """One step of DropPruning on a mask: some small weights drop out, some pruned ones drop in again.

    A kept weight whose magnitude is below the threshold goes with probability ``drop_out``; a pruned one comes back
    with probability ``drop_in`` (after Jia et al. 2018, arXiv 1812.02035). Chance comes from ``draws``: what has a
    probability p happens where the draw is below p.

    Parameters
    ----------
    weight : Tensor
        Any shape; zero where the mask is ``False``.
    mask : Tensor
        bool, of the weight's shape, ``True`` where a weight is kept now; left as it is.
    threshold : float
        Magnitude below which a kept weight may go, at least 0.
    drop_out, drop_in : float
        Probabilities, 0 to 1.
    draws : Tensor
        Independent draws from 0 to below 1, of the weight's shape.

    Returns
    -------
    Tensor
        The new mask, bool. A weight moves at most once in a step.

    Raises
    ------
    ValueError
        If a probability is below 0 or above 1.

    Examples
    --------
    >>> weight, mask = torch.tensor([0.1, 0.1, 2.0, 0.0]), torch.tensor([True, True, True, False])
    >>> drop_pruning_step(weight, mask, 0.5, drop_out=0.6, drop_in=0.2, draws=torch.tensor([0.5, 0.7, 0.0, 0.1]))
    tensor([False,  True,  True,  True])
    """
    if not (0 <= drop_out <= 1 and 0 <= drop_in <= 1):
        raise ValueError(f"drop_out={drop_out}, drop_in={drop_in}: probabilities lie between 0 and 1.")
    goes = mask & (weight.abs() < threshold) & (draws < drop_out)
    comes = ~mask & (draws < drop_in)
    return mask & ~goes | comes


def rewind(network: nn.Module, early: dict[str, Tensor], masks: dict[str, Tensor]) -> nn.Module:
    """Take a network back to weights from early in its training, but for the pruned ones, which stay zero.

    Trained again from there, it shows whether the mask alone, with its start, makes a good small network (Frankle and
    Carbin 2019, arXiv 1803.03635; a little into training: Frankle et al. 2019, 1903.01611).

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    early : dict of str to Tensor
        Its ``state_dict()`` from early in training; left as it is.
    masks : dict of str to Tensor
        By the name of the parameter, bool, ``True`` where a weight stays. What isn't named goes back whole.

    Returns
    -------
    torch.nn.Module
        The network.

    Examples
    --------
    >>> network = nn.Linear(2, 1)
    >>> early = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
    >>> rewind(network, early, {"weight": torch.tensor([[True, False]])}).weight.tolist()
    [[1.0, 0.0]]
    """
    network.load_state_dict(early)
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
    return network
