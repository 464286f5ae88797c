"""Ways to search, all with two calls: ``ask`` for what to train next, and ``tell`` how well it did.

A strategy draws from its own generator only, so the same seed and the same answers give the same questions. That is how
an interrupted search goes on: it is asked again from the start and told what was found before; see :mod:`.running`.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nutshell.errors import WrongUse
from nutshell.search.caps import Cap, Price, score
from nutshell.search.space import Architecture, Option, Space


@dataclass(frozen=True)
class Trial:
    """A question: what is this architecture's validation error after so many epochs in all?"""

    architecture: dict[str, Option]
    epochs: int


class Strategy:
    """What all strategies share: a space, a cap, a generator and the score.

    Parameters
    ----------
    space : Space
    cap : Cap
        Nothing above it is asked for.
    seed : int
    epochs : int
        Of a finished training.
    weight : float, or two
        Of the price in the score; see :func:`nutshell.search.caps.score`. Two are the ends of a range, from which it is
        drawn anew for each comparison: so one search looks for a whole front (Knowles 2006, ParEGO).
    price : callable, optional
        Takes an architecture; its multiply-accumulates if left out, milliseconds for a search that knows its device.
    """

    name = ""
    spent = 0.0  # epochs of training that are paid before the first question

    def __init__(
        self, space: Space, cap: Cap, seed: int = 0, *, epochs: int = 4, weight: float | tuple[float, float] = 0.0,
        price: Price | None = None,
    ) -> None:  # fmt: skip
        self.space, self.cap, self.epochs, self.weight = space, cap, epochs, weight
        self.price: Price = price or (lambda architecture: space.parameters_and_macs(architecture)[1])
        self.random = random.Random(seed)

    def ask(self) -> Trial | None:
        """The next trial, or ``None`` if there is nothing left to ask."""
        raise NotImplementedError

    def tell(self, trial: Trial, error_percent: float) -> None:
        """Hear the answer to the last question; nothing is learned from it unless a strategy says how."""

    def taste(self) -> Callable[[Architecture, float], float]:
        """The score by which things are compared now: takes an architecture and its error, higher is better."""
        weight = self.random.uniform(*self.weight) if isinstance(self.weight, tuple) else self.weight
        return lambda architecture, error_percent: score(error_percent, self.price(architecture), weight)

    def allowed(self, draw: Callable[[], dict[str, Option]]) -> dict[str, Option]:
        """Draw until something lies within the cap."""
        for _ in range(20_000):
            architecture = draw()
            if self.cap.allows(self.space, architecture):
                return architecture
        raise WrongUse(f"20,000 draws from the space {self.space.name!r} gave nothing below {self.cap}. Raise it.")

    def anything(self) -> dict[str, Option]:
        """Any architecture within the cap, each with the same chance."""
        return self.allowed(lambda: self.space.decode(self.random.randrange(self.space.size)))


class RandomSearch(Strategy):
    """Draws, and learns nothing: what every other strategy has to beat (Li and Talwalkar 2019, arXiv 1902.07638)."""

    name = "random"

    def ask(self) -> Trial:
        return Trial(self.anything(), self.epochs)


class AgeingEvolution(Strategy):
    """The best of a few members has a child, the oldest member dies (Real et al. 2019, arXiv 1802.01548).

    Parameters
    ----------
    population, tournament : int
        Members, and how many of them compete to be the parent.
    founders : sequence of architectures
        The first members, the best first; as many as are missing are drawn. Good ones of another task warm-start the
        search, which is the simplest kind of meta-learning (Vanschoren 2018, arXiv 1810.03548, section 2.3).
    """

    name = "ageing evolution"

    def __init__(self, *arguments, population: int = 10, tournament: int = 4,
                 founders: Sequence[Architecture] = (), **options) -> None:  # fmt: skip
        super().__init__(*arguments, **options)
        self.tournament, self.population = tournament, population
        self.members: deque[tuple[dict[str, Option], float]] = deque(maxlen=population)
        fitting = [dict(each) for each in founders if self.cap.allows(self.space, each)]
        self.founders = deque(fitting[:population])
        self.born = 0

    def ask(self) -> Trial:
        self.born += 1
        if self.born > self.population and self.members:
            return Trial(self._child(), self.epochs)
        return Trial(self.founders.popleft() if self.founders else self.anything(), self.epochs)

    def tell(self, trial: Trial, error_percent: float) -> None:
        self.members.append((trial.architecture, error_percent))

    def _child(self) -> dict[str, Option]:
        rivals = self.random.sample(list(self.members), min(self.tournament, len(self.members)))
        taste = self.taste()
        parent, _ = max(rivals, key=lambda member: taste(*member))

        def neighbour() -> dict[str, Option]:
            decision = self.random.choice([name for name, options in self.space.decisions.items() if len(options) > 1])
            others = [option for option in self.space.decisions[decision] if option != parent[decision]]
            return {**parent, decision: self.random.choice(others)}

        return self.allowed(neighbour)


