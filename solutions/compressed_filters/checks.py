"""Unit 09, compressed filters: exercises, points, budget, and the checks of what a learner writes."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nutshell import expect
from nutshell.checks import Budget, Exercise, Limit, Unit, check
from nutshell.hashing import mix

UNIT = Unit(
    number=9,
    name="compressed_filters",
    title="Compressed filters",
    exercises=(
        Exercise("dct_basis", points=2, minutes=12),
        Exercise("bucket_hash", points=2, minutes=12),
        Exercise("hashed_layer", points=3, minutes=20, difficulty=2),
        Exercise("fresh_filter", points=3, minutes=20, difficulty=2),
        Exercise("circulant_product", points=3, minutes=20, difficulty=3),
        Exercise("circulant_cell", points=0, minutes=20, difficulty=3, extension=True),
    ),
    budgets=(
        Budget(
            name="hashed",
            points=4,
            file="compressed_filters.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(
                Limit("bytes", at_most=135_000),  # an eighth of 266,200 weights, 410 biases, and the description
                Limit("points_lost", at_most=1.0, margin=0.5),
            ),
            minutes=15,
        ),
    ),
)

BLOCKS = ((1, 1, 4), (2, 3, 4), (3, 1, 5), (2, 2, 1), (1, 2, 2), (2, 1, 7))  # p, q, k: even, odd, and k = 1


# The cosines ---------------------------------------------------------------------------------------------------------


@check("dct_basis")
def cosines_keep_lengths(learner, reference, rng):
    """Parseval: a signal and its coefficients have the same sum of squares"""
    for size in (8, 5, 28, 2, 1):
        basis = _basis(learner, size)
        signal = torch.from_numpy(rng.standard_normal(size))
        both = float((basis @ signal).square().sum()), float((basis.T @ signal).square().sum())
        want = float(signal.square().sum())
        for got, what in zip(both, ("coefficients", "signal that is made from coefficients"), strict=True):
            expect.close(got, want, f"the sum of squares of the {what}, of {size} numbers", rtol=1e-4,
                         cause=_mistake(basis), next_step="Print T @ T.T: which rows are not of length 1?")


@check("dct_basis")
def rows_do_not_overlap(learner, reference, rng):
    """Any two rows are orthogonal, and each has length 1"""
    for size in (5, 8, 2):
        basis = _basis(learner, size)
        expect.close(basis @ basis.T, torch.eye(size), f"T Tᵀ of {size} cosines", atol=1e-4, cause=_mistake(basis),
                     next_step="Which two rows overlap? Plot them over the places.")


@check("dct_basis")
def a_row_for_each_frequency(learner, reference, rng):
    """Row u crosses zero u times, from the constant on, and starts above zero"""
    for size in (4, 7, 16):
        basis = _basis(learner, size)
        crossings = ((basis[:, 1:] > 0) != (basis[:, :-1] > 0)).sum(1).tolist()
        expect.equal(crossings, list(range(size)), f"the zero crossings of the {size} rows", cause=_mistake(basis),
                     next_step="Plot the rows: a constant, half a wave, a whole wave, and so on.")
        expect.that(bool((basis[:, 0] > 0).all()), "rows that start above zero",
                    f"row {int((basis[:, 0] <= 0).int().argmax())} starts at {float(basis[:, 0].min()):.4g}",
                    cause="The sign is turned round.", next_step="cos(0) is 1: look at the first places.")


@check("dct_basis")
def cosines_are_taken_in_the_middle_of_places(learner, reference, rng):
    """The entries are those of the DCT-II"""
    for size in (4, 9, 2, 1):
        _check_basis(learner, size)


@check("dct_basis", weight=0.5)
def cosines_are_precise(learner, reference, rng):
    """The basis is float64, and so are the numbers that it is made of"""
    for size in (5, 2, 28):
        kind = str(torch.as_tensor(learner.dct_basis(size)).dtype).removeprefix("torch.")
        expect.that(kind == "float64", "a basis in float64", f"a basis in {kind}",
                    cause="It was computed in float32, or rounded to it." if kind == "float32" else "",
                    next_step="Print the dtype of what goes into the cosine, and of what comes out.")
        _check_basis(learner, size)
        off = float(np.abs(_basis(learner, size).numpy() - _plain_basis(size)).max())
        expect.that(off < 1e-10, f"the basis of {size} places, right to ten digits",
                    f"entries that are off by up to {off:.1g}", cause="A part of it was computed in float32, or "
                    "with a rounded π.",
                    next_step="Print the dtype of what goes into the cosine, and of what comes out.")


@check("dct_basis", weight=0.5)
def no_places_no_cosines(learner, reference, rng):
    """A size below 1 is a ValueError"""
    for size in (0, -3):
        expect.raises("ValueError", learner.dct_basis, size, why=f"there must be at least 1 place and size is {size}")


@check("dct_basis", hidden=True)
def any_number_of_cosines(learner, reference, rng):
    """The entries are right for any size"""
    for size in rng.integers(2, 60, 4):
        _check_basis(learner, int(size))


@check("dct_basis", hidden=True)
def cosines_are_modes_of_a_string(learner, reference, rng):
    """The rows are eigenvectors of the second difference with mirrored ends"""
    size = int(rng.integers(5, 20))
    second = 2 * torch.eye(size, dtype=torch.float64)
    for place in range(size - 1):
        second[place, place + 1] = second[place + 1, place] = -1
    second[0, 0] = second[-1, -1] = 1  # the place beyond an end mirrors the last one
    basis = _basis(learner, size)
    values = 2 - 2 * torch.cos(math.pi * torch.arange(size) / size)
    expect.close(basis @ second, values[:, None] * basis, "the second differences of the rows", atol=1e-4,
                 cause=_mistake(basis) or "The rows aren't cosines whose waves fit the places with mirrored ends.",
                 next_step="Is it (2n + 1)·u in the cosine, and 2N below?")


def _basis(learner, size) -> Tensor:
    got = learner.dct_basis(size)
    expect.shape(got, (size, size), f"the basis of {size} places", next_step="As many frequencies as places.")
    return torch.as_tensor(got).detach().double()  # its dtype and last digits are looked at by a check of their own


def _plain_basis(size: int) -> np.ndarray:
    """By its definition, number by number."""
    return np.array([[math.sqrt((1 if u == 0 else 2) / size) * math.cos(math.pi * (2 * n + 1) * u / (2 * size))
                      for n in range(size)] for u in range(size)])


def _check_basis(learner, size):
    expect.close(_basis(learner, size), _plain_basis(size), f"the basis of {size} places", rtol=1e-4, atol=1e-4,
                 causes=_mistakes(size), next_step="Work the 2×2 basis out by hand: all of its entries are ±√½.")


def _mistakes(size) -> dict[str, np.ndarray]:
    want = _plain_basis(size)
    u, n = np.mgrid[:size, :size]
    scale = np.where(u == 0, math.sqrt(1 / size), math.sqrt(2 / size))
    return {
        "It is transposed: frequencies are the rows, places the columns.": want.T,
        "The first row needs another factor than the others.": math.sqrt(2 / size) * np.cos(
            np.pi * (2 * n + 1) * u / (2 * size)),
        "The rows aren't scaled to length 1.": np.cos(np.pi * (2 * n + 1) * u / (2 * size)),
        "The cosines are taken at the left edges of the places, not in the middle.":
            scale * np.cos(np.pi * n * u / size),
        "The waves are twice too short: 2N is below the fraction.": scale * np.cos(np.pi * (2 * n + 1) * u / size),
        "These are sines.": scale * np.sin(np.pi * (2 * n + 1) * u / (2 * size)),
    }


def _mistake(basis: Tensor) -> str:
    """Of what a basis is the result; empty if it is none of what is known."""
    known = _mistakes(len(basis)).items()
    return next((mistake for mistake, wrong in known if np.allclose(basis, wrong, atol=1e-6)), "")


# Buckets and signs ---------------------------------------------------------------------------------------------------


@check("bucket_hash")
def the_hash_is_the_one_described(learner, reference, rng):
    """Buckets and signs are those of the keys, for matrices and for kernels"""
    for shape, buckets, seed in (((3, 4), 5, 0), ((2, 3, 2, 2), 7, 1), ((6,), 4, 3), ((5, 2), 1, 2)):
        _check_hash(learner, shape, buckets, seed)


@check("bucket_hash")
def buckets_are_filled_evenly(learner, reference, rng):
    """All buckets are in use and about equally full, whether their number is even or odd"""
    for buckets in (16, 15, 2):
        index, _ = _hash(learner, (120, 80), buckets, int(rng.integers(0, 1000)))
        counts = torch.bincount(index.flatten(), minlength=buckets)
        expect.equal(len(counts), buckets, "the number of buckets in use",
                     cause="An index is as large as the number of buckets: they are counted from 0.",
                     next_step="Which remainders does a division by B leave?")
        fair = 9600 / buckets
        expect.that(bool(((counts - fair).abs() < 6 * math.sqrt(fair)).all()),
                    f"about {fair:.0f} places in each of {buckets} buckets",
                    f"{int(counts.min())} to {int(counts.max())}", next_step="Take the keys through mix first.")


@check("bucket_hash", weight=1.5)
def signs_do_not_depend_on_buckets(learner, reference, rng):
    """In every bucket about half of the signs are −1, also with an even number of buckets"""
    for buckets in (8, 2, 64, 5):
        index, sign = _hash(learner, (160, 100), buckets, int(rng.integers(0, 1000)))
        counts = torch.bincount(index.flatten(), minlength=buckets)
        sums = torch.zeros(buckets, dtype=torch.float64).index_add(0, index.flatten(), sign.flatten().double())
        worst = float((sums.abs() / counts.clamp_min(1)).max())
        expect.that(bool((sums.abs() < 6 * counts.double().sqrt()).all()),
                    f"about as many 1 as −1 in each of {buckets} buckets", f"a bucket whose mean sign is {worst:.2f}",
                    cause="The sign comes from the same hash as the bucket: modulo an even number, the bucket knows "
                          "whether the hash is odd." if worst > 0.99 and bool((sums < 0).any())
                    else "All signs are 1." if worst > 0.99 else "",
                    next_step="Give the sign a hash of its own, with another seed.")


@check("bucket_hash", weight=0.5)
def no_buckets(learner, reference, rng):
    """A number of buckets below 1 is a ValueError"""
    for buckets in (0, -2):
        expect.raises("ValueError", learner.bucket_hash, (2, 2), buckets, why=f"there are {buckets} buckets")


@check("bucket_hash", hidden=True)
def hash_of_any_tensor(learner, reference, rng):
    """Buckets and signs are right for any shape, with empty sides too, any number of buckets and any seed"""
    for shape in ((4, 5), (2, 3, 4), (17,), (0, 3)):
        _check_hash(learner, shape, int(rng.integers(1, 50)), int(rng.integers(0, 10_000)))
    _check_hash(learner, (9, 11), 10, 0)


@check("bucket_hash", hidden=True)
def another_seed_another_choice(learner, reference, rng):
    """Two seeds agree in as few buckets and signs as chance allows, and the same one always agrees"""
    seed = int(rng.integers(0, 1000))
    first, again, other = (_hash(learner, (60, 60), 50, s) for s in (seed, seed, seed + 1))
    expect.that(torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]), "the same hash for the same seed",
                "another one", cause="It depends on something besides shape, buckets and seed.",
                next_step="Use no random numbers: only mix.")
    same = [float((a == b).double().mean()) for a, b in zip(first, other, strict=True)]
    expect.that(same[0] < 0.06 and abs(same[1] - 0.5) < 0.1, "about 2 % equal buckets and 50 % equal signs under "
                "another seed", f"{100 * same[0]:.0f} % and {100 * same[1]:.0f} %",
                cause="The seed isn't used, or two hashes share one.",
                next_step="Bucket and sign have the seeds 2·seed and 2·seed + 1: no two of all of these are equal.")


def _hash(learner, shape, buckets, seed) -> tuple[Tensor, Tensor]:
    got = learner.bucket_hash(shape, buckets, **({"seed": seed} if seed else {}))
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "buckets and signs", expect.show(got),
                next_step="Return the two as a tuple: return index, sign.")
    index, sign = (torch.as_tensor(part) for part in got)
    for part, name in ((index, "the buckets"), (sign, "the signs")):
        expect.shape(part, tuple(shape), name, next_step="Make the keys in the shape of the tensor.")
    expect.that(index.dtype == torch.int64, "buckets in int64", f"buckets in {index.dtype}".replace("torch.", ""),
                cause="Tensors are indexed with int64.", next_step="Keep whole numbers whole: no division, no floats.")
    expect.that(bool(((sign == 1) | (sign == -1)).all()), "signs of 1 and −1", expect.show(sign.unique()[:6]),
                next_step="A remainder modulo 2 is 0 or 1: what makes 1 and −1 of it?")
    least, largest = (int(index.min()), int(index.max())) if index.numel() else (0, 0)
    expect.that(least >= 0 and largest < buckets, f"buckets from 0 to {buckets - 1}", f"{expect.show(index)}",
                cause="They are counted from 1." if (least, largest) == (1, buckets) else "",
                next_step="Which remainders does a division by B leave?")
    return index, sign


def _check_hash(learner, shape, buckets, seed):
    index, sign = _hash(learner, shape, buckets, seed)
    _compare_hash(index, sign, buckets, seed, f"of a tensor {tuple(shape)} with {buckets} buckets and seed {seed}")
    kind = str(sign.dtype).removeprefix("torch.")
    expect.that(kind == "float32", "signs in float32", f"signs in {kind}",
                cause="A hash is a whole number, and what is computed from it stays one." if "int" in kind else
                "Weights are float32, and float64 signs make a float64 matrix of them." if kind == "float64" else "",
                next_step="Print the dtype of the signs, step by step.")


def _compare_hash(index, sign, buckets, seed, what):
    shape = tuple(index.shape)
    keys = torch.arange(math.prod(shape)).reshape(shape)
    columns = torch.arange(math.prod(shape)).reshape(shape[::-1])
    columns = columns.permute(tuple(range(len(shape)))[::-1])  # counted down the columns

    def of(keys, first, second):
        return mix(keys, first) % buckets, 1.0 - 2 * (mix(keys, second) % 2)

    want = of(keys, 2 * seed, 2 * seed + 1)
    step = "Follow one place by hand: its key, mix, the remainder."
    expect.equal(index, want[0], f"the buckets {what}", causes={
        "The keys are counted down the columns; they go row by row.": of(columns, 2 * seed, 0)[0],
        "The seed itself is used for the buckets; it is 2·seed.": of(keys, seed, 0)[0],
        "That is the hash for the signs.": of(keys, 2 * seed + 1, 0)[0],
        "The keys aren't mixed.": keys % buckets,
        "The keys start at 1; the first is 0.": of(keys + 1, 2 * seed, 0)[0],
        "Buckets are counted from 0.": want[0] + 1,
        "Keys are sums of row and column: i + j is the same along a diagonal.": of(_sums(shape), 2 * seed, 0)[0],
        "The seed isn't used.": of(keys, 0, 0)[0],
    }, next_step=step)
    expect.close(sign.double(), want[1].double(), f"the signs {what}", causes={
        "They are turned round: −1 is for odd hashes.": -want[1],
        "They come from the hash for the buckets.": of(keys, 0, 2 * seed)[1],
        "They come from the buckets themselves.": 1.0 - 2 * (want[0] % 2),
        "The seed isn't used.": of(keys, 0, 1)[1],
        "All signs are 1.": torch.ones(shape),
    }, next_step=step)


def _sums(shape) -> Tensor:
    """i + j + … for every place."""
    return torch.tensor(np.indices(shape).sum(0), dtype=torch.int64).reshape(shape)


# A layer of buckets --------------------------------------------------------------------------------------------------


@check("hashed_layer")
def nothing_but_buckets(learner, reference, rng):
    """The layer owns its buckets and a bias: nothing else is stored with it"""
    for inputs, outputs, buckets in ((784, 300, 29_400), (30, 20, 75), (5, 4, 1)):
        layer = learner.hashed_layer(inputs, outputs, buckets, seed=2)
        shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
        expect.equal(shapes, {"weight": (buckets,), "bias": (outputs,)},
                     f"the parameters of a layer {outputs}×{inputs} with {buckets} buckets", causes={
                         "The whole matrix is stored.": {"weight": (outputs, inputs), "bias": (outputs,)},
                         "The bias is missing.": {"weight": (buckets,)}},
                     next_step="Two parameters, named weight and bias; compute the matrix in forward.")
        stored = {name: tuple(buffer.shape) for name, buffer in layer.named_buffers()}
        expect.equal(stored, {}, "the buffers", cause="A table of buckets or signs is larger than the matrix that it "
                     "saves: bytes for each place.", next_step="Compute buckets and signs in forward, from the seed.")


@check("hashed_layer", weight=1.5)
def every_weight_is_a_bucket_with_a_sign(learner, reference, rng):
    """Every entry of the virtual matrix is one of the buckets or minus one, and all buckets are in use"""
    for inputs, outputs, buckets, seed in ((12, 10, 8, 0), (9, 20, 15, 4), (6, 5, 1, 1)):
        layer = learner.hashed_layer(inputs, outputs, buckets, **({"seed": seed} if seed else {}))
        index, sign = _read(layer, inputs, outputs, buckets, rng)
        share = float((sign < 0).double().mean())
        expect.that(0.2 < share < 0.8, "about half of the signs −1", f"{100 * share:.0f} % of {sign.numel()}",
                    cause="All signs are 1." if share == 0 else "", next_step="Multiply by the signs.")
        rows = (index + 1) * sign
        twice = [i for i in range(1, outputs) if buckets > 1 and torch.equal(rows[i], rows[0])]
        expect.equal(twice, [], "rows that are equal to the first",
                     cause="Every output has the same keys: the key of a place is i·n + j.",
                     next_step="Make the keys for the whole matrix, then reshape.")
        used = len(index.unique())
        expect.that(used >= 0.9 * buckets, f"all {buckets} buckets in use", f"{used}",
                    next_step="Print the index: is it a remainder modulo the number of buckets?")


@check("hashed_layer")
def the_hash_is_that_of_the_seed(learner, reference, rng):
    """Each place of the virtual matrix has the bucket and the sign of ``bucket_hash`` for that seed"""
    for inputs, outputs, buckets, seed in ((7, 5, 6, 0), (4, 9, 8, 3), (11, 6, 4, 12)):
        layer = learner.hashed_layer(inputs, outputs, buckets, **({"seed": seed} if seed else {}))
        index, sign = _read(layer, inputs, outputs, buckets, rng)
        what = f"of a layer {outputs}×{inputs} with {buckets} buckets and seed {seed}"
        _compare_hash(index, sign, buckets, seed, what)


@check("hashed_layer", weight=1.5)
def gradient_is_the_signed_sum(learner, reference, rng):
    """A bucket's gradient is the sum of its places' gradients, each with its sign"""
    for inputs, outputs, buckets in ((8, 7, 5), (20, 3, 11)):
        _check_gradient(learner, rng, inputs, outputs, buckets, 3)


@check("hashed_layer")
def computes_the_virtual_layer(learner, reference, rng):
    """The output is V x + b"""
    for inputs, outputs, buckets in ((10, 6, 9), (3, 11, 4)):
        _check_output(learner, rng, inputs, outputs, buckets, 1)


@check("hashed_layer", weight=0.5)
def weights_start_at_a_useful_size(learner, reference, rng):
    """The buckets start at random with a variance of 1 / (3·inputs), anew in each layer, and the bias at 0"""
    for inputs in (784, 50):
        layer, other = learner.hashed_layer(inputs, 10, 4000), learner.hashed_layer(inputs, 10, 4000)
        weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
        want = 1 / math.sqrt(3 * inputs)
        got = float(weight.std())
        expect.close(got, want, f"the standard deviation of the buckets for {inputs} inputs", rtol=0.1, causes={
            "They all start at one value: then all buckets but for the sign learn the same.": 0.0,
            "It is that of nn.Linear with as many inputs as there are buckets.": 1 / math.sqrt(3 * 4000),
            "Numbers from −a to a have a variance of a²/3.": 1 / math.sqrt(inputs),
            "Numbers of variance 1 are far too large.": 1.0,
            "The upper half of the range only: the numbers should lie on both sides of 0.": want / 2,
        }, next_step="What counts is the size of V's entries, and each is a bucket.")
        expect.that(abs(float(weight.mean())) < 0.1 * want, "a mean near 0", f"{float(weight.mean()):.4g}",
                    next_step="Draw from a range with 0 in its middle.")
        expect.that(not torch.equal(other.weight.detach().double(), weight), "two layers that start differently",
                    "the same buckets in both", cause="The seed fixes the start, too; it is of the hash alone.",
                    next_step="Make two nn.Linear one after the other: where do their weights come from?")
        expect.equal(float(bias.abs().max()), 0.0, "the largest bias at the start", next_step="Start it at 0.")


@check("hashed_layer", hidden=True)
def gradients_of_any_layer(learner, reference, rng):
    """Gradients and outputs are right for any sizes, buckets and seeds"""
    for _ in range(3):
        inputs, outputs = (int(side) for side in rng.integers(2, 30, 2))
        buckets, seed = int(rng.integers(1, inputs * outputs)), int(rng.integers(1, 1000))
        _check_gradient(learner, rng, inputs, outputs, buckets, seed)
        _check_output(learner, rng, inputs, outputs, buckets, seed)


@check("hashed_layer")
def a_seed_is_all_that_is_needed(learner, reference, rng):
    """Two layers of one seed share in the same way, two of different seeds don't"""
    first, again, other = (_read(learner.hashed_layer(25, 16, 40, seed=seed), 25, 16, 40, rng) for seed in (5, 5, 6))
    expect.that(torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]),
                "the same buckets and signs for the same seed", "others",
                cause="They are drawn anew for each layer: who stores the weights must store them, too.",
                next_step="Compute them with mix from the seed.")
    same = float((first[0] == other[0]).double().mean())
    expect.that(same < 0.2, "other buckets under another seed", f"{100 * same:.0f} % are the same",
                cause="The seed isn't used.", next_step="Pass the seed on to mix.")
    same = float((first[1] == other[1]).double().mean())
    expect.that(same < 0.8, "other signs under another seed", f"{100 * same:.0f} % are the same",
                cause="All signs are 1." if bool((first[1] == 1).all()) else "The signs don't use the seed.",
                next_step="Pass the seed on to the hash of the signs, too.")


