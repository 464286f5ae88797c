"""Deep compression: few shared values, trained together, their indices in Huffman's code, and all of it in one file.

Notation of the unit: n weights share q centroids; an index takes log₂ q bits, a weight b = 32. Pruned weights are
zeros that belong to no centroid; their index is −1.
"""

import copy
import heapq
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact


def codebook(values: Tensor, centroids: int, start: str = "linear", seed: int = 0, rounds: int = 50) -> Tensor:
    """Centroids that a set of weights can share: Lloyd's algorithm from one of three starts.

    A round gives each value to its nearest centroid, and then moves each centroid to the mean of its members. Both
    steps lower Σ (value − centroid)² or leave it (Lloyd 1957, published 1982). The starts are those of Deep
    Compression (Han, Mao and Dally 2016, section 3.2).

    Parameters
    ----------
    values : Tensor
        Shape ``(n,)``, float32 or float64, in any order; left as they are.
    centroids : int
        How many, q: 1 to n.
    start : {"linear", "density", "random"}
        ``"linear"``: equal steps from the least value to the largest, both included; the least alone for q = 1.
        ``"density"``: at the (i + ½)/q quantiles for i = 0 … q − 1, so that each has about as many values around it.
        ``"random"``: q different elements of ``values``, drawn by chance (Forgy).
    seed : int
        Of the random start: the same seed draws the same elements.
    rounds : int
        Most rounds; 0 gives the start itself. It may end as soon as a round changes nothing.

    Returns
    -------
    Tensor
        Shape ``(q,)``, ascending, in the dtype of ``values``. A centroid that has no members stays where it is.

    Raises
    ------
    ValueError
        If there are fewer than 1 or more than n centroids, or the start is none of the three.

    Examples
    --------
    >>> weights = torch.tensor([0.0, 1.0, 2.0, 9.0, 10.0])
    >>> codebook(weights, 2, rounds=0), codebook(weights, 2)
    (tensor([ 0., 10.]), tensor([1.0000, 9.5000]))
    """
    if not 1 <= centroids <= len(values):
        raise ValueError(f"centroids={centroids}: {len(values)} values can share 1 to {len(values)} centroids.")
    numbers = values.double()
    if start == "linear":
        found = torch.linspace(float(numbers.min()), float(numbers.max()), centroids, dtype=torch.float64)
    elif start == "density":
        found = numbers.quantile((torch.arange(centroids, dtype=torch.float64) + 0.5) / centroids)
    elif start == "random":
        drawn = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))[:centroids]
        found = numbers[drawn].sort().values
    else:
        raise ValueError(f"start={start!r}: choose linear, density or random.")
    for _ in range(rounds):
        members = torch.bucketize(numbers, (found[1:] + found[:-1]) / 2)  # borders lie half way between neighbours
        sizes = members.bincount(minlength=centroids)
        sums = torch.zeros_like(found).index_add_(0, members, numbers)
        moved = torch.where(sizes > 0, sums / sizes.clamp(min=1), found)
        if torch.equal(moved, found):
            break
        found = moved
    return found.to(values.dtype)


