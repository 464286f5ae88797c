"""Unit 12, architecture search: wrong answers that some check must reject, and right ones that all must accept."""

import itertools
import random
from collections import deque

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nutshell.checks import alternative, mutant

# SearchSpace ---------------------------------------------------------------------------------------------------------


class _Space:
    def __init__(self, kernels, widths, stages, side=28, channels=1, classes=10):
        self.kernels, self.widths, self.stages = kernels, widths, stages
        self.side, self.channels, self.classes = side, channels, classes

    def stage_biases(self, outputs):
        return outputs

    def halved(self, side):
        return side // 2

    def head(self, channels, side):
        return (channels + 1) * self.classes, channels * self.classes

    def cost(self, architecture):
        parameters, macs, channels, side = 0, 0, self.channels, self.side
        for place in range(0, 2 * self.stages, 2):
            kernel, outputs = self.kernels[architecture[place]], self.widths[architecture[place + 1]]
            weights = kernel * kernel * channels * outputs
            parameters, macs = parameters + weights + self.stage_biases(outputs), macs + weights * side**2
            channels, side = outputs, self.halved(side)
        more, work = self.head(channels, side)
        return parameters + more, macs + work

    def random(self, chance):
        found = ()
        for _ in range(self.stages):
            found += (chance.randrange(len(self.kernels)), chance.randrange(len(self.widths)))
        return found

    def fits(self, architecture, most_parameters, most_macs):
        parameters, macs = self.cost(architecture)
        return parameters <= most_parameters and macs <= most_macs

    def space(self):
        return itertools.product(*([range(len(self.kernels)), range(len(self.widths))] * self.stages))

    def sample(self, count, most_parameters, most_macs, seed=0):
        chance = random.Random(seed)
        fitting = [a for a in self.space() if self.fits(a, most_parameters, most_macs)]
        if not fitting:
            raise ValueError("nothing fits")
        return [chance.choice(fitting) for _ in range(count)]


@mutant("SearchSpace")
class SpaceWithoutBiases(_Space):
    """The biases of the convolutions are not counted"""

    def stage_biases(self, outputs):
        return 0


@mutant("SearchSpace")
class SpaceWithoutPools(_Space):
    """Every stage is counted on the whole image"""

    def halved(self, side):
        return side


@mutant("SearchSpace")
class SpaceThatRoundsUp(_Space):
    """Odd sides are rounded up, as a padded pool would"""

    def halved(self, side):
        return (side + 1) // 2


@mutant("SearchSpace")
class SpaceWithFlattenedHead(_Space):
    """The linear layer sees every place, as if there were no global average pooling"""

    def head(self, channels, side):
        return (channels * side * side + 1) * self.classes, channels * side * side * self.classes


@mutant("SearchSpace")
class SpaceOfOneWidthIn(_Space):
    """Every stage takes the channels of the image, not those of the stage before"""

    def cost(self, architecture):
        parameters, macs, side, outputs = 0, 0, self.side, self.channels
        for place in range(0, 2 * self.stages, 2):
            kernel, outputs = self.kernels[architecture[place]], self.widths[architecture[place + 1]]
            weights = kernel * kernel * self.channels * outputs
            parameters, macs, side = parameters + weights + outputs, macs + weights * side**2, side // 2
        return parameters + (outputs + 1) * self.classes, macs + outputs * self.classes


@mutant("SearchSpace")
class SpaceThatForgetsOneCap(_Space):
    """Only the parameters are held under their cap"""

    def fits(self, architecture, most_parameters, most_macs):
        return self.cost(architecture)[0] <= most_parameters


@mutant("SearchSpace")
class SpaceWithStrictCaps(_Space):
    """What is exactly at the cap is left out"""

    def fits(self, architecture, most_parameters, most_macs):
        parameters, macs = self.cost(architecture)
        return parameters < most_parameters and macs < most_macs


@mutant("SearchSpace")
class SpaceThatShrinks(_Space):
    """What doesn't fit is made smaller until it does, so that small networks are drawn too often"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        if not any(self.fits(a, most_parameters, most_macs) for a in self.space()):
            raise ValueError("nothing fits")
        chance, drawn = random.Random(seed), []
        for _ in range(count):
            found = list(self.random(chance))
            while not self.fits(tuple(found), most_parameters, most_macs):
                place = chance.randrange(len(found))
                found[place] = max(0, found[place] - 1)
            drawn.append(tuple(found))
        return drawn


@mutant("SearchSpace")
class SpaceThatReturnsFewer(_Space):
    """Draws count times and drops what doesn't fit, so fewer come back"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        if not any(self.fits(a, most_parameters, most_macs) for a in self.space()):
            raise ValueError("nothing fits")
        chance = random.Random(seed)
        drawn = [self.random(chance) for _ in range(count)]
        return [a for a in drawn if self.fits(a, most_parameters, most_macs)]