def _layer(learner, rng, inputs, outputs, buckets, seed):
    """A layer of which buckets, bias and their place in V are known."""
    layer = learner.hashed_layer(inputs, outputs, buckets, seed=seed)
    index, sign = _read(layer, inputs, outputs, buckets, rng)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.standard_normal(buckets)))
        layer.bias.copy_(torch.from_numpy(rng.standard_normal(outputs)))
    return layer, index, sign


def _read(layer, inputs, outputs, buckets, rng) -> tuple[Tensor, Tensor]:
    """Which bucket and sign each place has, read from what the layer computes: bucket r is set to r + 1."""
    expect.that(hasattr(layer, "weight") and layer.weight.shape == (buckets,) and hasattr(layer, "bias"),
                f"a weight of shape ({buckets},) and a bias", "other parameters",
                cause="The layer has other parameters than its buckets and a bias.",
                next_step="Name them self.weight and self.bias.")
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, buckets + 1))
        layer.bias.zero_()
        virtual = layer(torch.eye(inputs)).detach()
        layer.weight.copy_(-2 * torch.arange(1.0, buckets + 1))
        turned = layer(torch.eye(inputs)).detach()
    expect.shape(virtual, (inputs, outputs), f"the output for {inputs} images",
                 next_step="The virtual matrix has a row for each output, as that of nn.Linear.")
    expect.that(not torch.equal(virtual, turned), "other outputs after the buckets have changed", "the same",
                cause="The matrix is made once and kept, or it isn't made from self.weight: training would change "
                "nothing.", next_step="Where is V computed, and how often?")
    virtual, turned = virtual.T, turned.T
    rounded = virtual.round()
    expect.that(bool((virtual - rounded).abs().max() < 1e-3) and bool((rounded.abs() >= 1).all())
                and bool((rounded.abs() <= buckets).all()), "entries that are buckets, times 1 or −1",
                f"an entry of {float(virtual.flatten()[0]):.4g} with buckets 1 to {buckets}",
                cause=_misread(virtual, turned), next_step="V is w[index] times the signs, and y = V x + b.")
    return rounded.abs().long() - 1, rounded.sign()


