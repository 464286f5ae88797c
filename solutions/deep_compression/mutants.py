"""Unit 07, deep compression: wrong answers that some check must reject, and right ones that all checks must accept."""

import copy
import heapq
import math
from collections import deque

import numpy as np
import torch
from torch.nn import functional

from nutshell import artefact
from nutshell.checks import alternative, mutant

# codebook ------------------------------------------------------------------------------------------------------------


def _start(values, centroids, start, seed):
    if centroids < 1 or centroids > len(values):
        raise ValueError(f"{centroids} centroids")
    if start == "linear":
        return torch.linspace(float(values.min()), float(values.max()), centroids, dtype=values.dtype)
    if start == "density":
        return torch.quantile(values, (torch.arange(centroids, dtype=values.dtype) + 0.5) / centroids)
    if start == "random":
        generator = torch.Generator().manual_seed(seed)
        return values[torch.randperm(len(values), generator=generator)[:centroids]].sort().values
    raise ValueError(f"start {start}")


def _means(values, found, members):
    return torch.stack([values[members == j].mean() if (members == j).any() else c for j, c in enumerate(found)])


@mutant("codebook")
def codebook_without_rounds(values, centroids, start="linear", seed=0, rounds=50):
    """The start, never moved"""
    return _start(values, centroids, start, seed)


@mutant("codebook")
def codebook_of_nans(values, centroids, start="linear", seed=0, rounds=50):
    """The mean of no members is not a number"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        members = (values[:, None] - found).abs().argmin(1)
        found = torch.stack([values[members == j].mean() for j in range(centroids)])
    return found


@mutant("codebook")
def codebook_drops_lonely_centroids(values, centroids, start="linear", seed=0, rounds=50):
    """Centroids without members disappear"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        members = (values[:, None] - found).abs().argmin(1)
        found = torch.stack([values[members == j].mean() for j in range(len(found)) if (members == j).any()])
    return found


@mutant("codebook")
def codebook_of_zeros_for_lonely(values, centroids, start="linear", seed=0, rounds=50):
    """A sum over no members divided by at least 1: lonely centroids jump to zero"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        members = (values[:, None] - found).abs().argmin(1)
        sums = torch.zeros_like(found).index_add_(0, members, values)
        found = (sums / members.bincount(minlength=centroids).clamp(min=1)).sort().values
    return found


@mutant("codebook")
def codebook_by_medians(values, centroids, start="linear", seed=0, rounds=50):
    """Medians of the members, which lower the sum of distances, not of squares"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        members = (values[:, None] - found).abs().argmin(1)
        found = torch.stack([values[members == j].quantile(0.5) if (members == j).any() else c
                             for j, c in enumerate(found)])
    return found


@mutant("codebook")
def codebook_in_middles_of_bins(values, centroids, start="linear", seed=0, rounds=50):
    """Linear start in the middles of equal parts, so that it never reaches the largest weights"""
    found = _start(values, centroids, start, seed)
    if start == "linear":
        step = (values.max() - values.min()) / centroids
        found = values.min() + step * (torch.arange(centroids, dtype=values.dtype) + 0.5)
    for _ in range(rounds):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@mutant("codebook")
def codebook_random_between(values, centroids, start="linear", seed=0, rounds=50):
    """Random start anywhere between least and largest value, and unsorted"""
    found = _start(values, centroids, start, seed)
    if start == "random":
        drawn = torch.rand(centroids, generator=torch.Generator().manual_seed(seed), dtype=values.dtype)
        found = values.min() + (values.max() - values.min()) * drawn
    for _ in range(rounds):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@mutant("codebook")
def codebook_density_of_ends(values, centroids, start="linear", seed=0, rounds=50):
    """Quantiles from 0 to 1, ends included"""
    found = _start(values, centroids, start, seed)
    if start == "density":
        found = torch.quantile(values, torch.linspace(0, 1, centroids, dtype=values.dtype))
    for _ in range(rounds):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@mutant("codebook")
def codebook_ignores_seed(values, centroids, start="linear", seed=0, rounds=50):
    """Draws from the global generator, so that nobody gets the same codebook twice"""
    found = _start(values, centroids, start, seed)
    if start == "random":
        found = values[torch.randperm(len(values))[:centroids]].sort().values
    for _ in range(rounds):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@mutant("codebook")
