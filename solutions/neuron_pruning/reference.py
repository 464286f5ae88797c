"""Neuron pruning: drive whole neurons and channels to zero, find those without connections, and take them out.

Notation of the unit: a weight matrix ``W`` is m×n, one row for each of its m outputs. The row of a neuron holds its
incoming connections; its outgoing ones are a column of the next layer's matrix.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def li_lo_penalty(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The two regularisers of DropNeuron: lengths of incoming and of outgoing connections, added over all layers.

    ``li = Σ_layers Σ_j ‖W[j, :]‖₂`` takes the connections that come in to each output of a layer as one group,
    ``lo = Σ_layers Σ_i ‖W[:, i]‖₂`` those that go out from each of its inputs (Pan, Dong and Guo 2016, arXiv
    1606.07326, section 3). Neither is squared: a group lasso, which can empty a group as a whole.

    Parameters
    ----------
    weights : sequence of Tensor
        One a layer, at least one: matrices ``(m, n)`` or kernels ``(P, C, K_h, K_w)``, where a channel with its places
        counts as one neuron. Biases are no connections and aren't among them.

    Returns
    -------
    li, lo : Tensor
        Two numbers, at least 0, through which gradients flow; a group of zeros adds nothing to either, and its
        gradient is 0.

    Examples
    --------
    >>> li, lo = li_lo_penalty([torch.tensor([[3.0, 4.0], [0.0, 0.0]])])
    >>> li.item(), lo.item()
    (5.0, 7.0)
    """
    li = lo = torch.zeros((), dtype=weights[0].dtype)
    for weight in weights:
        li = li + torch.linalg.vector_norm(weight.flatten(1), dim=1).sum()
        lo = lo + torch.linalg.vector_norm(weight.transpose(0, 1).flatten(1), dim=1).sum()
    return li, lo


def group_soft_threshold(weight: Tensor, threshold: float, dim: int = 0) -> Tensor:
    """The proximal step of a group lasso: every group gets shorter by the threshold, and short ones become zero.

    Each group g becomes ``argmin_v ½‖v − g‖² + threshold·‖v‖ = max(0, 1 − threshold / ‖g‖)·g`` (Yuan and Lin 2006;
    Parikh and Boyd 2014, *Proximal Algorithms*, section 6.5.1).

    Parameters
    ----------
    weight : Tensor
        Shape ``(m, n)`` or ``(P, C, K_h, K_w)``; left as it is.
    threshold : float
        By how much a group's length falls, at least 0. After a gradient step it is learning rate times λ.
    dim : int
        0: a group is what comes in to one output, a row. 1: what goes out from one input, a column.

    Returns
    -------
    Tensor
        Same shape and dtype. Groups no longer than the threshold are exact zeros.

    Raises
    ------
    ValueError
        If the threshold is below 0.

    Examples
    --------
    >>> group_soft_threshold(torch.tensor([[3.0, 4.0], [0.6, 0.8]]), 1.0)
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """
    if threshold < 0:
        raise ValueError(f"threshold={threshold}: a length can't grow, it must be at least 0.")
    others = [axis for axis in range(weight.ndim) if axis != dim]
    lengths = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    shrunk = torch.where(lengths > threshold, 1 - threshold / lengths, 0)  # also where the length is 0
    return weight * shrunk