def _misread(virtual, turned) -> str:
    """Why entries are no buckets, from two readings: all buckets of the second are −2 times those of the first."""
    if bool((virtual >= 0).all()) and bool((turned >= 0).all()) and bool((virtual == 0).any()):
        return "No output is below 0, whatever the buckets: there is an activation too many."
    if not torch.allclose(turned, -2 * virtual, rtol=1e-4, atol=1e-4):
        return "The outputs aren't linear in the buckets: something is added to them, or they pass an activation."
    if bool((virtual == 0).any()):
        return "Some entries are 0, whatever the buckets: a sign is 1 or −1."
    return "The buckets are added, averaged or scaled."


def _check_output(learner, rng, inputs, outputs, buckets, seed):
    layer, index, sign = _layer(learner, rng, inputs, outputs, buckets, seed)
    virtual = layer.weight.detach()[index] * sign
    for images in (4, 1):
        x = torch.from_numpy(rng.standard_normal((images, inputs))).float()
        want = x @ virtual.T + layer.bias.detach()
        got = layer(x).detach()
        lost = images == 1 and tuple(got.shape) == (outputs,)
        expect.shape(got, (images, outputs), f"the output for {images} image{'s' * (images > 1)}",
                     cause="A single image loses its axis." if lost else "", next_step="A row for each image.")
        expect.close(got, want, f"the output of a layer {outputs}×{inputs}", rtol=1e-3, atol=1e-4, causes={
            "The bias is missing.": x @ virtual.T, "There is an activation too many.": want.relu(),
        }, next_step="functional.linear does it, given V and the bias.")