@mutant("SearchSpace")
class SpaceWithoutSeed(_Space):
    """The seed is not used"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        fitting = [a for a in self.space() if self.fits(a, most_parameters, most_macs)]
        if not fitting:
            raise ValueError("nothing fits")
        return [random.SystemRandom().choice(fitting) for _ in range(count)]


@mutant("SearchSpace")
class SpaceOfOneDraw(_Space):
    """Makes a new generator of the seed for each draw, so that all are the same"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        drawn = []
        for _ in range(count):
            drawn += super().sample(1, most_parameters, most_macs, seed)
        return drawn


@mutant("SearchSpace")
class SpaceStageByStage(_Space):
    """Chooses place by place among the options with which something still fits"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        fitting = [a for a in self.space() if self.fits(a, most_parameters, most_macs)]
        if not fitting:
            raise ValueError("nothing fits")
        chance, drawn = random.Random(seed), []
        for _ in range(count):
            begun = ()
            while len(begun) < 2 * self.stages:
                begun += (chance.choice(sorted({a[len(begun)] for a in fitting if a[: len(begun)] == begun})),)
            drawn.append(begun)
        return drawn


@mutant("SearchSpace")
class SpaceOfThinFilters(_Space):
    """A filter has K numbers a channel in place of K²"""

    def cost(self, architecture):
        parameters, macs, channels, side = 0, 0, self.channels, self.side
        for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
            weights = self.kernels[kernel] * channels * self.widths[width]
            parameters, macs = parameters + weights + self.widths[width], macs + weights * side**2
            channels, side = self.widths[width], side // 2
        more, work = self.head(channels, side)
        return parameters + more, macs + work


@mutant("SearchSpace")
class SpaceOfValues(_Space):
    """Draws kernels and widths themselves, not the numbers of the options"""

    def sample(self, count, most_parameters, most_macs, seed=0):
        drawn = super().sample(count, most_parameters, most_macs, seed)
        return [tuple((self.widths if place % 2 else self.kernels)[option] for place, option in enumerate(one))
                for one in drawn]


@alternative("SearchSpace")
class SpaceByRejection:
    """Draws from the whole space until something fits, and gives up only when nothing can"""

    def __init__(self, kernels, widths, stages, side=28, channels=1, classes=10):
        self.sides = [side >> stage for stage in range(stages)]
        self.options = list(kernels), list(widths)
        self.channels, self.classes = channels, classes

    def cost(self, architecture):
        kernels = [self.options[0][option] for option in architecture[0::2]]
        widths = [self.channels] + [self.options[1][option] for option in architecture[1::2]]
        layers = [kernels[s] ** 2 * widths[s] * widths[s + 1] for s in range(len(self.sides))]
        macs = sum(layer * side**2 for layer, side in zip(layers, self.sides, strict=True))
        head = widths[-1] * self.classes
        return [sum(layers) + sum(widths[1:]) + head + self.classes, macs + head]

    def sample(self, count, most_parameters, most_macs, seed=0):
        places = [len(self.options[place % 2]) for place in range(2 * len(self.sides))]
        every = itertools.product(*map(range, places))
        if not any(p <= most_parameters and m <= most_macs for p, m in map(self.cost, every)):
            raise ValueError("no architecture fits")
        rng, drawn = np.random.default_rng(seed), []
        while len(drawn) < count:
            architecture = tuple(rng.integers(places).tolist())
            parameters, macs = self.cost(architecture)
            if parameters <= most_parameters and macs <= most_macs:
                drawn.append(architecture)
        return drawn


@alternative("SearchSpace")
class SpaceThatBuilds(_Space):
    """Makes the layers on the meta device and counts their numbers"""

    def cost(self, architecture):
        x = torch.zeros(1, self.channels, self.side, self.side, device="meta")
        parameters = macs = 0
        for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
            layer = nn.Conv2d(x.shape[1], self.widths[width], self.kernels[kernel], padding="same", device="meta")
            x = layer(x)
            parameters += sum(p.numel() for p in layer.parameters())
            macs += layer.weight.numel() * x.shape[2] * x.shape[3]
            x = functional.max_pool2d(x, 2)
        return parameters + self.classes * (x.shape[1] + 1), macs + self.classes * x.shape[1]

    def sample(self, count, most_parameters, most_macs, seed=0):
        fitting = torch.tensor([a for a in self.space() if self.fits(a, most_parameters, most_macs)])
        if len(fitting) == 0:
            raise ValueError("nothing fits")
        drawn = torch.randint(len(fitting), (count,), generator=torch.Generator().manual_seed(seed))
        return [tuple(row) for row in fitting[drawn].tolist()]


# mutate --------------------------------------------------------------------------------------------------------------


def _places(architecture, options):
    if len(architecture) != len(options):
        raise ValueError("lengths differ")
    places = [place for place in range(len(options)) if options[place] > 1]
    if not places:
        raise ValueError("nothing to change")
    return places


def _changed(architecture, place, option):
    found = list(architecture)
    found[place] = option
    return tuple(found)


@mutant("mutate")
def mutate_from_all(architecture, options, seed=0):
    """Draws the new option from all, the old one among them"""
    chance = random.Random(seed)
    place = chance.choice(_places(architecture, options))
    return _changed(architecture, place, chance.randrange(options[place]))


@mutant("mutate")
def mutate_each_place(architecture, options, seed=0):
    """Every place may change, each with some probability"""
    _places(architecture, options)
    chance = random.Random(seed)
    return tuple(chance.randrange(n) if chance.random() < 1 / len(options) else a
                 for a, n in zip(architecture, options, strict=True))


@mutant("mutate")
def mutate_to_the_next(architecture, options, seed=0):
    """Only the next option up may come"""
    place = random.Random(seed).choice(_places(architecture, options))
    return _changed(architecture, place, (architecture[place] + 1) % options[place])


@mutant("mutate")
def mutate_among_neighbours(architecture, options, seed=0):
    """All neighbours are equally likely, so that places with many options change more often"""
    places = _places(architecture, options)
    neighbours = [_changed(architecture, place, option) for place in places for option in range(options[place])
                  if option != architecture[place]]
    return random.Random(seed).choice(neighbours)


@mutant("mutate")
def mutate_a_list(architecture, options, seed=0):
    """Returns a list, which can't be looked up in a table"""
    chance = random.Random(seed)
    place = chance.choice(_places(architecture, options))
    others = [option for option in range(options[place]) if option != architecture[place]]
    return list(_changed(architecture, place, chance.choice(others)))