def codebook_of_different_values(values, centroids, start="linear", seed=0, rounds=50):
    """Values that repeat count once"""
    found, once = _start(values, centroids, start, seed), values.unique()
    for _ in range(rounds):
        found = _means(once, found, (once[:, None] - found).abs().argmin(1))
    return found


@mutant("codebook")
def codebook_one_after_the_other(values, centroids, start="linear", seed=0, rounds=50):
    """Each centroid moves as soon as its members are known, and the next one's are sought after that"""
    found = _start(values, centroids, start, seed).clone()
    for _ in range(rounds):
        for j in range(centroids):
            members = (values[:, None] - found).abs().argmin(1)
            found[j] = values[members == j].mean() if (members == j).any() else found[j]
    return found


@mutant("codebook")
def codebook_fills_lonely_centroids(values, centroids, start="linear", seed=0, rounds=50):
    """A centroid without members jumps to the value that is worst off"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        members = (values[:, None] - found).abs().argmin(1)
        worst = values[(values - found[members]).abs().argmax()]
        found = torch.stack([values[members == j].mean() if (members == j).any() else worst for j in range(centroids)])
        found = found.sort().values
    return found


@alternative("codebook")
def codebook_by_table_of_distances(values, centroids, start="linear", seed=0, rounds=50):
    """All distances in a table, and a loop over the centroids"""
    found = _start(values, centroids, start, seed)
    for _ in range(rounds):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@alternative("codebook")
def codebook_with_numpy(values, centroids, start="linear", seed=0, rounds=50):
    """NumPy, borders by searchsorted, and NumPy's generator and quantiles"""
    numbers = np.sort(values.numpy().astype(np.float64))
    if not 0 < centroids <= len(numbers):
        raise ValueError("centroids")
    if start == "linear":
        found = np.linspace(numbers[0], numbers[-1], centroids)
    elif start == "density":
        found = np.quantile(numbers, (np.arange(centroids) + 0.5) / centroids, method="nearest")
    elif start == "random":
        found = np.sort(np.random.default_rng(seed).choice(numbers, centroids, replace=False))
    else:
        raise ValueError("start")
    for _ in range(rounds):
        ends = np.searchsorted(numbers, (found[1:] + found[:-1]) / 2)
        parts = np.split(numbers, ends)
        found = np.array([part.mean() if part.size else c for part, c in zip(parts, found, strict=True)])
    return torch.from_numpy(found).to(values.dtype)


# share ---------------------------------------------------------------------------------------------------------------


@mutant("share")
def share_gives_zeros_a_centroid(weight, centroids):
    """Pruned weights point at the centroid nearest to zero"""
    indices = (weight[..., None] - centroids).abs().argmin(-1)
    return indices, centroids[indices]


@mutant("share")
def share_trusts_the_order(weight, centroids):
    """Borders half way between neighbours, which needs ascending centroids"""
    indices = torch.bucketize(weight, (centroids[1:] + centroids[:-1]) / 2)
    indices = torch.where(weight == 0, -1, indices)
    return indices, torch.where(indices < 0, 0, centroids[indices])


@mutant("share")
def share_wraps_around(weight, centroids):
    """The index −1 counts from the end: pruned weights get the last centroid"""
    indices = torch.where(weight == 0, -1, (weight[..., None] - centroids).abs().argmin(-1))
    return indices, centroids[indices]


@mutant("share")
def share_prunes_the_zero_centroid(weight, centroids):
    """Whatever is shared at zero is called pruned"""
    indices = (weight[..., None] - centroids).abs().argmin(-1)
    shared = torch.where(weight == 0, 0, centroids[indices])
    return torch.where(shared == 0, -1, indices), shared


@mutant("share")
def share_flattens(weight, centroids):
    """The indices lose the shape"""
    flat = weight.flatten()
    indices = torch.where(flat == 0, -1, (flat[:, None] - centroids).abs().argmin(1))
    return indices, torch.where(indices < 0, 0, centroids[indices]).view_as(weight)


@mutant("share")
def share_prunes_small_weights(weight, centroids):
    """Whatever is nearly zero is called pruned"""
    indices = (weight[..., None] - centroids).abs().argmin(-1)
    small = weight.abs() < 1e-3
    return torch.where(small, -1, indices), torch.where(small, 0, centroids[indices])


@mutant("share")
def share_compares_sizes(weight, centroids):
    """The nearest in size, whatever the sign"""
    indices = (weight.abs()[..., None] - centroids.abs()).abs().argmin(-1)
    return torch.where(weight == 0, -1, indices), torch.where(weight == 0, 0, centroids[indices])