def _check_gradient(learner, rng, inputs, outputs, buckets, seed):
    layer, index, sign = _layer(learner, rng, inputs, outputs, buckets, seed)
    x = torch.from_numpy(rng.standard_normal((6, inputs))).float()
    cotangent = torch.from_numpy(rng.standard_normal((6, outputs))).float()
    layer.zero_grad()
    (layer(x) * cotangent).sum().backward()
    slopes = (cotangent.T @ x).double()  # of V

    def gathered(values):
        return torch.zeros(buckets, dtype=torch.float64).index_add(0, index.flatten(), values.flatten())

    want, members = gathered(slopes * sign), gathered(torch.ones_like(slopes))
    got = layer.weight.grad
    expect.that(got is not None, "a gradient for the buckets", "none",
                cause="V is made without gradients: from .data, .detach() or torch.tensor.",
                next_step="Compute V from self.weight by indexing, in forward.")
    last = torch.zeros(buckets, dtype=torch.float64)
    last[index.flatten()] = (slopes * sign).flatten()
    expect.close(got.double(), want, f"the gradient of {buckets} buckets of a layer {outputs}×{inputs}", rtol=1e-3,
                 atol=1e-3, causes={
                     "The signs are missing in the gradient.": gathered(slopes),
                     "It is the mean over a bucket; the slopes add up.": want / members.clamp_min(1),
                     "Only one place of each bucket counts.": last,
                 }, next_step="Which places does a small change of one bucket move, and in which direction?")
    expect.that(layer.bias.grad is not None, "a gradient for the bias", "none",
                cause="It isn't added, or without gradients, or it is no nn.Parameter.",
                next_step="Look for the bias in __init__ and in forward.")
    expect.close(layer.bias.grad, cotangent.sum(0), "the gradient of the bias", rtol=1e-3, atol=1e-3,
                 next_step="The bias is added to each output once.")