@mutant("mutate")
def mutate_with_options_of_the_first(architecture, options, seed=0):
    """Takes the number of options from the first place with a choice for all places"""
    chance = random.Random(seed)
    places = _places(architecture, options)
    place = chance.choice(places)
    others = [option for option in range(options[places[0]]) if option != architecture[place]]
    return _changed(architecture, place, chance.choice(others))


@mutant("mutate")
def mutate_with_two_generators(architecture, options, seed=0):
    """Place and option come from two generators of the same seed, so that one decides the other"""
    place = random.Random(seed).choice(_places(architecture, options))
    others = [option for option in range(options[place]) if option != architecture[place]]
    return _changed(architecture, place, random.Random(seed).choice(others))


@mutant("mutate")
def mutate_where_nothing_can_change(architecture, options, seed=0):
    """Draws among all places, and changes nothing at one that has a single option"""
    _places(architecture, options)
    chance = random.Random(seed)
    place = chance.randrange(len(options))
    others = [option for option in range(options[place]) if option != architecture[place]]
    return _changed(architecture, place, chance.choice(others)) if others else architecture


@alternative("mutate")
def mutate_by_a_shift(architecture, options, seed=0):
    """Adds 1 to n − 1, and takes the remainder"""
    rng = np.random.default_rng(seed)
    place = int(rng.choice(_places(architecture, options)))
    return _changed(architecture, place, (architecture[place] + int(rng.integers(1, options[place]))) % options[place])


@alternative("mutate")
def mutate_until_it_differs(architecture, options, seed=0):
    """Draws from all options until another one comes"""
    places = _places(architecture, options)
    generator = torch.Generator().manual_seed(seed)
    place = places[int(torch.randint(len(places), (), generator=generator))]
    option = architecture[place]
    while option == architecture[place]:
        option = int(torch.randint(options[place], (), generator=generator))
    return _changed(architecture, place, option)


# ageing_evolution ----------------------------------------------------------------------------------------------------


def _child(chance, parent, options):
    place = chance.randrange(len(options))
    return _changed(parent, place, chance.choice([o for o in range(options[place]) if o != parent[place]]))


def _best(members, scores):
    return max(members, key=lambda member: scores[member[0]])


def _oldest(members, scores):
    return members[0]


def _worst(members, scores):
    return min(members, key=lambda member: scores[member[0]])


def _evolved(scores, options, population, tournament, trials, seed, choose=_best, dies=_oldest, make=_child,
             several=random.Random.sample):
    if not 1 <= tournament <= population <= trials:
        raise ValueError("numbers")
    chance = random.Random(seed)
    born, members = [], []
    for number in range(trials):
        if number < population:
            member = (tuple(chance.randrange(n) for n in options), number)
            born.append((member[0], -1))
        else:
            parent = choose(several(chance, members, k=tournament), scores)
            member = (make(chance, parent[0], options), number)
            born.append((member[0], parent[1]))
        members.append(member)
        if len(members) > population:
            members.remove(dies(members, scores))
    return born


@mutant("ageing_evolution")
def evolution_kills_the_worst(scores, options, population, tournament, trials, seed=0):
    """The worst member dies, not the oldest"""
    return _evolved(scores, options, population, tournament, trials, seed, dies=_worst)


@mutant("ageing_evolution")
def evolution_kills_the_loser(scores, options, population, tournament, trials, seed=0):
    """The worst of a second tournament dies, as in evolution without ageing"""
    def loser(members, scores):
        return _worst(random.Random(len(members)).sample(members, tournament), scores)

    return _evolved(scores, options, population, tournament, trials, seed, dies=loser)