@alternative("share")
def share_by_table(weight, centroids):
    """All distances at once, and a mask for what was pruned"""
    indices = (weight.unsqueeze(-1) - centroids).abs().argmin(dim=-1)
    shared = centroids[indices] * (weight != 0)
    indices[weight == 0] = -1
    return indices, shared


@alternative("share")
def share_after_sorting(weight, centroids):
    """Sorts the centroids, cuts half way between them, and looks up which was which"""
    order = centroids.argsort()
    ascending = centroids[order]
    places = torch.bucketize(weight, (ascending[1:] + ascending[:-1]) / 2, right=True)
    indices = order[places].masked_fill(weight == 0, -1)
    return [indices, torch.cat([centroids, centroids.new_zeros(1)])[indices]]


# centroid_gradient ---------------------------------------------------------------------------------------------------


@mutant("centroid_gradient")
def gradient_of_means(gradient, indices, centroids):
    """The mean over the members"""
    kept = indices >= 0
    sums = gradient.new_zeros(centroids).index_add_(0, indices[kept], gradient[kept])
    return sums / indices[kept].bincount(minlength=centroids).clamp(min=1)


@mutant("centroid_gradient")
def gradient_counts_pruned(gradient, indices, centroids):
    """Pruned weights count for the last centroid"""
    found = gradient.new_zeros(centroids)
    for index, number in zip(indices.flatten().tolist(), gradient.flatten(), strict=True):
        found[index] += number
    return found


@mutant("centroid_gradient")
def gradient_overwrites(gradient, indices, centroids):
    """An indexed += adds only once for each index"""
    kept = indices >= 0
    found = gradient.new_zeros(centroids)
    found[indices[kept]] += gradient[kept]
    return found


@mutant("centroid_gradient")
def gradient_too_short(gradient, indices, centroids):
    """As many as the largest index asks for"""
    kept = indices >= 0
    return torch.bincount(indices[kept], gradient[kept])


@mutant("centroid_gradient")
def gradient_of_the_nearest(gradient, indices, centroids):
    """The gradient of one member for all"""
    first = [(indices.flatten() == j).nonzero().flatten()[:1] for j in range(centroids)]
    return torch.stack([gradient.flatten()[place].sum() for place in first])


@mutant("centroid_gradient")
def gradient_leaves_out_the_first(gradient, indices, centroids):
    """Takes 0 for the index of pruned weights"""
    kept = indices > 0
    return gradient.new_zeros(centroids).index_add_(0, indices[kept], gradient[kept])


@mutant("centroid_gradient")
def gradient_clamps(gradient, indices, centroids):
    """Pruned weights count for the first centroid"""
    return gradient.new_zeros(centroids).index_add_(0, indices.clamp(min=0).flatten(), gradient.flatten())


@alternative("centroid_gradient")
def gradient_by_one_hot(gradient, indices, centroids):
    """A product with a matrix of ones and zeros"""
    members = indices.flatten() == torch.arange(centroids)[:, None]
    return members.to(gradient.dtype) @ gradient.flatten()


@alternative("centroid_gradient")
def gradient_by_one_place_more(gradient, indices, centroids):
    """An additional place for what is pruned, cut off at the end"""
    places = torch.where(indices < 0, centroids, indices).flatten()
    return torch.zeros(centroids + 1, dtype=gradient.dtype).scatter_add(0, places, gradient.flatten())[:-1]


@alternative("centroid_gradient")
def gradient_by_autograd(gradient, indices, centroids):
    """Lets autograd do the chain rule, through a look-up with a zero at the end"""
    book = torch.zeros(centroids, dtype=gradient.dtype, requires_grad=True)
    weights = torch.cat([book, torch.zeros(1, dtype=gradient.dtype)])[indices]
    return torch.autograd.grad(weights, book, gradient)[0]


# huffman_code --------------------------------------------------------------------------------------------------------


def _canonical(lengths):
    code, word, before = {}, 0, 0
    for symbol in sorted(lengths, key=lambda symbol: (lengths[symbol], symbol)):
        word <<= lengths[symbol] - before
        before = lengths[symbol]
        code[symbol] = format(word, "b").zfill(before) if before else ""
        word += 1
    return code


def _present(counts):
    if any(count < 0 for count in counts.values()) or not any(counts.values()):
        raise ValueError(f"counts {counts}")
    return {symbol: count for symbol, count in counts.items() if count > 0}