# Frequencies in buckets ----------------------------------------------------------------------------------------------


@check("fresh_filter")
def constants_are_the_lowest_band(learner, reference, rng):
    """With all bands zero but the first, every kernel is constant, K times smaller than its bucket"""
    for side, shape in ((3, (4, 2, 3, 3)), (5, (2, 3, 5, 5))):
        values = _bands(rng, side, zero=range(1, 2 * side - 1))
        kernels = _fresh(learner, values, shape, torch.from_numpy(_plain_basis(side)))
        spread = float((kernels - kernels.mean((2, 3), keepdim=True)).abs().max())
        expect.that(spread < 1e-6, "constant kernels", f"kernels whose entries differ by up to {spread:.3g}",
                    cause="The transform goes the wrong way, or frequencies of other bands are read.",
                    next_step="Which product turns coefficients into places, basis or basisᵀ on the left?")
        sizes = (kernels.mean((2, 3)).abs() * side).flatten()
        found = (sizes[:, None] - values[0].abs()).abs().min(1).values
        expect.that(float(found.max()) < 1e-6, "constants that are a bucket of band 0, divided by K",
                    f"{expect.show(kernels[0, 0, 0, 0])} for K = {side} and buckets {expect.show(values[0])}",
                    next_step="The lowest cosine has entries of √(1/K), in both directions.")


@check("fresh_filter", weight=1.5)
def bands_hold_their_own_buckets(learner, reference, rng):
    """The DCT of the kernels, frequency by frequency, holds buckets of its own band, with signs"""
    for side, shape in ((3, (6, 3, 3, 3)), (2, (5, 2, 2, 2)), (4, (3, 2, 4, 4))):
        values = [torch.arange(1.0, 4 + band, dtype=torch.float64) + 100 * band for band in range(2 * side - 1)]
        basis = torch.from_numpy(_plain_basis(side))
        found = basis @ _fresh(learner, values, shape, basis, seed=1) @ basis.T
        for u in range(side):
            for v in range(side):
                numbers = found[:, :, u, v].abs().flatten()
                away = (numbers[:, None] - values[u + v]).abs().min(1).values
                others = [band for band in range(2 * side - 1)
                          if float((numbers[:, None] - values[band]).abs().min(1).values.max()) < 1e-6]
                pool = float((numbers[:, None] - torch.cat(values)).abs().min(1).values.max()) < 1e-6
                expect.that(float(away.max()) < 1e-6, f"coefficients of frequencies ({u}, {v}) from band {u + v}",
                            f"{expect.show(numbers[:4])}",
                            cause=f"They are from band {others[0]}." if others else
                            "They are from several bands: each has buckets of its own." if pool else
                            "The kernels are transformed in one direction, in the wrong one, or not at all.",
                            next_step="Print u + v for all frequencies of a 3×3 kernel.")


@check("fresh_filter")
def the_hash_of_coefficients_is_the_one_described(learner, reference, rng):
    """Kernels are those of the described keys, buckets and signs, whatever the basis"""
    for side, shape, seed in ((3, (4, 2, 3, 3), 0), (5, (2, 2, 5, 5), 3), (1, (3, 4, 1, 1), 2)):
        _check_fresh(learner, rng, side, shape, seed)


@check("fresh_filter", weight=0.5)
def kernels_keep_their_dtype(learner, reference, rng):
    """Values in float32 make kernels in float32, as a layer needs them"""
    for side, shape, seed in ((3, (2, 3, 3, 3), 0), (2, (4, 1, 2, 2), 5)):
        _check_fresh(learner, rng, side, shape, seed, torch.float32)


@check("fresh_filter", weight=0.5)
def energy_is_that_of_the_coefficients(learner, reference, rng):
    """Parseval: the kernels' sum of squares is that of the buckets, each counted as often as it is used"""
    values = [torch.full((4,), float(size), dtype=torch.float64) for size in (3.0, 2.0, 1.5, 1.0, 0.5)]
    kernels = _fresh(learner, values, (4, 3, 3, 3), torch.from_numpy(_plain_basis(3)))
    places = torch.tensor([1, 2, 3, 2, 1])  # of a 3×3 kernel, by band
    want = 12 * float((places * torch.tensor([value[0] for value in values]) ** 2).sum())
    expect.close(float(kernels.square().sum()), want, "the sum of squares of 12 kernels", rtol=1e-6,
                 cause="Frequencies are missing or counted twice, or the transform changes lengths.",
                 next_step="How many of the nine frequencies belong to each of the five bands?")


@check("fresh_filter", weight=0.5)
def a_band_too_few(learner, reference, rng):
    """Another number of bands than 2K − 1 is a ValueError"""
    for bands in (2, 4, 6, 9):
        values = [torch.ones(2, dtype=torch.float64) for _ in range(bands)]
        expect.raises("ValueError", learner.fresh_filter, values, (2, 2, 3, 3), torch.eye(3, dtype=torch.float64),
                      why=f"a 3×3 kernel has 5 bands and there are {bands}")


@check("fresh_filter", hidden=True)
def kernels_of_any_size(learner, reference, rng):
    """Kernels are right for any size, seed and basis, with bands of one bucket and of many"""
    for _ in range(4):
        side = int(rng.integers(1, 6))
        shape = (int(rng.integers(1, 6)), int(rng.integers(1, 6)), side, side)
        _check_fresh(learner, rng, side, shape, int(rng.integers(0, 1000)))