@mutant("ageing_evolution")
def evolution_without_death(scores, options, population, tournament, trials, seed=0):
    """Nobody dies: the population grows"""
    if not 1 <= tournament <= population <= trials:
        raise ValueError("numbers")
    chance = random.Random(seed)
    born = [(tuple(chance.randrange(n) for n in options), -1) for _ in range(population)]
    while len(born) < trials:
        parent = max(chance.sample(range(len(born)), tournament), key=lambda i: scores[born[i][0]])
        born.append((_child(chance, born[parent][0], options), parent))
    return born


@mutant("ageing_evolution")
def evolution_kills_the_youngest(scores, options, population, tournament, trials, seed=0):
    """A stack in place of a queue: the youngest dies"""
    return _evolved(scores, options, population, tournament, trials, seed, dies=lambda members, _: members[-2])


@mutant("ageing_evolution")
def evolution_of_losers(scores, options, population, tournament, trials, seed=0):
    """The worst of the tournament becomes the parent, as if scores were errors"""
    return _evolved(scores, options, population, tournament, trials, seed, choose=_worst)


@mutant("ageing_evolution")
def evolution_with_replacement(scores, options, population, tournament, trials, seed=0):
    """The same member may be in a tournament twice"""
    return _evolved(scores, options, population, tournament, trials, seed, several=random.Random.choices)


@mutant("ageing_evolution")
def evolution_of_the_best(scores, options, population, tournament, trials, seed=0):
    """No tournament is drawn: the best of the population is always the parent"""
    return _evolved(scores, options, population, tournament, trials, seed, several=lambda chance, members, k: members)


@mutant("ageing_evolution")
def evolution_of_strangers(scores, options, population, tournament, trials, seed=0):
    """The child is a random architecture"""
    return _evolved(scores, options, population, tournament, trials, seed,
                    make=lambda chance, parent, options: tuple(chance.randrange(n) for n in options))


@mutant("ageing_evolution")
def evolution_that_repeats(scores, options, population, tournament, trials, seed=0):
    """The child may be its parent again"""
    def child(chance, parent, options):
        place = chance.randrange(len(options))
        return _changed(parent, place, chance.randrange(options[place]))

    return _evolved(scores, options, population, tournament, trials, seed, make=child)


@mutant("ageing_evolution")
def evolution_with_one_seed(scores, options, population, tournament, trials, seed=0):
    """mutate gets the same seed at every birth, so that the same place changes each time"""
    return _evolved(scores, options, population, tournament, trials, seed,
                    make=lambda chance, parent, options: _child(random.Random(seed), parent, options))


@mutant("ageing_evolution")
def evolution_that_buries_first(scores, options, population, tournament, trials, seed=0):
    """The oldest leaves before the tournament is drawn"""
    def several(chance, members, k):
        left = members[1:] or members
        return chance.sample(left, min(k, len(left)))

    return _evolved(scores, options, population, tournament, trials, seed, several=several)


@mutant("ageing_evolution")
def evolution_that_spares_the_best(scores, options, population, tournament, trials, seed=0):
    """The oldest dies unless it is the best"""
    def oldest_but_best(members, scores):
        best = _best(members, scores)
        return next((member for member in members if member is not best), best)

    return _evolved(scores, options, population, tournament, trials, seed, dies=oldest_but_best)


@mutant("ageing_evolution")
def evolution_with_free_ancestors(scores, options, population, tournament, trials, seed=0):
    """The first population isn't counted among the trials"""
    return _evolved(scores, options, population, tournament, trials + population, seed)


@mutant("ageing_evolution")
def evolution_with_places_as_parents(scores, options, population, tournament, trials, seed=0):
    """The parent's number is its place in the population, not in the history"""
    born = _evolved(scores, options, population, tournament, trials, seed)
    return [(child, parent if parent < 0 else parent - (number - population))
            for number, (child, parent) in enumerate(born)]


@mutant("ageing_evolution")
def evolution_from_a_clone(scores, options, population, tournament, trials, seed=0):
    """The first population is one architecture, many times"""
    born = _evolved(scores, options, population, tournament, trials, seed)
    first = born[0][0]
    chance, history = random.Random(seed), [(first, -1)] * population
    while len(history) < trials:
        alive = range(len(history) - population, len(history))
        parent = max(chance.sample(alive, tournament), key=lambda i: scores[history[i][0]])
        history.append((_child(chance, history[parent][0], options), parent))
    return history