def _tree_lengths(counts):
    trees = [(count, symbol, {symbol: 0}) for symbol, count in counts.items()]
    heapq.heapify(trees)
    while len(trees) > 1:
        (a, symbol, left), (b, _, right) = heapq.heappop(trees), heapq.heappop(trees)
        heapq.heappush(trees, (a + b, symbol, {s: depth + 1 for s, depth in (left | right).items()}))
    return trees[0][2]


@mutant("huffman_code")
def code_of_equal_lengths(counts):
    """As many bits for each symbol as it takes to number them"""
    present = _present(counts)
    bits = (len(present) - 1).bit_length()
    return {symbol: format(number, f"0{bits}b") if bits else "" for number, symbol in enumerate(sorted(present))}


@mutant("huffman_code")
def code_of_shannon(counts):
    """⌈−log₂ share⌉ bits for each symbol: a prefix code with gaps"""
    present = _present(counts)
    total = sum(present.values())
    return _canonical({symbol: math.ceil(-math.log2(count / total)) for symbol, count in present.items()})


@mutant("huffman_code")
def code_by_halving(counts):
    """Shannon and Fano: halve the sorted symbols again and again, from the top down"""
    present = _present(counts)
    lengths = dict.fromkeys(present, 0)

    def halve(symbols):
        if len(symbols) < 2:
            return
        totals = np.cumsum([float(present[symbol]) for symbol in symbols])
        cut = int(np.abs(totals[:-1] - totals[-1] / 2).argmin()) + 1
        for symbol in symbols:
            lengths[symbol] += 1
        halve(symbols[:cut])
        halve(symbols[cut:])

    halve(sorted(present, key=lambda symbol: -present[symbol]))
    return _canonical(lengths)


@mutant("huffman_code")
def code_of_a_chain(counts):
    """One bit for the most frequent, two for the next, and so on: the merged tree is never compared with the others"""
    present = _present(counts)
    order = sorted(present, key=lambda symbol: -present[symbol])
    return _canonical({symbol: min(place + 1, len(order) - 1) for place, symbol in enumerate(order)})


@mutant("huffman_code")
def code_with_words_for_nobody(counts):
    """Symbols that don't occur get words"""
    _present(counts)
    return _canonical(_tree_lengths(counts))


@mutant("huffman_code")
def code_straight_from_the_tree(counts):
    """Words as the tree gives them, not canonical"""
    trees = [(count, symbol, {symbol: ""}) for symbol, count in _present(counts).items()]
    heapq.heapify(trees)
    while len(trees) > 1:
        (a, symbol, left), (b, _, right) = heapq.heappop(trees), heapq.heappop(trees)
        merged = {s: "1" + word for s, word in left.items()} | {s: "0" + word for s, word in right.items()}
        heapq.heappush(trees, (a + b, symbol, merged))
    return trees[0][2]


@mutant("huffman_code")
def code_canonical_by_count(counts):
    """Words in the order of the counts, which the reader of a file doesn't know"""
    present = _present(counts)
    lengths = _tree_lengths(present)
    words = sorted(_canonical(lengths).values(), key=len)
    order = sorted(lengths, key=lambda symbol: (lengths[symbol], -present[symbol], -symbol))
    return dict(zip(order, words, strict=True))


@mutant("huffman_code")
def code_canonical_by_text(counts):
    """Symbols are put in the order of their digits: 10 before 9"""
    lengths = _tree_lengths(_present(counts))
    words = sorted(_canonical(lengths).values(), key=len)
    return dict(zip(sorted(lengths, key=lambda symbol: (lengths[symbol], str(symbol))), words, strict=True))


@mutant("huffman_code")
def code_of_one_bit_at_least(counts):
    """A single symbol gets a bit"""
    lengths = _tree_lengths(_present(counts))
    return _canonical({symbol: max(1, length) for symbol, length in lengths.items()})


@mutant("huffman_code")
def code_with_floats(counts):
    """Shares as floats: the smallest of large counts are lost"""
    present = _present(counts)
    total = sum(present.values())
    shares = {symbol: round(count / total, 3) for symbol, count in present.items()}
    return _canonical(_tree_lengths(shares))