class Reinforce(Strategy):
    """A policy that draws each decision by itself is moved towards what scored well (Williams 1992; 1611.01578).

    Parameters
    ----------
    rate : float
        Step of the logits.
    doubt : float
        Weight of the policy's entropy, which keeps it from being certain too soon (as in 1802.03268, section 3).
    memory : float
        Share of the baseline, a moving mean of the scores, that stays at each step; scores are divided by their
        deviation, kept in the same way, or by 0.1 if that is larger.

    Notes
    -----
    Draws above the cap are thrown away and drawn anew, which the gradient doesn't know of.
    """

    name = "reinforcement"

    def __init__(self, *arguments, rate: float = 0.5, doubt: float = 0.1, memory: float = 0.8, **options) -> None:
        super().__init__(*arguments, **options)
        self.rate, self.doubt, self.memory = rate, doubt, memory
        self.logits = {name: np.zeros(len(each)) for name, each in self.space.decisions.items()}
        self.mean: float | None = None
        self.variance = 0.0

    def chances(self, decision: str) -> np.ndarray:
        """Of the options of a decision, now."""
        powers = np.exp(self.logits[decision] - self.logits[decision].max())
        return powers / powers.sum()

    def ask(self) -> Trial:
        def draw() -> dict[str, Option]:
            return {name: self.random.choices(options, self.chances(name).tolist())[0]
                    for name, options in self.space.decisions.items()}

        return Trial(self.allowed(draw), self.epochs)

    def tell(self, trial: Trial, error_percent: float) -> None:
        reward = self.taste()(trial.architecture, error_percent)
        if self.mean is None:
            self.mean = reward
        better = reward - self.mean
        self.mean += (1 - self.memory) * better
        self.variance = self.memory * self.variance + (1 - self.memory) * better**2
        step = self.rate * better / max(self.variance**0.5, 0.1)
        for name, options in self.space.decisions.items():
            chances = self.chances(name)
            surprise = -np.log(np.maximum(chances, 1e-12))
            self.logits[name] -= step * chances
            self.logits[name][options.index(trial.architecture[name])] += step
            self.logits[name] += self.rate * self.doubt * chances * (surprise - chances @ surprise)


class SuccessiveHalving(Strategy):
    """Many start, and after each round the better part trains on (Jamieson and Talwalkar 2016, arXiv 1502.07943).

    Parameters
    ----------
    first : int
        How many start; when a group is finished, another one starts.
    rate : int
        One of so many goes on, to so many times the epochs.
    """

    name = "successive halving"

    def __init__(self, *arguments, first: int = 16, rate: int = 2, **options) -> None:
        super().__init__(*arguments, **options)
        self.first, self.rate = first, rate
        self.waiting: deque[Trial] = deque()
        self.heard: list[tuple[Trial, float]] = []

    def ask(self) -> Trial:
        if not self.waiting:
            self._next_round()
        return self.waiting.popleft()

    def tell(self, trial: Trial, error_percent: float) -> None:
        self.heard.append((trial, error_percent))

    def _next_round(self) -> None:
        done = self.heard[0][0].epochs if self.heard else self.epochs
        if done >= self.epochs:
            rounds = 0
            while self.rate ** (rounds + 1) <= self.epochs:
                rounds += 1
            self.waiting.extend(Trial(self.anything(), self.epochs // self.rate**rounds) for _ in range(self.first))
        else:
            taste = self.taste()
            ranked = sorted(self.heard, key=lambda each: taste(each[0].architecture, each[1]), reverse=True)
            self.waiting.extend(Trial(each.architecture, min(self.epochs, done * self.rate))
                                for each, _ in ranked[: max(1, len(ranked) // self.rate)])
        self.heard.clear()


class SharedWeights(Strategy):
    """One network that holds all is trained, each candidate is tried with its weights, and the best are trained alone.

    Pham et al. 2018 (arXiv 1802.03268); with candidates drawn at random, as Bender et al. 2018 and Li and Talwalkar
    2019 (arXiv 1902.07638) do it.

    Parameters
    ----------
    glance : callable
        Takes an architecture, returns its validation error in percent with the shared weights.
    training : float
        Epochs that the shared weights were trained for.
    candidates : int
        How many are drawn and tried.
    each : float
        Epochs that one glance costs: a forward pass takes a third of a step, and fewer images are looked at.
    """

    name = "shared weights"

    def __init__(self, *arguments, glance: Callable[[Architecture], float], training: float, candidates: int = 200,
                 each: float = 0.0, **options) -> None:  # fmt: skip
        super().__init__(*arguments, **options)
        drawn = {self.space.blocks(one): one for one in (self.anything() for _ in range(candidates))}
        self.spent = training + each * len(drawn)
        self.glances = [(one, glance(one)) for one in drawn.values()]

    def ask(self) -> Trial | None:
        if not self.glances:
            return None
        taste = self.taste()
        best = max(self.glances, key=lambda one: taste(*one))
        self.glances.remove(best)
        return Trial(best[0], self.epochs)
