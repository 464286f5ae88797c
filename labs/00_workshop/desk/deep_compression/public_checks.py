"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import itertools
import math
from fractions import Fraction
import numpy as np
import torch
from torch import Tensor
from nutshell import expect
from nutshell.checks import check


@check("share")
def each_weight_takes_its_nearest(learner, reference, rng):
    """Each weight points at its nearest centroid, in whatever order the centroids are"""
    for shape, centroids in (((12,), (-1.5, -0.5, 0.5, 1.5)), ((4, 5), (0.5, -1.0, 2.0)), ((3, 2, 2, 2), (0.1,))):
        _check_share(learner, torch.from_numpy(rng.standard_normal(shape)), torch.tensor(centroids).double())


@check("share")
def pruned_weights_stay_pruned(learner, reference, rng):
    """A weight that is zero has the index −1 and stays zero; no other weight has that index"""
    weight = torch.from_numpy(rng.standard_normal((5, 6)))
    weight[rng.random((5, 6)) < 0.5] = 0.0
    weight[0, :2] = torch.tensor([1e-4, -1e-6])  # small, and not pruned
    for centroids in ((-1.0, 1.0), (0.3, -2.0, 0.0)):
        _check_share(learner, weight, torch.tensor(centroids).double())


def _check_share(learner, weight: Tensor, centroids: Tensor) -> None:
    got = learner.share(weight, centroids)
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "indices and shared weights, a pair",
                expect.show(got), next_step="Return both: the indices first.")
    indices, shared = (_tensor(part) for part in got)
    for part, what in ((indices, "the indices"), (shared, "the shared weights")):
        expect.shape(part, tuple(weight.shape), what, cause="They have lost the shape of the weights.",
                     next_step="A result in another order of numbers is of no use to a layer: give it the shape again.")
    pruned = weight == 0
    wrong = int(((indices == -1) != pruned).sum())
    expect.that(wrong == 0, f"the index −1 at the {int(pruned.sum())} weights that are zero, and nowhere else",
                f"{wrong} of {weight.numel()} indices otherwise", cause=_cause_of_pruned(indices, pruned, shared),
                next_step="Share the weights 0, 0.1 and −2 among the centroids −1 and 0.2 by hand.")
    whole = bool((indices == indices.round()).all())
    expect.that(whole and int(indices.min()) >= -1 and int(indices.max()) < len(centroids),
                f"whole indices below {len(centroids)}", expect.show(indices),
                cause="" if whole or bool((shared != shared.round()).any()) else "The two come in the other order.",
                next_step="An index counts the centroids from 0.")
    numbers, book = weight.double(), centroids.double()
    chosen = book[indices.long().clamp(min=0)]
    distances = (numbers[..., None] - book).abs()
    far = int((~pruned & ((numbers - chosen).abs() > distances.min(-1).values + 1e-6)).sum())
    ascending = bool((book.diff() >= 0).all())
    expect.that(far == 0, "the nearest of the centroids for each weight", f"{far} of {weight.numel()} at another one",
                cause="" if ascending else "The centroids here are not in ascending order: is that taken for granted?",
                next_step=f"Compute all distances of one weight to the centroids {expect.show(centroids)}.")
    want = torch.where(pruned, 0.0, chosen)
    expect.close(shared, want, "the shared weights, given your indices", rtol=1e-5, atol=1e-7,
                 causes={"Pruned weights got the value of a centroid: an index of −1 counts from the end.":
                         book[indices.long()], "Those are the weights as they were.": numbers},
                 next_step="A shared weight is the centroid that its index names, and 0 at −1.")


def _cause_of_pruned(indices: Tensor, pruned: Tensor, shared: Tensor) -> str:
    if bool((shared == shared.round()).all()) and not bool((indices == indices.round()).all()):
        return "The two come in the other order."
    if bool((indices[pruned] >= 0).any()):
        return "Pruned weights got a centroid, as if they had been weights."
    if bool((shared[~pruned & (indices == -1)] == 0).all()):
        return "Pruned weights are exactly 0. A small one, or one that shares the value 0, has a centroid's index."
    return ""