@check("fresh_filter")
def buckets_can_be_trained(learner, reference, rng):
    """Every bucket in use gets its gradient: the signed sum of its coefficients' slopes"""
    side, shape = 3, (3, 2, 3, 3)
    values = [value.requires_grad_() for value in _bands(rng, side)]
    basis = torch.from_numpy(_plain_basis(side))
    kernels = learner.fresh_filter(values, shape, basis, seed=1)
    _expect_kernels(kernels, shape, values)
    expect.that(isinstance(kernels, Tensor) and kernels.requires_grad, "kernels that have a gradient", "none",
                cause="They are made without gradients: by .item(), .detach() or torch.tensor.",
                next_step="Fill the coefficients by indexing the values.")
    cotangent = torch.from_numpy(rng.standard_normal(shape))
    made = _plain_fresh([value.detach() for value in values], shape, basis, 1)[0]
    others = not torch.allclose(kernels.detach().double(), made, atol=1e-8)
    got = torch.autograd.grad((kernels * cotangent).sum(), values, allow_unused=True)
    own = [value.detach().clone().requires_grad_() for value in values]
    right, _, bare = _plain_fresh(own, shape, basis, 1)
    want = torch.autograd.grad((right * cotangent).sum(), own, retain_graph=True)
    unsigned = torch.autograd.grad((basis.T @ bare @ basis * cotangent).sum(), own)
    for band, (mine, slope, wrong) in enumerate(zip(got, want, unsigned, strict=True)):
        expect.that(mine is not None, f"a gradient for band {band}", "none", next_step="Is every band read?")
        expect.close(mine, slope, f"the gradient of band {band}", rtol=1e-5, atol=1e-8,
                     causes={"The signs are missing.": wrong},
                     cause="The kernels themselves aren't right yet: see to that first." if others else "",
                     next_step="The kernels are linear in the buckets: let torch differentiate the transform.")


def _bands(rng, side, zero=()) -> list[Tensor]:
    bands = [torch.from_numpy(rng.standard_normal(int(rng.integers(1, 6)))) for _ in range(2 * side - 1)]
    return [torch.zeros_like(band) if number in zero else band for number, band in enumerate(bands)]


def _fresh(learner, values, shape, basis, seed=0) -> Tensor:
    got = learner.fresh_filter(values, shape, basis, **({"seed": seed} if seed else {}))
    _expect_kernels(got, shape, values)
    return torch.as_tensor(got).detach().double()


def _expect_kernels(got, shape, values):
    expect.shape(got, tuple(shape), "the kernels", next_step="Make the keys in the shape of the kernels.")
    kinds = [str(kind).removeprefix("torch.") for kind in (values[0].dtype, torch.as_tensor(got).dtype)]
    expect.that(kinds[0] == kinds[1], f"kernels in {kinds[0]}, as the values are", f"kernels in {kinds[1]}",
                cause="The dtype of the values is lost.",
                next_step="Print the dtype of the coefficients, and of what comes from them.")


def _plain_fresh(values, shape, basis, seed):
    """Number by number: the kernels, and for the causes the coefficients with and without signs, unbanded keys."""
    side = shape[-1]
    keys = torch.arange(math.prod(shape)).reshape(shape)
    hashes, odd = mix(keys, 2 * seed), mix(keys, 2 * seed + 1) % 2
    rows = []
    for u in range(side):
        for v in range(side):
            band = values[u + v]
            rows.append(band[hashes[:, :, u, v] % len(band)])
    bare = torch.stack(rows, -1).reshape(shape)
    coefficients = bare * (1 - 2 * odd)
    return basis.T @ coefficients @ basis, coefficients, bare


def _check_fresh(learner, rng, side, shape, seed, dtype=torch.float64):
    given = [band.to(dtype) for band in _bands(rng, side)]
    given_basis = torch.linalg.qr(torch.from_numpy(rng.standard_normal((side, side))))[0].to(dtype)
    values, basis = [band.double() for band in given], given_basis.double()
    want, coefficients, bare = _plain_fresh(values, shape, basis, seed)
    by_maximum = torch.stack([values[max(u, v)][mix(torch.arange(math.prod(shape)).reshape(shape)[:, :, u, v],
                                                    2 * seed) % len(values[max(u, v)])]
                              for u in range(side) for v in range(side)], -1).reshape(shape)
    signs = torch.where(bare == coefficients, 1.0, -1.0).double()
    keys, pool = torch.arange(math.prod(shape)).reshape(shape), torch.cat(values)
    pooled = pool[mix(keys, 2 * seed) % len(pool)] * (1 - 2 * (mix(keys, 2 * seed + 1) % 2))
    single = _plain_fresh(values, (1, 1, side, side), basis, seed)[0].expand(shape)
    got = _fresh(learner, given, shape, given_basis, seed)
    rounded = dtype == torch.float64 and torch.allclose(got, want, atol=1e-5)
    expect.close(got, want, f"kernels {tuple(shape)} with bands of {', '.join(str(len(v)) for v in values)} buckets",
                 rtol=1e-6, atol=1e-8 if dtype == torch.float64 else 1e-4, causes={
                     "The signs are missing.": basis.T @ bare @ basis,
                     "These are the coefficients: the inverse DCT is missing.": coefficients,
                     "That is the DCT of the coefficients; the way back has the transposed matrix on the other sides.":
                         basis @ coefficients @ basis.T,
                     "Only one direction is transformed: columns, but not rows.": basis.T @ coefficients,
                     "Only one direction is transformed: rows, but not columns.": coefficients @ basis,
                     "Both directions use the basis from the same side.": basis.T @ coefficients @ basis.T,
                     "The band is the larger of the two frequencies; here it is their sum.":
                         basis.T @ (by_maximum * signs) @ basis,
                     "All bands share one pool of buckets; each has its own.": basis.T @ pooled @ basis,
                     "All kernels are the same: keys go on from kernel to kernel.": single,
                 }, cause="Numbers were rounded to float32 on the way." if rounded else "",
                 next_step="Follow one coefficient by hand: its key, its band, its bucket, its sign.")


# Circulant blocks ----------------------------------------------------------------------------------------------------


@check("circulant_product", weight=1.5)
def equal_to_the_dense_product(learner, reference, rng):
    """The product is that of the dense matrix whose blocks have these first columns"""
    for blocks in BLOCKS:
        _check_product(learner, rng, blocks, 3)


@check("circulant_product")
def first_columns_come_out(learner, reference, rng):
    """The first unit vector brings the first columns out as they are"""
    for rows, columns, size in ((1, 1, 4), (2, 1, 5), (2, 2, 3)):
        vectors = torch.from_numpy(rng.standard_normal((rows, columns, size)))
        unit = torch.zeros(1, columns * size, dtype=torch.float64)
        unit[0, 0] = 1.0
        got = _product(learner, vectors, unit)
        turned = vectors[:, 0].flip(1).roll(1, 1)
        expect.close(got, vectors[:, 0].reshape(1, -1), f"the product with (1, 0, …), with {rows} × {columns} blocks",
                     atol=1e-8, causes={"The vectors are taken for first rows: that needs a conjugate, and is another "
                                        "matrix.": turned.reshape(1, -1)},
                     next_step="W times the first unit vector is W's first column.")