@alternative("huffman_code")
def code_by_two_queues(counts):
    """Leaves in ascending order and merged trees in a queue of their own; nested pairs, walked at the end"""
    leaves = deque(sorted((count, symbol) for symbol, count in _present(counts).items()))
    merged = deque()

    def lightest():
        if not merged or (leaves and leaves[0][0] < merged[0][0]):
            return leaves.popleft()
        return merged.popleft()

    while len(leaves) + len(merged) > 1:
        left, right = lightest(), lightest()
        merged.append((left[0] + right[0], (left, right)))
    lengths, pending = {}, [((merged or leaves)[0], 0)]
    while pending:
        (_, inside), depth = pending.pop()
        if isinstance(inside, tuple):
            pending += [(child, depth + 1) for child in inside]
        else:
            lengths[inside] = depth
    return _canonical(lengths)


@alternative("huffman_code")
def code_by_sorting_again(counts):
    """A list that is sorted after each step, ties decided the other way"""
    if not counts or min(counts.values()) < 0 or max(counts.values()) == 0:
        raise ValueError("counts")
    trees = [(count, [symbol]) for symbol, count in counts.items() if count]
    lengths = {symbol: 0 for _, symbols in trees for symbol in symbols}
    while len(trees) > 1:
        trees.sort(key=lambda tree: (tree[0], -len(tree[1]), -tree[1][0]))
        symbols = trees[0][1] + trees[1][1]
        for symbol in symbols:
            lengths[symbol] += 1
        trees[:2] = [(trees[0][0] + trees[1][0], symbols)]
    code, previous = {}, None
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        if previous is None:
            word = "0" * length
        else:
            word = format(int(previous, 2) + 1, "b").zfill(len(previous)).ljust(length, "0")
        code[symbol] = previous = word
    return code


# huffman_decode ------------------------------------------------------------------------------------------------------


@mutant("huffman_decode")
def decode_to_the_end(bits, code, count):
    """Reads on to the last bit: what fills the byte becomes symbols"""
    symbol_of = {word: symbol for symbol, word in code.items()}
    if symbol_of.keys() == {""}:
        return list(code) * count
    symbols, word = [], ""
    for bit in bits:
        word += bit
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
    if len(symbols) < count:
        raise ValueError("bits")
    return symbols


@mutant("huffman_decode")
def decode_in_silence(bits, code, count):
    """Stops where the bits stop, and says nothing"""
    symbol_of = {word: symbol for symbol, word in code.items()}
    if symbol_of.keys() == {""}:
        return list(code) * count
    symbols, word = [], ""
    for bit in bits:
        word += bit
        if word in symbol_of and len(symbols) < count:
            symbols.append(symbol_of[word])
            word = ""
    return symbols


@mutant("huffman_decode")
def decode_needs_a_bit(bits, code, count):
    """A symbol comes after a bit at least: the empty word is never read"""
    symbol_of = {word: symbol for symbol, word in code.items()}
    symbols, word, place = [], "", 0
    while len(symbols) < count:
        if place >= len(bits):
            raise ValueError("bits")
        word += bits[place]
        place += 1
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
    if len(bits) - place > 7:
        raise ValueError("bits")
    return symbols


@mutant("huffman_decode")
def decode_allows_anything_after(bits, code, count):
    """Whatever follows the last word is ignored"""
    return _walk(bits, code, count)[0]


@mutant("huffman_decode")
def decode_wants_zeros_after(bits, code, count):
    """What fills the last byte must be zeros"""
    symbols, rest = _walk(bits, code, count)
    if len(rest) > 7 or "1" in rest:
        raise ValueError("bits are left")
    return symbols


@mutant("huffman_decode")
def decode_allows_nothing_after(bits, code, count):
    """The bits must end with the last word, as if a file could hold part of a byte"""
    symbols, rest = _walk(bits, code, count)
    if rest:
        raise ValueError("bits are left")
    return symbols


@mutant("huffman_decode")
def decode_by_length(bits, code, count):
    """Words are tried in the order of the table, and cut off at the end of the bits"""
    symbols = []
    for _ in range(count):
        for symbol, word in code.items():
            if word.startswith(bits[: len(word)]):
                symbols.append(symbol)
                bits = bits[len(word) :]
                break
        else:
            raise ValueError("no word")
    if len(bits) > 7:
        raise ValueError("bits are left")
    return symbols


def _walk(bits, code, count):
    """Symbols and the bits that are left, by walking down a tree of dicts."""
    tree = {}
    for symbol, word in code.items():
        node = tree
        for bit in word:
            node = node.setdefault(bit, {})
        node["symbol"] = symbol
    symbols, place = [], 0
    for _ in range(count):
        node = tree
        while "symbol" not in node:
            if place >= len(bits) or bits[place] not in node:
                raise ValueError(f"bit {place}")
            node = node[bits[place]]
            place += 1
        symbols.append(node["symbol"])
    return symbols, bits[place:]