def share(weight: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Point each weight at its nearest centroid; zeros are pruned weights, and stay zero.

    Parameters
    ----------
    weight : Tensor
        Any shape, float32 or float64; left as it is.
    centroids : Tensor
        Shape ``(q,)``, at least one, in any order: training moves them.

    Returns
    -------
    indices : Tensor
        int64, the shape of ``weight``: from 0 to q − 1, and −1 where the weight is zero. In a tie either will do.
    shared : Tensor
        The weights that the network now has, in shape and dtype of ``weight``: ``centroids[indices]``, and 0 where
        the index is −1.

    Examples
    --------
    >>> indices, shared = share(torch.tensor([[0.9, 0.0], [-2.0, 0.2]]), torch.tensor([1.0, -1.0, 0.25]))
    >>> indices.tolist(), shared.tolist()
    ([[0, -1], [1, 2]], [[1.0, 0.0], [-1.0, 0.25]])
    """
    nearest = torch.zeros(weight.shape, dtype=torch.int64)
    best = (weight - centroids[0]).abs()
    for number, centroid in enumerate(centroids[1:], start=1):  # a row at a time: n·q differences may not fit
        distance = (weight - centroid).abs()
        nearest[distance < best] = number
        best = torch.minimum(best, distance)
    indices = torch.where(weight == 0, -1, nearest)
    return indices, torch.where(indices < 0, 0.0, centroids[nearest]).to(weight.dtype)


def centroid_gradient(gradient: Tensor, indices: Tensor, centroids: int) -> Tensor:
    """Gradient of the loss for each centroid, from the gradient for each weight.

    A centroid stands in for all of its members, so a small step of it moves all of them: by the chain rule
    ∂L/∂c_j = Σ_i ∂L/∂w_i · 1(index_i = j) (Han, Mao and Dally 2016, section 3.3). Pruned weights stay zero whatever
    their gradient.

    Parameters
    ----------
    gradient : Tensor
        ∂L/∂w, any shape.
    indices : Tensor
        int64, the same shape: the centroid of each weight, −1 for a pruned one.
    centroids : int
        How many there are, q, at least 1; some may have no members.

    Returns
    -------
    Tensor
        Shape ``(q,)``, in the dtype of ``gradient``.

    Examples
    --------
    >>> centroid_gradient(torch.tensor([0.5, -1.0, 2.0, 4.0]), torch.tensor([1, 0, 1, -1]), 3)
    tensor([-1.0000,  2.5000,  0.0000])
    """
    kept = indices >= 0
    return gradient.new_zeros(centroids).index_add_(0, indices[kept], gradient[kept])


def huffman_code(counts: dict[int, int]) -> dict[int, str]:
    """The best code that gives each symbol a whole number of bits, and of all such codes the canonical one.

    Huffman (1952): take the two lightest trees, make them one, and go on until one is left; a symbol's word has as
    many bits as the tree has levels above it. Canonical (Schwartz and Kallick 1964): in the order of their lengths,
    and of the symbols where lengths are equal, the words are consecutive binary numbers, with zeros appended where
    the length grows. So whoever knows the lengths knows the code, and a file needs to hold no more.

    Parameters
    ----------
    counts : dict of int to int
        How often each symbol occurs; 0 for one that doesn't.

    Returns
    -------
    dict of int to str
        Code words of ``"0"`` and ``"1"`` for the symbols that occur, and no others. None is the beginning of another,
        Σ 2^−length = 1, and Σ count · length is as small as it can be. Where only one symbol occurs its word is
        empty: there is nothing to tell apart.

    Raises
    ------
    ValueError
        If no symbol occurs, or a count is negative.

    Examples
    --------
    >>> huffman_code({7: 1, 3: 5, 4: 0, 5: 2, 9: 1})
    {3: '0', 5: '10', 7: '110', 9: '111'}
    >>> huffman_code({2: 8})
    {2: ''}
    """
    if min(counts.values(), default=0) < 0 or max(counts.values(), default=0) == 0:
        raise ValueError(f"counts={counts}: none may be negative, and one must be above 0.")
    lengths = {symbol: 0 for symbol, count in counts.items() if count}
    trees = [(counts[symbol], number, [symbol]) for number, symbol in enumerate(lengths)]  # numbers decide ties
    heapq.heapify(trees)
    while len(trees) > 1:
        (first, number, left), (second, _, right) = heapq.heappop(trees), heapq.heappop(trees)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(trees, (first + second, number, left + right))
    code: dict[int, str] = {}
    word = before = 0
    for symbol in sorted(lengths, key=lambda symbol: (lengths[symbol], symbol)):
        word <<= lengths[symbol] - before
        code[symbol] = format(word, f"0{lengths[symbol]}b") if lengths[symbol] else ""
        word, before = word + 1, lengths[symbol]
    return code


def huffman_decode(bits: str, code: dict[int, str], count: int) -> list[int]:
    """Read symbols back from a string of code words.

    Parameters
    ----------
    bits : str
        ``"0"`` and ``"1"``: the words one after the other, and up to seven bits more, since a file holds whole bytes.
    code : dict of int to str
        A word for each symbol, none the beginning of another; a single symbol may have the empty word. The code need
        be neither canonical nor complete.
    count : int
        How many symbols to read, at least 0. Without it nobody could tell the last bits of a file from more symbols.

    Returns
    -------
    list of int
        The symbols, ``count`` of them.

    Raises
    ------
    ValueError
        If the bits end too early, begin no word anywhere, or go on for more than seven bits after the last word.

    Examples
    --------
    >>> huffman_decode("1100100000", {3: "0", 5: "10", 7: "110", 9: "111"}, 4)
    [7, 3, 5, 3]
    """
    symbol_of = {word: symbol for symbol, word in code.items()}
    longest = max(map(len, symbol_of), default=0)
    symbols: list[int] = []
    place = 0
    for _ in range(count):
        lengths = range(longest + 1)
        length = next((n for n in lengths if place + n <= len(bits) and bits[place : place + n] in symbol_of), None)
        if length is None:
            raise ValueError(f"No code word begins at bit {place} of {len(bits)}.")
        symbols.append(symbol_of[bits[place : place + length]])
        place += length
    if len(bits) - place > 7:
        raise ValueError(f"{len(bits) - place} bits follow the last word: more than fill a byte.")
    return symbols


def pipeline(
    network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], shares: Sequence[float], centroids: int,
    input_shape: tuple[int, ...] = (1, 28, 28), learning_rate: float = 1e-3,
) -> bytes:  # fmt: skip
    """Deep Compression, from a trained network to the bytes of a ``.nut`` file.

    Three stages, after Han, Mao and Dally (2016):

    1. *Prune.* For each of ``shares`` in turn keep that share of all weights, those with the largest magnitudes in the
       whole network, and train the network for one pass over the batches while the others stay zero.
    2. *Share.* Give each layer's weights that aren't zero their own codebook, and train the centroids for one pass:
       what is pruned stays zero, and what shares a centroid goes on sharing it.
    3. *Encode.* Write positions and indices in Huffman's code: ``artefact.Sparse`` with ``artefact.Codebook``.

    Weights are the parameters with two axes or more; biases are trained in the first stage, and neither pruned nor
    shared. Both stages train with Adam.

    Parameters
    ----------
    network : torch.nn.Module
        Maps images to logits; left as it is.
    batches : sequence of (Tensor, Tensor)
        Images ``(N, …)`` as the network takes them, and labels ``(N,)`` for the cross-entropy. Without any, nothing
        is trained: the network is only pruned, shared and encoded.
    shares : sequence of float
        Of the weights, each above 0 and at most 1, none larger than the one before. Without any, stage 1 is left out.
    centroids : int
        Most values that the weights of a layer share, zero not counted.
    input_shape : tuple of int
        Shape of one image, for the file.
    learning_rate : float
        Of both trainings.

    Returns
    -------
    bytes
        What :func:`nutshell.artefact.to_bytes` makes of the small network.

    Examples
    --------
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 10))
    >>> data = pipeline(network, [], shares=[0.2], centroids=4)
    >>> 4 * 23_860 / len(data) > 20  # times smaller, and useless: nothing was trained
    True
    >>> small = artefact.read(data).network
    >>> max(len(parameter.unique()) for parameter in small.parameters() if parameter.ndim > 1)  # four and zero
    5
    """
    small = copy.deepcopy(network)
    weights = {name: parameter for name, parameter in small.named_parameters() if parameter.ndim > 1}

    def hold(masks: Sequence[Tensor]) -> None:
        for weight, mask in zip(weights.values(), masks, strict=True):
            weight.data.mul_(mask.view_as(weight))

    optimiser = torch.optim.Adam(small.parameters(), lr=learning_rate)
    for left in shares:
        magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
        mask = torch.zeros_like(magnitudes)
        mask[magnitudes.topk(max(1, round(left * len(mask)))).indices] = 1
        masks = mask.split([weight.numel() for weight in weights.values()])
        hold(masks)
        for images, labels in batches:
            optimiser.zero_grad()
            functional.cross_entropy(small(images), labels).backward()
            optimiser.step()
            hold(masks)  # Adam's momentum moves pruned weights too

    books, indices = {}, {}
    for name, weight in weights.items():
        kept = weight.detach() != 0
        values = weight.detach()[kept]
        if not len(values):
            continue
        book = torch.linspace(float(values.min()), float(values.max()), min(centroids, len(values)))
        for _ in range(50):
            members = torch.bucketize(values, (book[1:] + book[:-1]) / 2)
            sizes = members.bincount(minlength=len(book))
            sums = torch.zeros_like(book).index_add_(0, members, values)
            book = torch.where(sizes > 0, sums / sizes.clamp(min=1), book)
        books[name] = book
        indices[name] = torch.full(weight.shape, -1).masked_scatter(kept, members)

    def point() -> None:
        for name, book in books.items():
            weights[name].data = torch.where(indices[name] < 0, 0.0, book[indices[name]])

    point()
    optimiser = torch.optim.Adam(list(books.values()), lr=learning_rate)
    for images, labels in batches:
        loss = functional.cross_entropy(small(images), labels)
        gradients = torch.autograd.grad(loss, [weights[name] for name in books])
        for (name, book), gradient in zip(books.items(), gradients, strict=True):
            kept = indices[name] >= 0
            book.grad = torch.zeros_like(book).index_add_(0, indices[name][kept], gradient[kept])
        optimiser.step()
        point()

    indexed = artefact.Codebook(coder="huffman")
    encodings = {name: artefact.Sparse(indexed, coder="huffman") for name in weights}
    return artefact.to_bytes(small, input_shape=input_shape, encodings=encodings)


def sharing_rate(numbers: int, centroids: int, bits: int = 32) -> float:
    """How many times fewer bits a layer takes when its weights share a few values.

    Instead of n numbers of b bits there are n indices, of as many whole bits as q different ones need, and q numbers
    of b bits: the codebook (Han, Mao and Dally 2016, section 3, equation 1).

    Parameters
    ----------
    numbers : int
        n, how many weights there are, at least 1.
    centroids : int
        q, how many values they share, at least 1.
    bits : int
        b, of a number.

    Returns
    -------
    float
        Bits before over bits after; above 1 means smaller.

    Raises
    ------
    ValueError
        If there are fewer than 1 number or 1 centroid.

    Examples
    --------
    Sixteen weights and four centroids, the example of the paper's figure 3: 512 bits become 160.

    >>> sharing_rate(16, 4)
    3.2
    """
    if numbers < 1 or centroids < 1:
        raise ValueError(f"numbers={numbers}, centroids={centroids}: both must be at least 1.")
    index_bits = (centroids - 1).bit_length()
    return numbers * bits / (numbers * index_bits + centroids * bits)


def optimal_codebook(values: Tensor, centroids: int) -> Tensor:
    """The best centroids that there are, which Lloyd's algorithm may miss: exact, by dynamic programming.

    In one dimension the members of a centroid are neighbours in the sorted values. So the best way to share the first
    j values among m centroids is, for some i, the best way to share the first i among m − 1, and one centroid for
    the values i … j − 1 (Bellman 1973; Wang and Song 2011).

    Parameters
    ----------
    values : Tensor
        Shape ``(n,)``, float32 or float64, in any order; left as they are.
    centroids : int
        How many, q: 1 to n.

    Returns
    -------
    Tensor
        Shape ``(q,)``, ascending, in the dtype of ``values``: Σ (value − nearest centroid)² is the smallest possible.

    Raises
    ------
    ValueError
        If there are fewer than 1 or more than n centroids.

    Examples
    --------
    >>> optimal_codebook(torch.tensor([9.0, 0.0, 10.0, 1.0, 2.0]), 2)
    tensor([1.0000, 9.5000])
    """
    if not 1 <= centroids <= len(values):
        raise ValueError(f"centroids={centroids}: {len(values)} values can share 1 to {len(values)} centroids.")
    numbers = values.double().sort().values
    middle = numbers.mean()  # sums of squares lose digits far from zero
    sums, squares = (functional.pad((numbers - middle).pow(power).cumsum(0), (1, 0)) for power in (1, 2))
    places = torch.arange(len(numbers) + 1)
    sizes = places - places[:, None]  # row i, column j: the values i … j − 1
    spread = (squares - squares[:, None]) - (sums - sums[:, None]) ** 2 / sizes.clamp(min=1)
    spread = torch.where(sizes > 0, spread, torch.inf)

    best, began = spread[0], []
    for _ in range(centroids - 1):
        best, first = (best[:, None] + spread).min(0)
        began.append(first)
    found, end = [], len(numbers)
    for first in [*reversed(began), places * 0]:
        start = int(first[end])
        found.append(numbers[start:end].mean())
        end = start
    return torch.stack(found[::-1]).to(values.dtype)
