"""In a nutshell: techniques together, a network at work in front of a camera, the contest, and what is left inside.

Notation of the unit: p is the share of weights that pruning keeps. A step of a pipeline is a pair of a technique's name
and its amount, as :mod:`nutshell.pipelines` has them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nutshell.pipelines import apply


def bits_per_weight(kept: float, shares: Sequence[float]) -> float:
    """Fewest bits a weight that a pruned and shared layer takes, with any code that codes weights one by one.

    Two things have to be told for a weight: whether it is there, and if it is, which centroid it points to. With p
    for ``kept`` and sᵢ for ``shares`` (Shannon 1948, sections 6 and 9)::

        bits = H(p, 1 − p) + p · H(s₁, s₂, …),     H(q₁, q₂, …) = −Σ qᵢ · log₂ qᵢ,     0 · log₂ 0 = 0

    Parameters
    ----------
    kept : float
        Share of the weights that aren't zero, 0 to 1.
    shares : sequence of float
        Of the kept weights, the share that points to each centroid; they add up to 1.

    Returns
    -------
    float
        Bits, averaged over all weights, pruned ones included.

    Raises
    ------
    ValueError
        If ``kept`` or a share isn't from 0 to 1, or the shares differ from 1 by more than 10⁻⁶ in sum.

    Examples
    --------
    >>> bits_per_weight(1.0, [0.25, 0.25, 0.25, 0.25])
    2.0
    >>> bits_per_weight(0.5, [0.5, 0.5])
    1.5
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept={kept}: must be from 0 to 1.")
    if any(not 0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares={list(shares)}: each must be from 0 to 1, and together 1.")

    def entropy(parts: Sequence[float]) -> float:
        return -sum(part * math.log2(part) for part in parts if part > 0)

    return entropy([kept, 1 - kept]) + kept * entropy(shares)


def commutator(weight: Tensor, first: tuple[str, float], second: tuple[str, float]) -> float:
    """How much the order of two techniques matters to a matrix: 0 where they commute.

    With A for ``first`` and B for ``second``: ‖B(A(W)) − A(B(W))‖ / ‖W‖, in the Frobenius norm.

    Parameters
    ----------
    weight : Tensor
        W, shape ``(m, n)``; left as it is.
    first, second : (str, float)
        Steps for :func:`nutshell.pipelines.apply`, such as ``("prune", 0.9)``.

    Returns
    -------
    float
        At least 0; 0 for a matrix of zeros.

    Examples
    --------
    >>> weight = torch.tensor([[4.0, -1.0], [0.5, 2.0]])
    >>> commutator(weight, ("prune", 0.5), ("prune", 0.25))
    0.0
    >>> round(commutator(weight, ("prune", 0.5), ("sign", 0)), 3)
    0.474
    """
    size = weight.norm().item()
    if size == 0:
        return 0.0
    one, other = apply(apply(weight, first), second), apply(apply(weight, second), first)
    return (one - other).norm().item() / size


def low_rank_plus_sparse(weight: Tensor, rank: int, kept: int, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Write a matrix as one of low rank plus a sparse one, by fitting the two in turn.

    Begins with S = 0. In each round L becomes the matrix of that rank that is closest to W − S, and then S the matrix
    with that many numbers that is closest to W − L: its entries of largest magnitude, the rest zero (GoDec without
    its random projections, Zhou and Tao 2011; for networks Yu, Liu, Wang and Tao 2017). No step can move L + S away
    from W.

    Parameters
    ----------
    weight : Tensor
        W, shape ``(m, n)``, floating point; left as it is.
    rank : int
        Of L, 0 to ``min(m, n)``; at 0 it is zero.
    kept : int
        Entries of S that needn't be zero, 0 to m·n; at 0 it is zero.
    rounds : int
        At least 1.

    Returns
    -------
    (Tensor, Tensor)
        L and S, of W's shape and dtype.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> weight = torch.ones(20, 20)
    >>> weight[3, 5] = 7
    >>> low, sparse = low_rank_plus_sparse(weight, rank=1, kept=1)
    >>> low[3, 5:8].round(decimals=3).tolist(), sparse[3, 5:8].round(decimals=3).tolist()
    ([1.0, 1.0, 1.0], [6.0, 0.0, 0.0])
    """
    if not 0 <= rank <= min(weight.shape):
        raise ValueError(f"rank={rank}: must be from 0 to {min(weight.shape)}.")
    if not 0 <= kept <= weight.numel():
        raise ValueError(f"kept={kept}: must be from 0 to {weight.numel()}.")
    if rounds < 1:
        raise ValueError(f"rounds={rounds}: must be at least 1.")
    sparse = torch.zeros_like(weight)
    for _ in range(rounds):
        u, sigma, vt = torch.linalg.svd(weight - sparse, full_matrices=False)
        low = (u[:, :rank] * sigma[:rank]) @ vt[:rank]
        rest = weight - low
        largest = rest.abs().flatten().topk(kept).indices
        sparse = torch.zeros_like(weight)
        sparse.view(-1)[largest] = rest.flatten()[largest]
    return low, sparse


def camera(durations: Sequence[int], period: int) -> list[tuple[int, int]]:
    """Which frames of a camera a network sees, and how old each is when the answer is there.

    Frame i comes at the time i·period. The network works at one frame at a time and begins with frame 0 at time 0. When
    it is done it takes the newest frame that has come by then, and those before are lost; if that one was seen
    already, it waits for the next. A frame that comes at the very moment has come.

    Parameters
    ----------
    durations : sequence of int
        How long the network works at each frame that it sees, in microseconds; each at least 0.
    period : int
        Microseconds between two frames, at least 1; 33 333 at thirty frames a second.

    Returns
    -------
    list of (int, int)
        For each frame seen, its number and its age in microseconds when the network is done with it.

    Raises
    ------
    ValueError
        If a duration is negative or the period below 1.

    Examples
    --------
    >>> camera([10, 10, 10], period=30)
    [(0, 10), (1, 10), (2, 10)]
    >>> camera([40, 40, 40], period=30)
    [(0, 40), (1, 50), (2, 60)]
    """
    if period < 1 or any(duration < 0 for duration in durations):
        raise ValueError(f"period={period}, durations={list(durations)[:5]}: at least 1, and none negative.")
    seen: list[tuple[int, int]] = []
    now = 0
    for duration in durations:
        newest = now // period
        if seen and newest <= seen[-1][0]:
            newest = seen[-1][0] + 1
        now = max(now, newest * period) + duration
        seen.append((newest, now - newest * period))
    return seen


def contest_score(
    accuracy: float,
    energy_uj: float,
    seconds: float,
    *,
    floor: float = 0.98,
    images: int = 20_000,
    limit: float = 600.0,
) -> float:
    """Right answers for each joule, as in the Low-Power Image Recognition Challenge, above a floor on accuracy.

    The network goes through ``images`` one by one until all are done or the time is over; only whole images count.
    What it didn't reach is wrong, and cost nothing. If the share of *all* images that it answered rightly is below the
    floor, the score is 0; else it is the number of right answers over the energy of all answers, in joules.

    Parameters
    ----------
    accuracy : float
        Share of the answers that are right, 0 to 1.
    energy_uj : float
        Microjoules an image, above 0.
    seconds : float
        Seconds an image, above 0.
    floor : float
        Least share of all images that must be answered rightly; exactly as many are enough.
    images : int
        How many there are.
    limit : float
        Seconds for all of them.

    Returns
    -------
    float
        Right answers a joule, or 0.

    Raises
    ------
    ValueError
        If energy or seconds aren't above 0, or the accuracy isn't from 0 to 1.

    Examples
    --------
    >>> contest_score(0.99, energy_uj=2.0, seconds=0.001)
    495000.0
    >>> contest_score(0.9, energy_uj=0.001, seconds=0.001)
    0.0
    """
    if energy_uj <= 0 or seconds <= 0 or not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy={accuracy}, energy_uj={energy_uj}, seconds={seconds}: 0 to 1, and above 0.")
    done = min(images, int(limit // seconds))
    right = accuracy * done
    if done == 0 or right < floor * images:
        return 0.0
    return right / (done * energy_uj * 1e-6)


def class_activation_map(features: Tensor, weights: Tensor, label: int) -> Tensor:
    """Where a network with global average pooling sees a class (Zhou, Khosla, Lapedriza, Oliva and Torralba 2016).

    Such a network ends in the mean of each channel over all places and a linear layer. The two can change places:
    M(y, x) = Σ_c w_c · f_c(y, x), and the mean of the map over all places is the class's logit, but for its bias.

    Parameters
    ----------
    features : Tensor
        f, what goes into the pooling for one image, shape ``(C, H, W)``.
    weights : Tensor
        Of the linear layer, shape ``(classes, C)``.
    label : int
        Which class.

    Returns
    -------
    Tensor
        Shape ``(H, W)``.

    Examples
    --------
    >>> features = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    >>> class_activation_map(features, torch.tensor([[1.0, 1.0], [3.0, -1.0]]), label=1)
    tensor([[ 3., -2.]])
    """
    return torch.einsum("c,chw->hw", weights[label], features)


def occlusion_map(network: nn.Module, image: Tensor, label: int, size: int) -> Tensor:
    """How much each part of an image counts for a class: what its logit loses when a square is blanked.

    A square of ``size`` × ``size`` is laid over every place where it fits whole, one pixel after the other, and its
    pixels are set to 0 in all channels (Zeiler and Fergus 2014, section 4.2).

    Parameters
    ----------
    network : torch.nn.Module
        Takes images ``(N, C, H, W)`` and puts out logits ``(N, classes)``.
    image : Tensor
        Shape ``(C, H, W)``; left as it is.
    label : int
        Which class.
    size : int
        Side of the square in pixels, 1 to the image's smaller side.

    Returns
    -------
    Tensor
        Shape ``(H − size + 1, W − size + 1)``: the class's logit for the whole image minus that with the square's top
        left corner there. No gradient.

    Raises
    ------
    ValueError
        If the square doesn't fit.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]))
    >>> occlusion_map(network, torch.ones(1, 2, 2), label=0, size=1)
    tensor([[1., 2.],
            [3., 4.]])
    """
    height, width = image.shape[1:]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"size={size}: must be from 1 to {min(height, width)}.")
    rows, columns = height - size + 1, width - size + 1
    hidden = []
    for top in range(rows):
        for left in range(columns):
            blanked = image.clone()
            blanked[:, top : top + size, left : left + size] = 0
            hidden.append(blanked)
    with torch.no_grad():
        whole = network(image[None])[0, label]
        logits = network(torch.stack(hidden))[:, label]
    return (whole - logits).reshape(rows, columns)


def dissect(activations: Tensor, masks: Tensor, share: float = 0.005) -> float:
    """How well a unit's strongest places agree with a concept (network dissection, Bau, Zhou and others 2017).

    The unit's threshold is the value that ``share`` of all its activations reach, over all images and places: the
    ``round(share · number)``-th largest, at least the first. Where it is reached, the unit is on. The score is the
    intersection over union of what is on and what the masks show, over all images together.

    Parameters
    ----------
    activations : Tensor
        Of one unit, shape ``(N, H, W)``, floating point.
    masks : Tensor
        Where the concept is, bool, the same shape.
    share : float
        Above 0 and at most 1.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        If the share is out of range or the shapes differ.

    Examples
    --------
    >>> activations = torch.tensor([[[0.1, 0.9], [0.8, 0.2]]])
    >>> dissect(activations, torch.tensor([[[False, True], [False, True]]]), share=0.5)
    0.3333333333333333
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: must be above 0 and at most 1.")
    if activations.shape != masks.shape:
        raise ValueError(f"activations {tuple(activations.shape)} and masks {tuple(masks.shape)} must agree in shape.")
    count = max(1, round(share * activations.numel()))
    threshold = activations.flatten().topk(count).values[-1]
    on = activations >= threshold
    both, either = int((on & masks).sum()), int((on | masks).sum())
    return both / either