@alternative("huffman_decode")
def decode_by_tree(bits, code, count):
    """Walks down a tree, one bit at a time"""
    symbols, rest = _walk(bits, code, count)
    if len(rest) >= 8:
        raise ValueError("more than a byte is left")
    return symbols


@alternative("huffman_decode")
def decode_by_startswith(bits, code, count):
    """Asks for each word whether the rest begins with it"""
    rest, symbols = bits, []
    while len(symbols) < count:
        fitting = [symbol for symbol, word in code.items() if rest.startswith(word)]
        if len(fitting) != 1:
            raise ValueError("no word fits")
        symbols += fitting
        rest = rest[len(code[fitting[0]]) :]
    if len(rest) > 7:
        raise ValueError("too many bits")
    return tuple(symbols)


# pipeline ------------------------------------------------------------------------------------------------------------


def _book(values, centroids):
    found = np.linspace(float(values.min()), float(values.max()), min(centroids, len(values)))
    for _ in range(50):
        members = np.abs(values.numpy()[:, None] - found).argmin(1)
        found = np.array([values.numpy()[members == j].mean() if (members == j).any() else c
                          for j, c in enumerate(found)])
    return torch.tensor(found, dtype=torch.float32)


def _compress(network, batches, shares, centroids, input_shape, learning_rate, *, of="all", hold=True, train=True,
              train_books=True, one_book=False, wrap=False, encode="huffman"):
    small = copy.deepcopy(network)
    weights = [p for p in small.parameters() if p.ndim > 1]
    optimiser = torch.optim.Adam(small.parameters(), lr=learning_rate)
    for kept in shares:
        groups = [weights] if of == "all" else [[weight] for weight in weights]
        masks = {}
        for group in groups:
            sizes = torch.cat([weight.data.abs().flatten() for weight in group])
            least = sizes.sort(descending=True).values[max(1, round(kept * len(sizes))) - 1]
            masks |= {weight: weight.data.abs() >= least for weight in group}
        for weight in weights:
            weight.data *= masks[weight]
        for images, labels in batches if train else []:
            optimiser.zero_grad()
            functional.cross_entropy(small(images), labels).backward()
            optimiser.step()
            if hold:
                for weight in weights:
                    weight.data *= masks[weight]
    books, places = [], []
    everything = torch.cat([weight.data.flatten() for weight in weights])
    for weight in weights:
        values = everything if one_book else weight.data
        values = values[values != 0].flatten()
        books.append(_book(values, centroids) if len(values) else torch.zeros(1))
        nearest = (weight.data[..., None] - books[-1]).abs().argmin(-1)
        places.append(torch.where(weight.data == 0, -1, nearest))
    optimiser = torch.optim.Adam([book.requires_grad_() for book in books], lr=learning_rate)
    for batch in [None, *batches] if train_books else [None]:
        if batch is not None:
            small.zero_grad()
            functional.cross_entropy(small(batch[0]), batch[1]).backward()
            for book, weight, place in zip(books, weights, places, strict=True):
                kept = place >= 0
                book.grad = torch.zeros(len(book)).index_add_(0, place[kept], weight.grad[kept])
            optimiser.step()
        for book, weight, place in zip(books, weights, places, strict=True):
            weight.data = book.detach()[place] if wrap and batch is not None else torch.where(
                place < 0, 0.0, book.detach()[place])
    names = [name for name, p in small.named_parameters() if p.ndim > 1]
    if encode == "dense":
        return artefact.to_bytes(small, input_shape=input_shape)
    if encode == "zeros":
        book = artefact.Codebook(coder="huffman")
        return artefact.to_bytes(small, input_shape=input_shape, encodings=dict.fromkeys(names, book))
    coder = "fixed" if encode == "numbers" else encode
    sparse = artefact.Sparse(None if encode == "numbers" else artefact.Codebook(coder=coder), coder=coder)
    return artefact.to_bytes(small, input_shape=input_shape, encodings=dict.fromkeys(names, sparse))