@alternative("ageing_evolution")
def evolution_with_a_queue(scores, options, population, tournament, trials, seed=0):
    """A queue of a fixed length, from which the oldest falls out by itself"""
    if tournament < 1 or tournament > population or trials < population:
        raise ValueError("tournament, population and trials don't fit")
    rng = np.random.default_rng(seed)
    members, history = deque(maxlen=population), []

    def arrives(architecture, parent):
        members.append((scores[architecture], len(history), architecture))
        history.append((architecture, parent))

    for _ in range(population):
        arrives(tuple(int(rng.integers(n)) for n in options), -1)
    for _ in range(trials - population):
        chosen = rng.permutation(population)[:tournament]
        _, number, architecture = max(members[i] for i in chosen)
        place = int(rng.integers(len(options)))
        shift = int(rng.integers(1, options[place]))
        arrives(_changed(architecture, place, (architecture[place] + shift) % options[place]), number)
    return history


@alternative("ageing_evolution")
def evolution_with_numbered_seeds(scores, options, population, tournament, trials, seed=0):
    """Each birth has a generator of its own, from the seed and its number"""
    births = itertools.count(seed)
    return _evolved(scores, options, population, tournament, trials, seed,
                    make=lambda chance, parent, options: _child(random.Random(next(births)), parent, options))


@alternative("ageing_evolution")
def evolution_by_generations_of_lists(scores, options, population, tournament, trials, seed=0):
    """Lists of members, the first one removed at each birth"""
    return _evolved(scores, options, population, tournament, trials, seed)


# reinforce_step ------------------------------------------------------------------------------------------------------


def _slopes(logits, actions):
    return functional.one_hot(actions, logits.shape[1]).to(logits.dtype) - logits.softmax(1)


@mutant("reinforce_step")
def reinforce_downhill(logits, actions, rewards, rate, baseline=0.0):
    """Subtracts the gradient, as one does with a loss"""
    return logits - rate * ((rewards - baseline)[:, None, None] * _slopes(logits, actions)).mean(0)


@mutant("reinforce_step")
def reinforce_by_the_sum(logits, actions, rewards, rate, baseline=0.0):
    """Adds the batch up in place of averaging it"""
    return logits + rate * ((rewards - baseline)[:, None, None] * _slopes(logits, actions)).sum(0)


@mutant("reinforce_step")
def reinforce_without_baseline(logits, actions, rewards, rate, baseline=0.0):
    """The baseline is not used"""
    return logits + rate * (rewards[:, None, None] * _slopes(logits, actions)).mean(0)


@mutant("reinforce_step")
def reinforce_only_what_was_taken(logits, actions, rewards, rate, baseline=0.0):
    """Pushes up what was taken and nothing down"""
    taken = functional.one_hot(actions, logits.shape[1]).to(logits.dtype)
    return logits + rate * ((rewards - baseline)[:, None, None] * taken).mean(0)


@mutant("reinforce_step")
def reinforce_without_log(logits, actions, rewards, rate, baseline=0.0):
    """Follows the gradient of π, not that of log π"""
    chances = logits.softmax(1)[torch.arange(logits.shape[0]), actions].prod(1)
    return logits + rate * (((rewards - baseline) * chances)[:, None, None] * _slopes(logits, actions)).mean(0)


@mutant("reinforce_step")
def reinforce_softmax_over_places(logits, actions, rewards, rate, baseline=0.0):
    """The softmax runs over the places"""
    taken = functional.one_hot(actions, logits.shape[1]).to(logits.dtype)
    return logits + rate * ((rewards - baseline)[:, None, None] * (taken - logits.softmax(0))).mean(0)


@mutant("reinforce_step")
def reinforce_with_a_bare_exponential(logits, actions, rewards, rate, baseline=0.0):
    """exp(logits) / sum overflows where logits are large"""
    chances = logits.exp() / logits.exp().sum(1, keepdim=True)
    taken = functional.one_hot(actions, logits.shape[1]).to(logits.dtype)
    return logits + rate * ((rewards - baseline)[:, None, None] * (taken - chances)).mean(0)


@mutant("reinforce_step")
def reinforce_normalises_rewards(logits, actions, rewards, rate, baseline=0.0):
    """Divides the rewards by their spread, which is another step"""
    advantages = (rewards - baseline) / (rewards.std(unbiased=False) + 1e-8)
    return logits + rate * (advantages[:, None, None] * _slopes(logits, actions)).mean(0)


@mutant("reinforce_step")
def reinforce_in_place(logits, actions, rewards, rate, baseline=0.0):
    """Changes the logits that it was given"""
    logits += rate * ((rewards - baseline)[:, None, None] * _slopes(logits, actions)).mean(0)
    return logits


@mutant("reinforce_step")
def reinforce_in_turn(logits, actions, rewards, rate, baseline=0.0):
    """Each architecture's step begins where the last one ended"""
    for action, reward in zip(actions, rewards, strict=True):
        logits = logits + rate / len(actions) * (reward - baseline) * _slopes(logits, action)
    return logits


@mutant("reinforce_step")
def reinforce_averages_places(logits, actions, rewards, rate, baseline=0.0):
    """The mean of the places' log π, as a loss function's default gives it"""
    return logits + rate / len(logits) * ((rewards - baseline)[:, None, None] * _slopes(logits, actions)).mean(0)


