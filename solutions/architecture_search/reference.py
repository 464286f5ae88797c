"""Architecture search: let a program choose the layers, under a cap, and count what the choosing costs.

Notation of the unit: an architecture is a tuple of whole numbers, one for each choice that has to be made: the number
of the option that was taken, from 0. ``options`` says how many there are at each place. A score is the higher the
better, a cost and an error the lower the better.
"""

import itertools
import random

import torch
from torch import Tensor, nn
from torch.nn import functional

Architecture = tuple[int, ...]


class SearchSpace:
    """Small convolutional networks: for each stage a kernel and a width are to be chosen.

    A stage is a K×K convolution to P channels with a bias (stride 1, padded so that height and width stay), a ReLU and
    a 2×2 pool that halves height and width, rounded down. After the last stage come global average pooling and a
    linear layer with a bias. An architecture is ``(kernel, width, kernel, width, …)``, two numbers a stage, from 0:
    with kernels (1, 3, 5) and widths (4, 8, 16), ``(1, 0, 2, 2)`` is 3×3 to 4 channels, then 5×5 to 16.

    Parameters
    ----------
    kernels : tuple of int
        Sides K to choose from, odd.
    widths : tuple of int
        Output channels P to choose from.
    stages : int
        Convolutions, at least 1.
    side : int
        Height and width of the images, at least 2 to the power of ``stages``.
    channels, classes : int
        Of the images, and of the output.

    Examples
    --------
    >>> space = SearchSpace(kernels=(1, 3, 5), widths=(4, 8, 16), stages=2)
    >>> space.cost((1, 0, 2, 2))
    (1826, 341984)
    >>> space.cost((0, 0, 0, 0))
    (78, 6312)
    >>> space.sample(2, most_parameters=78, most_macs=10_000)
    [(0, 0, 0, 0), (0, 0, 0, 0)]
    """

    def __init__(self, kernels: tuple[int, ...], widths: tuple[int, ...], stages: int, side: int = 28,
                 channels: int = 1, classes: int = 10) -> None:
        """Keep what describes the space."""
        self.kernels, self.widths, self.stages = kernels, widths, stages
        self.side, self.channels, self.classes = side, channels, classes

    def cost(self, architecture: tuple[int, ...]) -> tuple[int, int]:
        """Parameters, weights and biases, and multiply-accumulates for one image, without building the network."""
        parameters = macs = 0
        channels, side = self.channels, self.side
        for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
            outputs = self.widths[width]
            weights = self.kernels[kernel] ** 2 * channels * outputs
            parameters += weights + outputs
            macs += weights * side * side
            channels, side = outputs, side // 2
        return parameters + (channels + 1) * self.classes, macs + channels * self.classes

    def sample(self, count: int, most_parameters: int, most_macs: int, seed: int = 0) -> list[tuple[int, ...]]:
        """Draw architectures inside two caps, each of those that fit with the same chance, at every draw anew.

        The same seed gives the same list, another seed another one. An architecture fits if neither its parameters nor
        its multiply-accumulates are above the cap. If none of the space fits, it is a ``ValueError``.
        """
        places = [range(len(self.kernels)), range(len(self.widths))] * self.stages
        fitting = []
        for architecture in itertools.product(*places):
            parameters, macs = self.cost(architecture)
            if parameters <= most_parameters and macs <= most_macs:
                fitting.append(architecture)
        if not fitting:
            raise ValueError(f"No network has at most {most_parameters} parameters and {most_macs} MACs.")
        drawn = torch.randint(len(fitting), (count,), generator=torch.Generator().manual_seed(seed))
        return [fitting[number] for number in drawn.tolist()]