@mutant("pipeline")
def pipeline_layer_by_layer(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Each layer loses the same share"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, of="each")


@mutant("pipeline")
def pipeline_at_once(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Prunes to the last share at once"""
    return _compress(network, batches, list(shares)[-1:], centroids, input_shape, learning_rate)


@mutant("pipeline")
def pipeline_stores_zeros(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """A codebook for everything, zeros included: no gaps"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, encode="zeros")


@mutant("pipeline")
def pipeline_lets_go(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Pruned weights are trained back to life"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, hold=False)


@mutant("pipeline")
def pipeline_never_retrains(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Prunes and shares, and trains nothing"""
    return _compress(network, [], shares, centroids, input_shape, learning_rate)


@mutant("pipeline")
def pipeline_leaves_centroids(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """The centroids are not trained"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, train_books=False)


@mutant("pipeline")
def pipeline_with_one_book(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """One codebook for all layers"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, one_book=True)


@mutant("pipeline")
def pipeline_wraps_around(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """While centroids are trained, pruned weights take the last one: an index of −1 counts from the end"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, wrap=True)


@mutant("pipeline")
def pipeline_stores_dense(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Everything is done, and the file holds 32 bits for every zero"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, encode="dense")


@mutant("pipeline")
def pipeline_stores_numbers(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Sparse, with 32 bits for each weight that is kept"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, encode="numbers")


@mutant("pipeline")
def pipeline_without_huffman(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Positions and indices in words of equal length"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, encode="fixed")


@mutant("pipeline")
def pipeline_trains_weights_after_sharing(network, batches, shares, centroids, input_shape=(1, 28, 28),
                                          learning_rate=1e-3):
    """Shares, then trains each weight on its own"""
    small = artefact.read(_compress(network, batches, shares, centroids, input_shape, learning_rate)).network
    optimiser = torch.optim.Adam(small.parameters(), lr=learning_rate)
    masks = {p: p.data != 0 for p in small.parameters() if p.ndim > 1}
    for images, labels in batches:
        optimiser.zero_grad()
        functional.cross_entropy(small(images), labels).backward()
        optimiser.step()
        for weight, mask in masks.items():
            weight.data *= mask
    names = [name for name, p in small.named_parameters() if p.ndim > 1]
    sparse = artefact.Sparse(artefact.Codebook(coder="huffman"), coder="huffman")
    return artefact.to_bytes(small, input_shape=input_shape, encodings=dict.fromkeys(names, sparse))


@alternative("pipeline")
def pipeline_by_one_function(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """A threshold for the masks, books of its own, and the shorter coder"""
    return _compress(network, batches, shares, centroids, input_shape, learning_rate, encode="ans")


@alternative("pipeline")
def pipeline_by_autograd(network, batches, shares, centroids, input_shape=(1, 28, 28), learning_rate=1e-3):
    """Masked forward passes, gradients of the centroids by autograd, scikit-learn's clusters"""
    from sklearn.cluster import KMeans

    small = copy.deepcopy(network)
    names = [name for name, p in small.named_parameters() if p.ndim > 1]
    state = {name: p.detach().clone().requires_grad_() for name, p in small.named_parameters()}
    masks = {name: torch.ones_like(state[name]) for name in names}
    optimiser = torch.optim.Adam(state.values(), lr=learning_rate)
    for kept in shares:
        flat = torch.cat([(state[name] * masks[name]).detach().abs().flatten() for name in names])
        order = flat.argsort(descending=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order))
        parts = ranks.split([masks[name].numel() for name in names])
        for name, part in zip(names, parts, strict=True):
            masks[name] = (part.view_as(state[name]) < round(kept * len(flat))).float()
        for images, labels in batches:
            optimiser.zero_grad()
            masked = {name: p * masks[name] if name in masks else p for name, p in state.items()}
            functional.cross_entropy(torch.func.functional_call(small, masked, (images,)), labels).backward()
            optimiser.step()
    books, places = {}, {}
    for name in names:
        kept = (state[name] * masks[name]).detach()
        values = kept[kept != 0].double().numpy()[:, None]
        if len(values):
            start = np.linspace(values.min(), values.max(), min(centroids, len(values)))[:, None]
            found = KMeans(len(start), init=start, n_init=1, max_iter=100).fit(values)
            books[name] = torch.tensor(found.cluster_centers_[:, 0], dtype=torch.float32, requires_grad=True)
            places[name] = torch.full(kept.shape, len(start))
            places[name][kept != 0] = torch.from_numpy(found.labels_).long()
    optimiser = torch.optim.Adam(books.values(), lr=learning_rate)

    def built():
        shared = {name: torch.cat([books[name], torch.zeros(1)])[places[name]] for name in books}
        return {name: p.detach() * 0 if name in masks else p.detach() for name, p in state.items()} | shared

    for images, labels in batches:
        optimiser.zero_grad()
        functional.cross_entropy(torch.func.functional_call(small, built(), (images,)), labels).backward()
        optimiser.step()
    small.load_state_dict({name: value.detach() for name, value in built().items()})
    coded = artefact.Sparse(artefact.Codebook(coder="huffman"), coder="huffman")
    return artefact.to_bytes(small, input_shape=input_shape, encodings={name: coded for name in names})


# Extensions ----------------------------------------------------------------------------------------------------------


@mutant("sharing_rate")
def rate_of_the_slide(numbers, centroids, bits=32):
    """b / log q as a slide has it: the natural logarithm, and no codebook"""
    if numbers < 1 or centroids < 1:
        raise ValueError("nothing")
    return bits / math.log(centroids) if centroids > 1 else math.inf


@mutant("sharing_rate")
def rate_without_codebook(numbers, centroids, bits=32):
    """The codebook takes nothing"""
    if numbers < 1 or centroids < 1:
        raise ValueError("nothing")
    return bits / max(1, math.ceil(math.log2(centroids)))


@mutant("sharing_rate")
def rate_of_broken_bits(numbers, centroids, bits=32):
    """Indices of log₂ q bits, whole or not"""
    if numbers < 1 or centroids < 1:
        raise ValueError("nothing")
    return numbers * bits / (numbers * math.log2(centroids) + centroids * bits)


@mutant("sharing_rate")
def rate_of_anything(numbers, centroids, bits=32):
    """No centroids are accepted"""
    return numbers * bits / (numbers * max(0, centroids - 1).bit_length() + max(1, centroids) * bits)


@alternative("sharing_rate")
def rate_by_counting(numbers, centroids, bits=32):
    """Doubles until there are enough different indices"""
    if min(numbers, centroids) <= 0:
        raise ValueError("nothing")
    index = 0
    while 2**index < centroids:
        index += 1
    return (numbers * bits) / (numbers * index + centroids * bits)


@mutant("optimal_codebook")
def optimum_of_lloyd(values, centroids):
    """Where Lloyd's rounds from equal steps end"""
    if not 1 <= centroids <= len(values):
        raise ValueError("centroids")
    found = torch.linspace(float(values.min()), float(values.max()), centroids, dtype=values.dtype)
    for _ in range(100):
        found = _means(values, found, (values[:, None] - found).abs().argmin(1))
    return found


@mutant("optimal_codebook")
def optimum_of_equal_parts(values, centroids):
    """Cuts the sorted values into parts of equal numbers"""
    if not 1 <= centroids <= len(values):
        raise ValueError("centroids")
    return torch.stack([part.mean() for part in torch.tensor_split(values.sort().values, centroids)])


@mutant("optimal_codebook")
def optimum_at_the_gaps(values, centroids):
    """Cuts at the widest gaps"""
    if not 1 <= centroids <= len(values):
        raise ValueError("centroids")
    ordered = values.sort().values
    cuts = ordered.diff().topk(centroids - 1).indices.sort().values + 1
    return torch.stack([part.mean() for part in torch.tensor_split(ordered, cuts)])


@alternative("optimal_codebook")
def optimum_by_memory(values, centroids):
    """NumPy, row by row of the table, and the cuts read back"""
    x = np.sort(values.numpy().astype(np.float64))
    n = len(x)
    if centroids < 1 or centroids > n:
        raise ValueError("centroids")
    middle = x.mean()
    s, t = np.append(0, np.cumsum(x - middle)), np.append(0, np.cumsum((x - middle) ** 2))
    cost = np.full((centroids + 1, n + 1), np.inf)
    cut = np.zeros((centroids + 1, n + 1), int)
    cost[0, 0] = 0
    for m in range(1, centroids + 1):
        for j in range(m, n + 1):
            i = np.arange(m - 1, j)
            each = cost[m - 1, i] + t[j] - t[i] - (s[j] - s[i]) ** 2 / (j - i)
            cut[m, j], cost[m, j] = i[each.argmin()], each.min()
    found, j = [], n
    for m in range(centroids, 0, -1):
        found.insert(0, x[cut[m, j] : j].mean())
        j = cut[m, j]
    return torch.tensor(found, dtype=values.dtype)