@alternative("reinforce_step")
def reinforce_by_autograd(logits, actions, rewards, rate, baseline=0.0):
    """Lets autograd differentiate the mean of (R − baseline) · log π"""
    leaf = logits.detach().clone().requires_grad_()
    chosen = torch.log_softmax(leaf, 1)[torch.arange(len(leaf)), actions]  # (batch, places)
    ((rewards - baseline) * chosen.sum(1)).mean().backward()
    return leaf.detach() + rate * leaf.grad


@alternative("reinforce_step")
def reinforce_one_by_one(logits, actions, rewards, rate, baseline=0.0):
    """Loops over the batch and the places"""
    new, chances = logits.detach().clone(), torch.softmax(logits.detach(), dim=-1)
    for action, reward in zip(actions, rewards, strict=True):
        for place, option in enumerate(action.tolist()):
            weight = rate * (float(reward) - baseline) / len(actions)
            new[place] -= weight * chances[place]
            new[place, option] += weight
    return new


# SharedConv ----------------------------------------------------------------------------------------------------------


class _Shared(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel)

    def parts(self, channels, outputs, kernel):
        most, largest = self.conv.out_channels, self.conv.kernel_size[0]
        if not 0 < outputs <= most or kernel not in range(1, largest + 1, 2):
            raise ValueError((outputs, kernel))
        first = (largest - kernel) // 2
        middle = slice(first, first + kernel)
        return self.conv.weight[:outputs, :channels, middle, middle], self.conv.bias[:outputs]

    def forward(self, x, outputs, kernel):
        weight, bias = self.parts(x.shape[1], outputs, kernel)
        return functional.conv2d(x, weight, bias, padding=kernel // 2)


@mutant("SharedConv")
class SharedCorner(_Shared):
    """Takes the corner of the kernel, not its middle"""

    def forward(self, x, outputs, kernel):
        self.parts(x.shape[1], outputs, kernel)
        weight = self.conv.weight[:outputs, : x.shape[1], :kernel, :kernel]
        return functional.conv2d(x, weight, self.conv.bias[:outputs], padding=kernel // 2)


@mutant("SharedConv")
class SharedFromHalf(_Shared):
    """The slice begins at kernel // 2, the middle of a 5×5 kernel for 3×3 and for nothing else"""

    def forward(self, x, outputs, kernel):
        weight, bias = self.parts(x.shape[1], outputs, self.conv.kernel_size[0])
        middle = slice(kernel // 2, kernel // 2 + kernel)
        self.parts(x.shape[1], outputs, kernel)
        return functional.conv2d(x, weight[:, :, middle, middle], bias, padding=kernel // 2)


@mutant("SharedConv")
class SharedLastFilters(_Shared):
    """Takes the last filters"""

    def forward(self, x, outputs, kernel):
        self.parts(x.shape[1], outputs, kernel)
        weight, bias = self.parts(x.shape[1], self.conv.out_channels, kernel)
        return functional.conv2d(x, weight[-outputs:], bias[-outputs:], padding=kernel // 2)


@mutant("SharedConv")
class SharedCopies(_Shared):
    """Works on a copy of the slice, which gets no gradient"""

    def forward(self, x, outputs, kernel):
        weight, bias = self.parts(x.shape[1], outputs, kernel)
        return functional.conv2d(x, weight.data, bias, padding=kernel // 2)


@mutant("SharedConv")
class SharedWithLargePadding(_Shared):
    """Pads for the largest kernel, so that the output grows"""

    def forward(self, x, outputs, kernel):
        weight, bias = self.parts(x.shape[1], outputs, kernel)
        return functional.conv2d(x, weight, bias, padding=self.conv.kernel_size[0] // 2)


@mutant("SharedConv")
class SharedWithWholeKernel(_Shared):
    """Cuts channels and filters, and runs the whole kernel whatever is asked for"""

    def forward(self, x, outputs, kernel):
        self.parts(x.shape[1], outputs, kernel)
        weight, bias = self.parts(x.shape[1], outputs, self.conv.kernel_size[0])
        return functional.conv2d(x, weight, bias, padding=self.conv.kernel_size[0] // 2)


@mutant("SharedConv")
class SharedNothing(nn.Module):
    """A convolution of its own for each kernel: nothing is shared between them"""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, side) for side in range(1, kernel + 1, 2))

    def forward(self, x, outputs, kernel):
        conv = self.convs[kernel // 2]
        return functional.conv2d(x, conv.weight[:outputs, : x.shape[1]], conv.bias[:outputs], padding=kernel // 2)


@mutant("SharedConv")
class SharedWithoutTests(_Shared):
    """Whatever is asked for is cut without a word"""

    def parts(self, channels, outputs, kernel):
        first = max(0, (self.conv.kernel_size[0] - kernel) // 2)
        weight = self.conv.weight[:outputs, :channels, first : first + kernel, first : first + kernel]
        return weight, self.conv.bias[:outputs]


@alternative("SharedConv")
class SharedParameters(nn.Module):
    """Parameters of its own, started by hand, and narrow() in place of slices"""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        limit = (inputs * kernel * kernel) ** -0.5
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-limit, limit))
        self.kernels = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel).uniform_(-limit, limit))

    def forward(self, x, outputs, kernel):
        most, _, largest, _ = self.kernels.shape
        if outputs < 1 or outputs > most or kernel < 1 or kernel > largest or kernel % 2 == 0:
            raise ValueError(f"{outputs} outputs, kernel {kernel}")
        edge = (largest - kernel) // 2
        weight = self.kernels.narrow(0, 0, outputs).narrow(1, 0, x.shape[1])
        weight = weight.narrow(2, edge, kernel).narrow(3, edge, kernel)
        return functional.conv2d(x, weight, self.bias.narrow(0, 0, outputs), padding="same")


@alternative("SharedConv")
class SharedByMasking(_Shared):
    """Cuts the border of the kernel to zero and adds channels of zeros: the same output, and all the work"""

    def forward(self, x, outputs, kernel):
        self.parts(x.shape[1], outputs, kernel)
        largest = self.conv.kernel_size[0]
        edge = (largest - kernel) // 2
        mask = torch.zeros(largest, largest)
        mask[edge : edge + kernel, edge : edge + kernel] = 1
        x = functional.pad(x, (0, 0, 0, 0, 0, self.conv.in_channels - x.shape[1]))
        every = functional.conv2d(x, self.conv.weight * mask, self.conv.bias, padding=largest // 2)
        return every[:, :outputs]


# pareto_front --------------------------------------------------------------------------------------------------------


@mutant("pareto_front")
def front_of_the_large(points):
    """Larger is taken for better"""
    rows = (-points).tolist()
    return [i for i, a in enumerate(rows) if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True))
                                                     for b in rows)]


@mutant("pareto_front")
def front_without_equals(points):
    """Of equal points only the first is kept"""
    rows = points.tolist()
    return [i for i, a in enumerate(rows) if a not in rows[:i]
            and not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in rows)]


@mutant("pareto_front")
def front_where_equals_kill(points):
    """Nowhere larger is enough, so equal points knock one another out"""
    rows = points.tolist()
    return [i for i, a in enumerate(rows)
            if not any(j != i and all(x <= y for x, y in zip(b, a, strict=True)) for j, b in enumerate(rows))]


@mutant("pareto_front")
def front_of_the_strict(points):
    """Only a point that is smaller in every number dominates"""
    rows = points.tolist()
    return [i for i, a in enumerate(rows) if not any(all(x < y for x, y in zip(b, a, strict=True)) for b in rows)]


@mutant("pareto_front")
def front_by_the_first_two(points):
    """Sweeps over the first quantity and keeps the least second one: other quantities are forgotten, ties lost"""
    rows, best, found = points.tolist(), float("inf"), []
    for i in sorted(range(len(rows)), key=lambda i: rows[i]):
        last = rows[i][1] if len(rows[i]) > 1 else rows[i][0]
        if last < best:
            found.append(i)
            best = last
    return sorted(found)


@mutant("pareto_front")
def front_as_a_mask(points):
    """Says of each point whether it is on the front"""
    rows = points.tolist()
    return [not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in rows) for a in rows]


@mutant("pareto_front")
def front_of_the_nowhere_beaten(points):
    """A point goes as soon as another is smaller in any number"""
    rows = points.tolist()
    return [i for i, a in enumerate(rows) if not any(any(x < y for x, y in zip(b, a, strict=True)) for b in rows)]


@mutant("pareto_front")
def front_sorted_by_cost(points):
    """The right points, in the order of the first quantity"""
    rows = points.tolist()
    found = [i for i, a in enumerate(rows) if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True))
                                                      for b in rows)]
    return sorted(found, key=lambda i: rows[i])