def mutate(architecture: tuple[int, ...], options: tuple[int, ...], seed: int = 0) -> tuple[int, ...]:
    """A neighbour of an architecture: another option is taken at one place, and all other places stay.

    The place is drawn first, each that has more than one option with the same chance; then the option, each of the
    others there with the same chance (Real et al. 2019, arXiv 1802.01548, section 3).

    Parameters
    ----------
    architecture : tuple of int
        One number a place, from 0; left as it is.
    options : tuple of int
        How many options there are at each place, at least 1.
    seed : int
        The same seed gives the same neighbour.

    Returns
    -------
    tuple of int
        It differs from the architecture at exactly one place.

    Raises
    ------
    ValueError
        If the lengths differ, or no place has a second option.

    Examples
    --------
    >>> mutate((0, 0), options=(2, 1))
    (1, 0)
    >>> mutate((0, 0), options=(1, 1))
    Traceback (most recent call last):
    ValueError: options=(1, 1): there is only one architecture.
    """
    if len(architecture) != len(options):
        raise ValueError(f"{len(architecture)} numbers for {len(options)} places.")
    places = [place for place, number in enumerate(options) if number > 1]
    if not places:
        raise ValueError(f"options={options}: there is only one architecture.")
    chance = random.Random(seed)
    place = chance.choice(places)
    other = chance.choice([option for option in range(options[place]) if option != architecture[place]])
    return (*architecture[:place], other, *architecture[place + 1 :])


def ageing_evolution(scores: dict[tuple[int, ...], float], options: tuple[int, ...], population: int, tournament: int,
                     trials: int, seed: int = 0) -> list[tuple[tuple[int, ...], int]]:
    """Search by ageing evolution: the best of a few has a child, and the oldest of all dies.

    The first ``population`` architectures are drawn at random, each option of each place with the same chance. From
    then on: draw ``tournament`` different members of the population at random, take the one with the highest score as
    parent, change it at one place, as in the exercise ``mutate``, and add the child. The oldest member leaves, however
    good it is (Real et al. 2019, arXiv 1802.01548, algorithm 1).

    Parameters
    ----------
    scores : dict
        The score of every architecture of the space, higher is better. Looking one up stands for training it.
    options : tuple of int
        How many options there are at each place, at least 2.
    population, tournament : int
        Members, and how many of them are compared: ``1 <= tournament <= population``.
    trials : int
        Architectures looked at in all, the first population included; at least ``population``.
    seed : int
        The same seed gives the same search.

    Returns
    -------
    list of (architecture, parent)
        In the order of their birth, ``trials`` of them. The parent is the number of the list's entry, from 0, that the
        architecture was made from; −1 for the first population.

    Raises
    ------
    ValueError
        If tournament is below 1 or above population, or trials is below population.

    Examples
    --------
    >>> born = ageing_evolution({(0, 0): 1, (0, 1): 2, (1, 0): 3, (1, 1): 4}, (2, 2), 2, 2, trials=12)
    >>> len(born), born[0][1], born[1][1]
    (12, -1, -1)
    """
    if not 1 <= tournament <= population or trials < population:
        raise ValueError(f"1 <= tournament <= population <= trials doesn't hold: {tournament}, {population}, {trials}.")
    chance = random.Random(seed)
    born: list[tuple[tuple[int, ...], int]] = []
    for number in range(trials):
        if number < population:
            born.append((tuple(chance.randrange(most) for most in options), -1))
            continue
        alive = range(number - population, number)  # whoever is older has died
        parent = max(chance.sample(alive, tournament), key=lambda member: scores[born[member][0]])
        child = list(born[parent][0])
        place = chance.randrange(len(options))
        child[place] = chance.choice([option for option in range(options[place]) if option != child[place]])
        born.append((tuple(child), parent))
    return born