SMALL = ((5, 2, 1, 1), (1, 1, 1, 1), (9, 1), (3, 3, 2, 2, 2), (10, 1, 1, 1, 1, 1), (8, 4, 2, 1, 1),
         (1, 1, 2, 3, 5, 8), (15, 7, 6, 6, 5))


@check("huffman_code")
def kraft_sum_is_one(learner, reference, rng):
    """Words of 0 and 1 for just those symbols that occur, none the beginning of another, and Σ 2^−length is 1"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2), (0, 7, 7, 0)):
        counts = _counts(rng, numbers)
        _check_prefix(_code(learner, counts), counts)


@check("huffman_code", weight=2)
def cost_is_the_least(learner, reference, rng):
    """Σ count · length is the least of all prefix codes, found by trying all: ties and zero counts included"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2), (6, 5, 4, 3, 2, 1), (1, 1, 1, 1, 1, 1)):
        counts = _counts(rng, numbers)
        _check_cost(_code(learner, counts), counts, _least_by_trying([n for n in numbers if n]))


@check("huffman_code")
def one_symbol_and_two(learner, reference, rng):
    """A single symbol has the empty word, two have one bit each, however rare one of them is"""
    for counts in ({3: 12}, {0: 1}, {5: 9, 8: 0}):
        (symbol,) = [symbol for symbol, count in counts.items() if count]
        expect.equal(_code(learner, counts), {symbol: ""}, f"the code for the counts {counts}", causes={
            "One bit a symbol, where the number of symbols says it all.": {symbol: "0"},
            "One bit a symbol where the number of symbols says it all.": {symbol: "1"},
            "Symbols that don't occur have words too.": {**dict.fromkeys(counts, "1"), symbol: "0"},
        }, next_step="Σ 2^−length must be 1. Which length gives that for one symbol?")
    for counts in ({0: 1, 1: 1}, {4: 1000, 2: 1}, {1: 3, 7: 0, 9: 50}):
        lengths = sorted(len(word) for word in _code(learner, counts).values())
        expect.equal(lengths, [1, 1], f"the lengths of the words for the counts {counts}",
                     next_step="Draw the tree: how many levels do two leaves need?")