@mutant("pareto_front")
def front_of_the_points(points):
    """Returns the points and not their numbers"""
    rows = points.tolist()
    return [a for a in rows if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in rows)]


@alternative("pareto_front")
def front_by_pairs(points):
    """Compares every pair in Python"""
    rows = [tuple(row) for row in points.tolist()]
    return [i for i, own in enumerate(rows) if not any(
        other != own and all(x <= y for x, y in zip(other, own, strict=True)) for other in rows)]


@alternative("pareto_front")
def front_in_sorted_order(points):
    """Goes through the rows in lexical order: only an earlier one can dominate"""
    table, found = points.double().numpy(), []
    for row in np.lexsort(table.T[::-1]) if len(table) else []:
        kept = table[found]
        beaten = (kept <= table[row]).all(1) & (kept < table[row]).any(1)
        if not beaten.any():
            found.append(int(row))
    return sorted(found)


# successive_halving --------------------------------------------------------------------------------------------------


def _halved(errors, rate, first, judge=None, keep=None, anew=False):
    candidates, epochs = errors.shape
    if rate < 2 or first < 1 or first > epochs:
        raise ValueError("rate or first")
    alive, target, done, spent, rounds = list(range(candidates)), first, 0, 0, []
    while True:
        spent += len(alive) * (target if anew else target - done)
        done = target
        rounds.append((done, alive))
        if len(alive) == 1 or done == epochs:
            return rounds, spent
        column = errors[:, done - 1 if judge is None else judge]
        count = max(1, len(alive) // rate) if keep is None else keep(len(alive))
        alive = sorted(sorted(alive, key=lambda c: (float(column[c]), c))[:count])
        target = min(done * rate, epochs)


@mutant("successive_halving")
def halving_knows_the_end(errors, rate=2, first=1):
    """Compares by the error after the last epoch, which hasn't been trained yet"""
    return _halved(errors, rate, first, judge=-1)


@mutant("successive_halving")
def halving_trains_anew(errors, rate=2, first=1):
    """Counts whoever goes on as trained from the start again"""
    return _halved(errors, rate, first, anew=True)


@mutant("successive_halving")
def halving_rounds_up(errors, rate=2, first=1):
    """Keeps one too many where the number doesn't divide"""
    return _halved(errors, rate, first, keep=lambda n: -(-n // rate) if n > rate else 1)


@mutant("successive_halving")
def halving_always_halves(errors, rate=2, first=1):
    """Keeps the better half whatever the rate is"""
    return _halved(errors, rate, first, keep=lambda n: max(1, n // 2))


@mutant("successive_halving")
def halving_knows_the_next_epoch(errors, rate=2, first=1):
    """Takes the column of the epoch to come, one further than has been trained"""
    return _halved(torch.cat([errors[:, 1:], errors[:, -1:]], 1), rate, first)


@mutant("successive_halving")
def halving_by_the_best_so_far(errors, rate=2, first=1):
    """Compares by the smallest error of all epochs so far"""
    return _halved(errors.cummin(1).values, rate, first)


@mutant("successive_halving")
def halving_stops_at_one(errors, rate=2, first=1):
    """The one candidate that is left is not trained on"""
    rounds, spent = _halved(errors, rate, first)
    if len(rounds) > 1 and len(rounds[-1][1]) == 1:
        spent -= rounds[-1][0] - rounds[-2][0]
        rounds = rounds[:-1]
    return rounds, spent


@alternative("successive_halving")
def halving_by_stable_argsort(errors, rate=2, first=1):
    """A stable argsort of the column keeps the earlier of equals"""
    if rate < 2 or not 1 <= first <= errors.shape[1]:
        raise ValueError("rate must be at least 2, first 1 to the epochs")
    alive = torch.arange(errors.shape[0])
    done, spent, rounds = first, first * len(alive), [(first, alive.tolist())]
    while len(alive) > 1 and done < errors.shape[1]:
        order = errors[alive, done - 1].argsort(stable=True)
        alive = alive[order[: max(1, len(alive) // rate)]].sort().values
        more = min(done * rate, errors.shape[1]) - done
        done, spent = done + more, spent + more * len(alive)
        rounds.append((done, alive.tolist()))
    return rounds, spent


# hypervolume ---------------------------------------------------------------------------------------------------------


@mutant("hypervolume")
def volume_of_all_boxes(points, corner):
    """Adds up the boxes of all points, overlaps twice"""
    return float((corner - points).clamp_min(0).prod(1).sum())


@mutant("hypervolume")
def volume_with_points_beyond(points, corner):
    """Sweeps over all points, those beyond the corner too"""
    area, floor = 0.0, float(corner[1])
    for x, y in sorted(points.tolist()):
        area += (float(corner[0]) - x) * max(0.0, floor - y)
        floor = min(floor, y)
    return area


@mutant("hypervolume")
def volume_in_the_order_given(points, corner):
    """Doesn't sort the points first"""
    area, floor = 0.0, float(corner[1])
    for x, y in points.tolist():
        if x < corner[0] and y < floor:
            area += (float(corner[0]) - x) * (floor - y)
            floor = y
    return area


@mutant("hypervolume")
def volume_of_trapezes(points, corner):
    """Joins the points by slanted lines"""
    inside = points[(points < corner).all(1)]
    if not len(inside):
        return 0.0
    order = inside[inside[:, 0].argsort()]
    heights = corner[1] - order[:, 1].cummin(0).values
    return float(torch.trapezoid(torch.cat([heights, heights[-1:]]), torch.cat([order[:, 0], corner[:1]])))


@alternative("hypervolume")
def volume_by_columns(points, corner):
    """Cuts at every x, and takes the least y so far in each strip"""
    inside = points[(points < corner).all(1)]
    if not len(inside):
        return 0.0
    order = inside[inside[:, 0].argsort()]
    heights = corner[1] - order[:, 1].cummin(0).values
    ends = torch.cat([order[1:, 0], corner[:1]])
    return float(((ends - order[:, 0]) * heights).sum())