def reinforce_step(logits: Tensor, actions: Tensor, rewards: Tensor, rate: float, baseline: float = 0.0) -> Tensor:
    """One step of REINFORCE for a policy that chooses an option at every place by itself.

    At place i, option o is taken with the probability ``softmax(logits[i])[o]``. A batch of architectures was drawn
    from the policy and has earned rewards; the step follows the estimate of the expected reward's gradient, uphill:
    ``logits + rate · mean over the batch of (R − baseline) · ∇ log π(architecture)`` (Williams 1992, section 2; Zoph
    and Le 2017, arXiv 1611.01578, section 3.2).

    Parameters
    ----------
    logits : Tensor
        Shape ``(places, options)``, float32 or float64; left as it is.
    actions : Tensor
        The architectures drawn, shape ``(batch, places)``, int64, from 0.
    rewards : Tensor
        What each has earned, shape ``(batch,)``, same dtype as the logits.
    rate : float
        Learning rate, above 0.
    baseline : float
        What is taken off every reward.

    Returns
    -------
    Tensor
        The new logits, without a gradient, same shape and dtype.

    Examples
    --------
    >>> reinforce_step(torch.zeros(1, 2), torch.tensor([[1]]), torch.tensor([3.0]), rate=0.1, baseline=1.0)
    tensor([[-0.1000,  0.1000]])
    """
    taken = functional.one_hot(actions, logits.shape[1]).to(logits.dtype)
    slopes = taken - logits.detach().softmax(1)  # of log π by the logits, one table for each architecture
    return logits.detach() + rate * ((rewards - baseline)[:, None, None] * slopes).mean(0)