def dead_neurons(weight: Tensor, bias: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Neurons of a hidden layer that can go, and what the next layer's biases need to make up for it.

    A neuron without outgoing connections is read by nobody. One without incoming connections puts out the same for
    every input, ReLU(b): whoever reads it gets a constant, which belongs into the reader's bias.

    Parameters
    ----------
    weight, bias : Tensor
        Of the layer, followed by ReLU: ``(hidden, n)`` and ``(hidden,)``.
    following : Tensor
        Weight of the next layer, ``(m, hidden)``.

    Returns
    -------
    dead : Tensor
        bool, ``(hidden,)``: True for a neuron whose incoming or outgoing weights are all exactly zero.
    shift : Tensor
        ``(m,)``: added to the next layer's biases, it leaves all outputs as they were once the dead are gone.

    Examples
    --------
    The second neuron has no incoming connections and puts out 2; the third is read by nobody.

    >>> weight = torch.tensor([[1.0, -1.0], [0.0, 0.0], [5.0, 5.0]])
    >>> dead_neurons(weight, torch.tensor([0.5, 2.0, 1.0]), torch.tensor([[1.0, 3.0, 0.0]]))
    (tensor([False,  True,  True]), tensor([6.]))
    """
    dead = (weight == 0).all(1) | (following == 0).all(0)
    return dead, following[:, dead] @ bias[dead].relu()


def shrink_linear(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Take all neurons without connections out of a stack of linear layers with ReLU between them.

    A neuron that goes takes its row and its column along, so others may lose their last connection: that goes on
    until no hidden neuron is without incoming or without outgoing connections. Inputs and outputs of the whole stack
    stay as many as they were.

    Parameters
    ----------
    weights, biases : sequence of Tensor
        ``(n_1, n_0)``, ``(n_2, n_1)``, … and ``(n_1,)``, ``(n_2,)``, …, at least one layer, with zeros where weights
        were pruned; left as they are. ReLU follows each layer but the last.

    Returns
    -------
    weights, biases : list of Tensor
        Of the smaller stack, with as many layers and the same outputs for every input, up to rounding. A layer may
        lose all of its neurons: its weight then has shape ``(0, n)``.

    Examples
    --------
    >>> weights = [torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 3.0]])]
    >>> small, biases = shrink_linear(weights, [torch.tensor([0.0, 2.0]), torch.tensor([1.0])])
    >>> [tuple(weight.shape) for weight in small], biases[1]
    ([(1, 2), (1, 1)], tensor([7.]))
    """
    weights, biases = list(weights), list(biases)
    before = None
    while before != (before := [len(bias) for bias in biases]):
        for layer in range(len(weights) - 1):
            following = weights[layer + 1]
            dead = (weights[layer] == 0).all(1) | (following == 0).all(0)
            constant = biases[layer][dead].relu()
            biases[layer + 1] = biases[layer + 1] + following[:, dead] @ constant
            weights[layer], biases[layer] = weights[layer][~dead], biases[layer][~dead]
            weights[layer + 1] = following[:, ~dead]
    return weights, biases


def shrink_convolution(
    weight: Tensor, bias: Tensor, following: Tensor, following_bias: Tensor, padding: int = 0, relu: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take channels without connections out of a convolution, and their readings out of the layer that comes next.

    A channel whose kernels are all zero puts out a constant plane: its bias, or ReLU of it. The next layer reads it
    with every weight of the channel at once, so their sum times the constant goes into the bias. With zero padding
    that isn't true at the border, where zeros are read in place of the constant: then a constant channel may go only
    if the constant is 0. A channel that nobody reads may always go.

    Parameters
    ----------
    weight, bias : Tensor
        Of the convolution, ``(P, C, K_h, K_w)`` and ``(P,)``; left as they are.
    following, following_bias : Tensor
        Of the next layer: another convolution, ``(Q, P, K_h, K_w)``, or a linear layer that reads the flattened
        channels, ``(Q, P·places)``; and ``(Q,)``. Between the two there may be pooling without padding.
    padding : int
        Zeros that the next convolution adds on each side; 0 for a linear layer.
    relu : bool
        Whether ReLU stands between the two; without it the constant is the bias itself.

    Returns
    -------
    weight, bias, following, following_bias : Tensor
        Of the two smaller layers, with the same outputs for every input, up to rounding.

    Examples
    --------
    >>> kernels = torch.ones(4, 1, 3, 3)
    >>> kernels[2] = 0
    >>> small = shrink_convolution(kernels, torch.ones(4), torch.ones(6, 4, 3, 3), torch.zeros(6))
    >>> [tuple(tensor.shape) for tensor in small], small[3][0].item()
    ([(3, 1, 3, 3), (3,), (6, 3, 3, 3), (6,)], 9.0)
    """
    readings = following.reshape(len(following), len(weight), -1)  # (Q, P, places or kernel points)
    constant = bias.relu() if relu else bias
    silent = (weight == 0).flatten(1).all(1)
    if padding:
        silent = silent & (constant == 0)
    keep = ~(silent | (readings == 0).all(2).all(0))
    shift = readings[:, ~keep].sum(2) @ constant[~keep]
    smaller = readings[:, keep]
    smaller = smaller.flatten(1) if following.ndim == 2 else smaller.unflatten(2, following.shape[2:])
    return weight[keep], bias[keep], smaller, following_bias + shift


def channel_importance(activations: Tensor, gradients: Tensor) -> Tensor:
    """How much the loss would change without a channel, to first order, in the mean over images.

    Setting a channel's activations a to zero changes an image's loss by about ``−Σ_places a · ∂loss/∂a``: the first
    term of its Taylor series (Molchanov et al. 2017, arXiv 1611.06440, section 2.2, who divide by the number of
    places). Its size is averaged over images, after the places have been added up.

    Parameters
    ----------
    activations : Tensor
        What the channels put out for some images, ``(N, P, H, W)``; ``(N, P)`` for the neurons of a linear layer.
    gradients : Tensor
        Derivative of the loss with respect to them, same shape.

    Returns
    -------
    Tensor
        ``(P,)``, at least 0.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> activations = torch.tensor([[1.0, 2.0], [1.0, 0.0]])
    >>> channel_importance(activations, torch.tensor([[0.5, -1.0], [-0.5, 3.0]]))
    tensor([0.5000, 1.0000])
    """
    if activations.shape != gradients.shape:
        raise ValueError(f"activations {tuple(activations.shape)} and gradients {tuple(gradients.shape)} differ.")
    changes = (activations * gradients).flatten(2).sum(2) if activations.ndim > 2 else activations * gradients
    return changes.abs().mean(0)


def prune_recurrent(state: Mapping[str, Tensor], done: float, sparsity: float, gates: int = 3) -> dict[str, Tensor]:
    """Masks of a recurrent layer along the gradual ramp, gate by gate.

    The share of zeros is ``s = sparsity · (1 − (1 − done)³)`` (Zhu and Gupta 2017, arXiv 1710.01878, equation 1, from
    0 on). One mask serves all time steps, since they share the weights. PyTorch stacks the gates' matrices on one
    another; each gate loses the same share, its smallest magnitudes, so that none is starved by another whose weights
    happen to be larger.

    Parameters
    ----------
    state : mapping of str to Tensor
        As ``layer.state_dict()`` of ``nn.GRU`` has it: ``weight_ih_l0`` ``(gates·H, n)``, ``weight_hh_l0``
        ``(gates·H, H)``, biases, and further layers alike; left as it is.
    done : float
        Where on the ramp training is: 0 at its start, 1 from its end on.
    sparsity : float
        Share of zeros at the end, 0 to 1.
    gates : int
        3 for a GRU (reset, update, new), 4 for an LSTM, 1 for a plain recurrent layer.

    Returns
    -------
    dict of str to Tensor
        For each matrix, not for biases, a bool mask of its shape, False where a weight goes: in each gate
        ``s · entries`` of them, rounded to the nearest whole number, smallest magnitudes first.

    Raises
    ------
    ValueError
        If done or sparsity is below 0 or above 1.

    Examples
    --------
    >>> state = {"weight_hh_l0": torch.tensor([[0.1, 2.0], [3.0, -0.2]]), "bias_hh_l0": torch.zeros(2)}
    >>> prune_recurrent(state, done=1.0, sparsity=0.5, gates=2)
    {'weight_hh_l0': tensor([[False,  True],
            [ True, False]])}
    """
    if not (0 <= done <= 1 and 0 <= sparsity <= 1):
        raise ValueError(f"done={done}, sparsity={sparsity}: both are shares, from 0 to 1.")
    share = sparsity * (1 - (1 - done) ** 3)
    masks = {}
    for name, value in state.items():
        if not name.startswith("weight_"):
            continue
        sizes = value.abs().reshape(gates, -1)
        order = sizes.argsort(dim=1, stable=True)
        masks[name] = torch.ones_like(sizes, dtype=torch.bool)
        masks[name].scatter_(1, order[:, : round(share * sizes.shape[1])], False)
        masks[name] = masks[name].reshape(value.shape)
    return masks


def drop_layers(blocks: Sequence[tuple[Tensor, Tensor]], inputs: Tensor, drop: int) -> list[int]:
    """Choose which blocks of a residual stack to drop, one after another.

    Block i adds ``relu(x Aᵢᵀ) Bᵢᵀ`` to what comes in, so without it the stack still fits together. Each turn drops the
    block whose absence moves the outputs least from those of the *whole* stack, given the blocks dropped so far.

    Parameters
    ----------
    blocks : sequence of (Tensor, Tensor)
        Aᵢ of shape ``(hidden, n)`` and Bᵢ of shape ``(n, hidden)``.
    inputs : Tensor
        Examples to judge on, ``(N, n)``.
    drop : int
        How many blocks go, 0 to all of them.

    Returns
    -------
    list of int
        Numbers of the blocks that stay, from 0, in their order.

    Raises
    ------
    ValueError
        If drop is below 0 or above the number of blocks.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> drop_layers([(one, one), (one, 0.1 * one), (one, 2 * one)], torch.ones(1, 1), drop=2)
    [2]
    """
    if not 0 <= drop <= len(blocks):
        raise ValueError(f"drop={drop}: there are {len(blocks)} blocks, so it is 0 to {len(blocks)}.")

    def outputs(chosen: Sequence[int]) -> Tensor:
        x = inputs
        for number in chosen:
            a, b = blocks[number]
            x = x + (x @ a.T).relu() @ b.T
        return x

    stay = list(range(len(blocks)))
    whole = outputs(stay)
    for _ in range(drop):
        moved = [float((outputs([other for other in stay if other != number]) - whole).norm()) for number in stay]
        stay.pop(moved.index(min(moved)))
    return stay