@check("huffman_code")
def words_are_canonical(learner, reference, rng):
    """In the order of length, then symbol, the words are consecutive numbers, with zeros appended as they grow"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2)):
        counts = _counts(rng, numbers)
        _check_canonical(_code(learner, counts))


@check("huffman_code", weight=0.5)
def huffman_refuses_no_symbols(learner, reference, rng):
    """Counts of nothing, or below zero, are a ValueError"""
    for counts, why in (({}, "there is no symbol"), ({1: 0, 2: 0}, "none of the symbols occurs"),
                        ({1: 3, 2: -1}, "a symbol can't occur −1 times")):
        expect.raises("ValueError", learner.huffman_code, counts, why=why)


def _counts(rng, numbers) -> dict[int, int]:
    """Counts of symbols with gaps between them, in no order."""
    symbols = rng.choice(4 * len(numbers) + 4, len(numbers), replace=False)
    return {int(symbol): int(number) for symbol, number in zip(symbols, numbers, strict=True)}


def _code(learner, counts: dict[int, int]) -> dict[int, str]:
    code = learner.huffman_code(dict(counts))
    expect.that(isinstance(code, dict) and all(type(word) is str for word in code.values()),
                "a dict of symbols to strings", expect.show(code), next_step="Return {symbol: word, …}.")
    odd = next((word for word in code.values() if set(word) - {"0", "1"}), None)
    expect.that(odd is None, "words of 0 and 1", expect.show(odd), next_step="A word is a str such as '010'.")
    return {int(symbol): word for symbol, word in code.items()}


def _check_prefix(code: dict[int, str], counts: dict[int, int]) -> None:
    present = sorted(symbol for symbol, count in counts.items() if count)
    expect.equal(sorted(code), present, f"the symbols that have a word, for the counts {_shown(counts)}",
                 causes={"Symbols that don't occur have words too, at the cost of the others.": sorted(counts)},
                 next_step="Leave out the symbols whose count is 0 before you build the tree.")
    words = sorted(code.values())
    pair = next(((a, b) for a, b in itertools.pairwise(words) if b.startswith(a)), None)
    expect.that(pair is None, "no word that is the beginning of another", f"{pair and pair[0]!r} and "
                f"{pair and pair[1]!r}", cause="They can't be told apart when they stand one after the other.",
                next_step="Only leaves of the tree have words; a leaf is on the way to no other leaf.")
    kraft = sum(Fraction(1, 1 << len(word)) for word in words)
    expect.that(kraft == 1, f"Σ 2^−length = 1 for the counts {_shown(counts)}", f"{float(kraft):.6g}",
                cause="A branch of the tree is not used: some word could be shorter.",
                next_step="In Huffman's tree every inner node has two children. Draw the tree of your words.")


def _check_cost(code: dict[int, str], counts: dict[int, int], least: int) -> None:
    present = [count for count in counts.values() if count]
    lengths = {symbol: len(word) for symbol, word in code.items()}
    for symbol, count in counts.items():
        expect.that(not count or symbol in lengths, f"a word for symbol {symbol}, which occurs {count} times", "none",
                    next_step="Every symbol that occurs needs a word.")
    cost = sum(counts.get(symbol, 0) * length for symbol, length in lengths.items())
    total = sum(present)
    fixed = total * (len(present) - 1).bit_length()
    shannon = sum(n * math.ceil(round(-math.log2(n / total), 9)) for n in present)
    causes = {fixed: "That is what words of equal length cost.",
              shannon: "Those are lengths of ⌈−log₂ share⌉ (Shannon's): each is rounded up, and the tree has gaps."}
    cause = causes.get(cost, "At some step it wasn't the two lightest trees that became one.")
    if any(not counts.get(symbol) for symbol in lengths):
        cause = "Symbols that don't occur have words too, and make those of the others longer."
    expect.that(cost <= least, f"{least} bits in all for the counts {_shown(counts)}", f"{cost}",
                cause=cause, next_step="Follow the first three steps on paper: a new tree goes back among the others.")


def _check_canonical(code: dict[int, str]) -> None:
    """Given the lengths, which may be any: the words in the order of lengths and symbols."""
    order = sorted(code, key=lambda symbol: (len(code[symbol]), symbol))
    expected, number = [], 0
    for place, symbol in enumerate(order):
        length = len(code[symbol])
        if place:
            number = (number + 1) << (length - len(code[order[place - 1]]))
        expected.append(format(number, f"0{length}b")[-length:] if length else "")
    got = [code[symbol] for symbol in order]
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b), None)
    if at is not None:
        by_length = [len(code[symbol]) for symbol in order]
        consecutive = sorted(got, key=lambda word: (len(word), word)) == expected
        expect.that(False, f"words in the order of lengths and symbols: {expected[at]!r} after "
                    f"{expected[max(0, at - 3) : at]} for lengths {expect.show(by_length[:8])}", repr(got[at]),
                    cause="The words are right, and given to the wrong symbols of their length: smaller symbols first."
                    if consecutive else "Those are words as some tree gives them: with their lengths alone nobody "
                    "could write the table again.",
                    next_step="Forget the tree once you have the lengths; count up in binary, shortest words first.")


def _shown(counts: dict[int, int]) -> str:
    numbers = ", ".join(str(count) for count in list(counts.values())[:8])
    return numbers + ", …" * (len(counts) > 8)


def _least_by_trying(numbers: list[int]) -> int:
    """Least cost over all lengths that a prefix code can have (Kraft's inequality), the longest for the rarest."""
    numbers = sorted(numbers, reverse=True)
    if len(numbers) == 1:
        return 0
    return min(sum(n * length for n, length in zip(numbers, lengths, strict=True))
               for lengths in itertools.combinations_with_replacement(range(1, len(numbers)), len(numbers))
               if sum(2.0**-length for length in lengths) <= 1)


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    return torch.as_tensor(value).detach().double()