class SharedConv(nn.Module):
    """A convolution that holds all narrower ones, and those with smaller kernels, inside one weight.

    A candidate with fewer outputs uses the first filters and their biases, one with fewer inputs the first channels of
    each filter, one with a smaller kernel its middle. All of them are trained at once, since they are the same numbers
    (as in Pham et al. 2018, arXiv 1802.03268; nested as in Cai et al. 2020, arXiv 1908.09791, section 3).

    Parameters
    ----------
    inputs, outputs : int
        Channels of the largest candidate.
    kernel : int
        Side of the largest candidate's kernel, odd.

    Examples
    --------
    >>> layer = SharedConv(inputs=8, outputs=16, kernel=5)
    >>> [tuple(parameter.shape) for parameter in layer.parameters()]
    [(16, 8, 5, 5), (16,)]
    >>> layer(torch.zeros(2, 4, 7, 7), outputs=6, kernel=3).shape
    torch.Size([2, 6, 7, 7])
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        """Make the weight of the largest candidate, started as ``nn.Conv2d`` does, and its biases."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel)

    def forward(self, x: Tensor, outputs: int, kernel: int) -> Tensor:
        """Run one candidate on ``(N, C, H, W)``, C at most ``inputs``: ``(N, outputs, H, W)``, padded with zeros.

        ``outputs`` and ``kernel`` are at most those of the largest candidate, and the kernel is odd; anything else is a
        ``ValueError``.
        """
        most, largest = self.conv.out_channels, self.conv.kernel_size[0]
        if not 1 <= outputs <= most or kernel % 2 == 0 or not 1 <= kernel <= largest:
            raise ValueError(f"outputs={outputs}, kernel={kernel}: at most {most}, and odd and at most {largest}.")
        edge = (largest - kernel) // 2
        weight = self.conv.weight[:outputs, : x.shape[1], edge : largest - edge, edge : largest - edge]
        return functional.conv2d(x, weight, self.conv.bias[:outputs], padding=kernel // 2)  # type: ignore[index]


def pareto_front(points: Tensor) -> list[int]:
    """The points that no other one dominates, where every number is the better the smaller it is.

    A point dominates another if it is nowhere larger and somewhere smaller. Equal points do not dominate one another:
    all of them are on the front, or none.

    Parameters
    ----------
    points : Tensor
        Shape ``(n, quantities)``, such as multiply-accumulates and error; n may be 0, quantities is at least 1.

    Returns
    -------
    list of int
        Rows of the points on the front, from 0, in rising order.

    Examples
    --------
    >>> pareto_front(torch.tensor([[1.0, 9.0], [2.0, 5.0], [3.0, 5.0], [4.0, 2.0]]))
    [0, 1, 3]
    """
    nowhere_larger = (points[:, None] <= points[None]).all(2)  # [i, j]: i is nowhere larger than j
    somewhere_smaller = (points[:, None] < points[None]).any(2)
    dominated = (nowhere_larger & somewhere_smaller).any(0)
    return [row for row, beaten in enumerate(dominated.tolist()) if not beaten]


def successive_halving(errors: Tensor, rate: int = 2, first: int = 1) -> tuple[list[tuple[int, list[int]]], int]:
    """Train many candidates a little, keep the best part, train these on, and so forth until one is left.

    In the first round every candidate is trained for ``first`` epochs, in each later one ``rate`` times as many epochs
    as in the round before have been done in all, but never more than the errors tell. After a round, the
    ``max(1, ⌊n / rate⌋)`` candidates with the smallest errors go on; of equal ones, the earlier. A round with one
    candidate, or at the last epoch, is the last (Jamieson and Talwalkar 2016, arXiv 1502.07943, figure 3).

    Parameters
    ----------
    errors : Tensor
        Learning curves, shape ``(candidates, epochs)``: the validation error of each after each epoch. Only what has
        been trained may be looked at: after 2 epochs, column 1 and those before.
    rate : int
        By how much the candidates get fewer and the epochs more, at least 2.
    first : int
        Epochs of the first round, 1 to ``epochs``.

    Returns
    -------
    rounds : list of (epochs, candidates)
        For each round how many epochs its candidates have been trained for in all, and their numbers, rising.
    spent : int
        Epochs trained in all, over all candidates. Whoever goes on is trained on, not anew.

    Raises
    ------
    ValueError
        If rate is below 2, or first is not 1 to ``epochs``.

    Examples
    --------
    >>> curves = torch.tensor([[5.0, 4.0, 3.0, 3.0], [6.0, 2.0, 1.0, 1.0], [9.0, 8.0, 7.0, 0.0], [7.0, 7.0, 7.0, 7.0]])
    >>> successive_halving(curves)
    ([(1, [0, 1, 2, 3]), (2, [0, 1]), (4, [1])], 8)
    """
    candidates, epochs = errors.shape
    if rate < 2 or not 1 <= first <= epochs:
        raise ValueError(f"rate={rate}, first={first}: rate must be at least 2, and first 1 to {epochs}.")
    alive, done, spent = list(range(candidates)), 0, 0
    rounds = []
    target = first
    while True:
        spent += len(alive) * (target - done)
        done = target
        rounds.append((done, alive))
        if len(alive) == 1 or done == epochs:
            return rounds, spent
        best = sorted(alive, key=lambda candidate: float(errors[candidate, done - 1]))
        alive = sorted(best[: max(1, len(alive) // rate)])
        target = min(epochs, done * rate)


def hypervolume(points: Tensor, corner: Tensor) -> float:
    """The area that the points dominate, up to a corner: how good a front is, in one number.

    It is the area of all places (x, y) with ``x <= corner[0]`` and ``y <= corner[1]`` for which some point is larger in
    neither number. Points that are in some number not below the corner add nothing (Zitzler and Thiele 1999).

    Parameters
    ----------
    points : Tensor
        Shape ``(n, 2)``, smaller is better; in any order, dominated ones and equal ones may be among them; n may be 0.
    corner : Tensor
        Shape ``(2,)``: the worst that still counts.

    Returns
    -------
    float
        In the unit of the one quantity times that of the other; 0 if no point lies below the corner.

    Examples
    --------
    >>> hypervolume(torch.tensor([[1.0, 2.0], [2.0, 1.0], [2.5, 2.5]]), torch.tensor([3.0, 3.0]))
    3.0
    """
    area, floor = 0.0, float(corner[1])
    for x, y in sorted(points.tolist()):
        if x < corner[0] and y < floor:
            area += (float(corner[0]) - x) * (floor - y)
            floor = y
    return area