@check("circulant_product")
def turning_goes_through(learner, reference, rng):
    """Turning all blocks of the inputs by one turns all blocks of the outputs by one"""
    for rows, columns, size in ((2, 3, 4), (1, 2, 5)):
        vectors = torch.from_numpy(rng.standard_normal((rows, columns, size)))
        inputs = torch.from_numpy(rng.standard_normal((2, columns * size)))
        turned = inputs.reshape(2, columns, size).roll(1, 2).reshape(2, -1)
        want = _product(learner, vectors, inputs).reshape(2, rows, size).roll(1, 2).reshape(2, -1)
        expect.close(_product(learner, vectors, turned), want, "the product with inputs whose blocks are turned by one",
                     atol=1e-8, cause="The blocks aren't circulant.", next_step="Transform each block of k numbers on "
                     "its own: the last axis must be the one of k.")


@check("circulant_product")
def gradients_are_those_of_the_dense_product(learner, reference, rng):
    """The gradients of vectors and inputs are those of the dense product"""
    for blocks in ((2, 2, 4), (1, 3, 5)):
        _check_slopes(learner, rng, blocks)


@check("circulant_product", weight=0.5)
def inputs_that_do_not_fit(learner, reference, rng):
    """Inputs without q·k columns are a ValueError"""
    for columns in (11, 13, 6):
        expect.raises("ValueError", learner.circulant_product, torch.ones(2, 3, 4), torch.ones(2, columns),
                      why=f"3 blocks of 4 take 12 columns and the inputs have {columns}")
    for columns in (8, 4, 16):
        why = f"3 blocks of 4 take 12 columns and the inputs have {columns}"
        expect.that(not _takes(learner, columns), f"ValueError, since {why}", "a product",
                    cause=f"The inputs have whole blocks, but {columns // 4} in place of 3.",
                    next_step="Print the shapes on the way: where do three columns of blocks meet the inputs?")
        expect.raises("ValueError", learner.circulant_product, torch.ones(2, 3, 4), torch.ones(2, columns), why=why)


@check("circulant_product", hidden=True)
def product_of_any_blocks(learner, reference, rng):
    """Products and gradients are right for any number of blocks of any size, in both dtypes"""
    for dtype in (torch.float64, torch.float32):
        for _ in range(3):
            blocks = (int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(1, 12)))
            _check_product(learner, rng, blocks, int(rng.integers(1, 5)), dtype)
    _check_slopes(learner, rng, (3, 2, int(rng.integers(2, 9))))


@check("circulant_product", hidden=True, weight=0.5)
def turns_of_one_place(learner, reference, rng):
    """A vector with a single 1 turns its block, and as many turns as k are none"""
    for size in (4, 5, 9):
        inputs = torch.from_numpy(rng.standard_normal((3, size)))
        for turns in (1, size - 1):
            vectors = torch.zeros(1, 1, size, dtype=torch.float64)
            vectors[0, 0, turns] = 1.0
            expect.close(_product(learner, vectors, inputs), inputs.roll(turns, 1), f"a turn by {turns} of {size}",
                         atol=1e-8, causes={"It turns the wrong way: the vectors are taken for first rows.":
                                            inputs.roll(-turns, 1)},
                         next_step="W with first column (0, 1, 0, …) moves every number down by one.")


def _takes(learner, columns) -> bool:
    try:
        learner.circulant_product(torch.ones(2, 3, 4), torch.ones(2, columns))
    except expect.LearnerRaised:
        return False
    return True


def _product(learner, vectors, inputs) -> Tensor:
    got = learner.circulant_product(vectors, inputs)
    rows, columns, size = vectors.shape
    expect.shape(got, (len(inputs), rows * size), f"the product with {rows} × {columns} blocks of {size}",
                 cause="Without n= the inverse FFT makes an even number of places, even if k is odd." if size % 2 and
                 isinstance(got, Tensor | np.ndarray) and tuple(got.shape) == (len(inputs), rows * (size - 1)) else "",
                 next_step="p blocks of k numbers for each row of the inputs.")
    got = torch.as_tensor(got)
    expect.that(not got.is_complex(), "real numbers", "complex ones",
                cause="The FFT of real numbers is complex, and the way back leaves tiny imaginary parts.",
                next_step="rfft and irfft are made for real numbers.")
    expect.equal(str(got.dtype), str(vectors.dtype), "the dtype of the product",
                 next_step="Let the FFT work in the dtype that came in.")
    return got.detach().double()


def _dense(vectors: Tensor) -> Tensor:
    """The matrix whose blocks have these first columns."""
    rows, columns, size = vectors.shape
    turned = torch.stack([vectors.roll(turn, 2) for turn in range(size)], 3)  # column b: the first one, turned b times
    return turned.permute(0, 2, 1, 3).reshape(rows * size, columns * size)


def _check_product(learner, rng, blocks, batch, dtype=torch.float64):
    rows, columns, size = blocks
    vectors = torch.from_numpy(rng.standard_normal(blocks)).to(dtype)
    inputs = torch.from_numpy(rng.standard_normal((batch, columns * size))).to(dtype)
    x, dense = inputs.double(), _dense(vectors.double())
    first_rows = _dense(vectors.double().flip(2).roll(1, 2))
    causes = {
        "The vectors are taken for first rows: that needs a conjugate, and is another matrix.": x @ first_rows.T,
        "The FFT runs along the blocks, not within them: the last axis is the one of k.": torch.fft.ifft(torch.einsum(
            "pqf,nqf->npf", torch.fft.fft(vectors.double(), dim=1),
            torch.fft.fft(x.reshape(batch, columns, size), dim=1)), dim=1).real.flatten(1),
        "It is scaled by k: the inverse FFT divides by it once.": x @ dense.T * size,
        "It is divided by k once too often.": x @ dense.T / size,
    }
    if rows == columns:
        causes["Rows and columns of blocks are swapped."] = x @ _dense(vectors.double().transpose(0, 1)).T
    if columns > 1:
        strided = x.reshape(batch, size, columns).transpose(1, 2).reshape(batch, -1)
        causes["The numbers of a block are taken from all over the row; they are neighbours."] = strided @ dense.T
        causes["Only the first block of the inputs counts."] = x[:, :size] @ dense[:, :size].T
    expect.close(_product(learner, vectors, inputs), x @ dense.T, f"the product with {rows} × {columns} blocks of "
                 f"{size}", rtol=1e-4, atol=1e-8 if dtype == torch.float64 else 1e-4, causes=causes,
                 next_step="Make one 3×3 block as a dense matrix, column by column, and compare.")


def _check_slopes(learner, rng, blocks):
    rows, columns, size = blocks
    vectors = torch.from_numpy(rng.standard_normal(blocks)).requires_grad_()
    inputs = torch.from_numpy(rng.standard_normal((3, columns * size))).requires_grad_()
    cotangent = torch.from_numpy(rng.standard_normal((3, rows * size)))
    _product(learner, vectors, inputs)  # says what is wrong with shape and kind
    product = learner.circulant_product(vectors, inputs)
    expect.that(isinstance(product, Tensor) and product.requires_grad, "a product that has a gradient", "none",
                cause="It goes through NumPy, .detach() or torch.tensor.", next_step="Stay within torch.fft.")
    got = torch.autograd.grad((product * cotangent).sum(), (vectors, inputs), allow_unused=True)
    dense = inputs @ _dense(vectors).T
    close = torch.allclose(product.detach().double(), dense.detach(), atol=1e-6)
    want = torch.autograd.grad((dense * cotangent).sum(), (vectors, inputs))
    for mine, right, name in zip(got, want, ("vectors", "inputs"), strict=True):
        expect.that(mine is not None, f"a gradient for the {name}", "none", next_step="Use the argument itself.")
        expect.close(mine, right, f"the gradient of the {name}", rtol=1e-5, atol=1e-7,
                     cause="" if close else "The product isn't right yet: see to that first.",
                     next_step="If the product is right, torch finds its gradient: is a part of it made apart?")


# Extension: the recurrent cell ---------------------------------------------------------------------------------------


@check("circulant_cell")
def an_lstm_with_dense_matrices_does_the_same(learner, reference, rng):
    """Without peepholes the step is that of torch's LSTM with the dense matrices"""
    for rows, columns, size in ((2, 3, 4), (1, 2, 3)):
        _check_cell(learner, rng, rows, columns, size, peepholes=False)


@check("circulant_cell")
def gates_see_the_memory(learner, reference, rng):
    """With peepholes, two gates see the old memory and the third the new one"""
    for rows, columns, size in ((2, 1, 4), (3, 2, 2)):
        _check_cell(learner, rng, rows, columns, size, peepholes=True)


@check("circulant_cell", weight=0.5)
def a_step_in_float32(learner, reference, rng):
    """Arguments in float32 give numbers and a memory in float32, as the lab needs them"""
    for peepholes in (False, True):
        _check_cell(learner, rng, 2, 3, 4, peepholes, torch.float32)


@check("circulant_cell", hidden=True)
def cells_of_any_size(learner, reference, rng):
    """The step is right for any number and size of blocks"""
    for peepholes in (False, True):
        rows, columns, size = (int(number) for number in rng.integers(1, 6, 3))
        _check_cell(learner, rng, rows, columns, size, peepholes)


@check("circulant_cell", hidden=True, weight=0.5)
def gates_that_are_shut(learner, reference, rng):
    """With the forget gate open and the others shut, the memory stays and nothing comes out"""
    width = 6
    bias = torch.cat([torch.full((width,), value, dtype=torch.float64) for value in (-50.0, 50.0, 3.0, -50.0)])
    memory = torch.from_numpy(rng.standard_normal((2, width)))
    hidden, after = _step(learner, torch.zeros(2, 3, dtype=torch.float64), torch.zeros_like(memory), memory,
                          torch.zeros(8, 1, 3, dtype=torch.float64), torch.zeros(8, 2, 3, dtype=torch.float64), bias,
                          None)
    expect.close(after, memory, "the memory behind shut gates", atol=1e-8,
                 next_step="Which of the four gates keeps what is there? They come in the order i, f, g, o.")
    expect.close(hidden, torch.zeros_like(memory), "what comes out of it", atol=1e-8,
                 next_step="The gate o decides what comes out.")


def _step(learner, *arguments) -> tuple[Tensor, Tensor]:
    got = learner.circulant_cell(*(arguments if arguments[-1] is not None else arguments[:-1]))
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "hidden numbers and memory", expect.show(got),
                next_step="Return the two as a tuple: return hidden, memory.")
    for part, name in zip(got, ("what comes out", "the memory"), strict=True):
        expect.shape(part, tuple(arguments[2].shape), name, next_step="As the memory that came in.")
        kinds = [str(kind).removeprefix("torch.") for kind in (arguments[2].dtype, torch.as_tensor(part).dtype)]
        expect.that(kinds[0] == kinds[1], f"{name} in {kinds[0]}, as the arguments are", f"{name} in {kinds[1]}",
                    cause="The step is computed in another dtype than that of its arguments.",
                    next_step="Print the dtype of each part of the step.")
    return tuple(torch.as_tensor(part).detach().double() for part in got)  # type: ignore[return-value]


def _check_cell(learner, rng, rows, columns, size, peepholes, dtype=torch.float64):
    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).to(dtype)

    x, h, c = normal(3, columns * size), normal(3, rows * size), normal(3, rows * size)
    w, u, bias = normal(4 * rows, columns, size), normal(4 * rows, rows, size), normal(4 * rows * size)
    seen = normal(3, rows * size) if peepholes else None
    given = x, h, c, w, u, bias, seen
    x, h, c, w, u, bias = (part.double() for part in given[:6])
    seen = seen.double() if peepholes else None
    i, f, g, o = (functional.linear(x, _dense(w), bias) + h @ _dense(u).T).chunk(4, 1)

    def run(i, f, g, o, new=True):
        if seen is not None:
            i, f = i + seen[0] * c, f + seen[1] * c
        memory = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if seen is not None:
            o = o + seen[2] * (memory if new else c)
        return torch.sigmoid(o) * torch.tanh(memory), memory

    want = run(i, f, g, o)
    of_memory = {"The gates are taken in another order; here it is i, f, g, o.": run(f, i, g, o)[1],
                 "The gates g and o are swapped.": run(i, f, o, g)[1]}
    opened = want[0] / torch.tanh(want[1])  # σ(o)
    of_hidden = {"The tanh of the memory is missing.": opened * want[1],
                 "It is the old memory that comes out; here it is the new one.": opened * torch.tanh(c),
                 "The memory comes out through a ReLU; here it is tanh.": opened * want[1].relu(),
                 "The memory comes out through σ; here it is tanh.": opened * torch.sigmoid(want[1])}
    if peepholes:
        of_memory["The peepholes aren't used."] = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        of_hidden["The gate o sees the old memory; here it sees the new one."] = run(i, f, g, o, new=False)[0]
    hidden, memory = _step(learner, *given)
    what = f"after a step with {rows} × {columns} blocks of {size}, {'with' if peepholes else 'without'} peepholes"
    close = {"rtol": 1e-6, "atol": 1e-8} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    expect.close(memory, want[1], f"the memory {what}", **close, causes=of_memory,
                 next_step="With one block of size 1 all of this is numbers: work a step out by hand.")
    expect.close(hidden, want[0], f"what comes out {what}", **close, causes=of_hidden,
                 next_step="The memory is right: what is left is the gate o, and the memory on its way out.")
