"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import itertools
import math
from collections import Counter
from functools import lru_cache
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from nutshell import expect, meter
from nutshell.checks import check
from nutshell.wire.standins import inout

SPACES = (  # kernels, widths, stages, side, channels, classes
    ((1, 3, 5), (4, 8, 16), 2, 28, 1, 10),
    ((3,), (2, 5, 7, 11), 3, 15, 3, 4),
    ((5, 1, 3), (6, 3), 1, 9, 2, 7),
)

SIGMAS = 5.0  # how far from its expectation a count may be; chance goes further in fewer than one check in a million


@check("SearchSpace", weight=2)
def cost_is_that_of_the_network(learner, reference, rng):
    """Parameters and MACs are those of the network that the architecture stands for: three spaces, odd sizes too"""
    for numbers in SPACES:
        _check_costs(learner, rng, numbers, 4)


@check("SearchSpace", weight=0.5)
def cost_of_the_ends(learner, reference, rng):
    """The smallest and the largest network of the space"""
    for numbers in (SPACES[0], ((1,), (1,), 3, 8, 1, 2)):
        space = learner.SearchSpace(*numbers)
        for end in (0, -1):
            places = [range(len(numbers[0])), range(len(numbers[1]))] * numbers[2]
            _check_cost(space, numbers, tuple(place[end] for place in places))


@check("SearchSpace")
def samples_fit(learner, reference, rng):
    """Every architecture drawn is one of the space and inside both caps; the cap itself is allowed"""
    space, numbers = learner.SearchSpace(*SPACES[0]), SPACES[0]
    known = _all_costs(numbers)
    for most_parameters, most_macs in ((500, 10**9), (10**9, 60_000), (900, 120_000), (78, 6_312)):
        drawn = _sample(space, 40, most_parameters, most_macs)
        expect.equal(len(drawn), 40, "the number of architectures drawn",
                     next_step="count says how many are wanted; the same one may be drawn twice.")
        for architecture in drawn:
            expect.that(architecture in known, "architectures of the space, one number from 0 for each choice",
                        expect.show(architecture), cause="A number is no option of its place, or there are too few.",
                        next_step="The numbers say which option, not what it is: 0 is the first kernel.")
            parameters, macs = known[architecture]
            expect.that(parameters <= most_parameters and macs <= most_macs,
                        f"at most {most_parameters:,} parameters and {most_macs:,} MACs",
                        f"{architecture}, which has {parameters:,} and {macs:,}",
                        cause="Not both caps are tested, or not by the cost of the whole network.",
                        next_step="Compare cost(…) of what you draw with both caps.")


@check("SearchSpace")
def samples_are_equally_likely(learner, reference, rng):
    """Each architecture that fits is drawn equally often, but for chance"""
    _check_even(learner, SPACES[0], 700, 10**9, int(rng.integers(2**31)))
    _check_even(learner, ((1, 3), (2, 5), 2, 12, 1, 3), 100, 10**9, int(rng.integers(2**31)))


@check("SearchSpace", weight=0.5)
def seeds_decide_the_samples(learner, reference, rng):
    """The same seed draws the same, another seed something else; where nothing fits, it is a ValueError"""
    space = learner.SearchSpace(*SPACES[0])
    first, again, other = (_sample(space, 20, 10**9, 10**9, seed) for seed in (3, 3, 4))
    _check_seeds(first, again, other)
    for caps in ((77, 10**9), (10**9, 6_311), (100, 10)):
        _refuses(space.sample, 1, *caps, why=f"the smallest network is above a cap of {caps}")


@lru_cache(maxsize=4096)
def _convolution(channels, outputs, kernel, side):
    """Weights, biases and MACs of a convolution that keeps the size, by the meter."""
    with torch.device("meta"):
        layer = nn.Conv2d(channels, outputs, kernel, padding="same")
    return layer.weight.numel(), layer.bias.numel(), meter.count(layer, (1, channels, side, side)).macs


def _layers(numbers, architecture):
    """Parameters, biases and MACs of each layer, from the layers themselves, and the MACs at other sides."""
    kernels, widths, _, side, channels, classes = numbers
    found = []
    up = side  # where odd sides are rounded up
    for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
        weights, biases, macs = _convolution(channels, widths[width], kernels[kernel], side)
        found.append((weights, biases, macs, weights * numbers[3] ** 2, weights * up * up))
        channels, side, up = widths[width], side // 2, -(-up // 2)
    return [*found, (channels * classes, classes, *[channels * classes] * 3)]


def _check_costs(learner, rng, numbers, count):
    space = learner.SearchSpace(*numbers)
    for _ in range(count):
        places = [len(numbers[0]), len(numbers[1])] * numbers[2]
        _check_cost(space, numbers, tuple(int(rng.integers(place)) for place in places))


def _check_cost(space, numbers, architecture):
    layers = _layers(numbers, architecture)
    weights, biases, macs, unpooled, rounded_up = (sum(column) for column in zip(*layers, strict=True))
    want = (weights + biases, macs)
    places, wide = numbers[3] ** 2, numbers[1][architecture[-1]]
    pooled, narrow, unsquared = _miscounted(numbers, architecture)
    causes = {
        "The biases are not counted.": (weights, macs),
        "The biases of the convolutions are not counted.": (weights + numbers[5], macs),
        "The bias of the linear layer is not counted.": (weights + biases - numbers[5], macs),
        "The linear layer is not counted.": (weights + biases - layers[-1][0] - layers[-1][1], macs - layers[-1][2]),
        "The linear layer is counted for the parameters and not for the MACs.": (want[0], macs - layers[-1][2]),
        "The pools are forgotten: every stage runs on the whole image.": (want[0], unpooled),
        "Odd sides are rounded up; a 2×2 pool rounds down.": (want[0], rounded_up),
        "Additions of biases are counted among the MACs.":
            (want[0], macs + numbers[5] + sum(layer[1] * layer[2] // layer[0] for layer in layers[:-1])),
        "MACs are counted as two operations each.": (want[0], 2 * macs),
        "The two come in the other order: parameters first.": want[::-1],
        "The linear layer sees all places; global average pooling leaves one number a channel.":
            (want[0] + layers[-1][0] * ((numbers[3] >> numbers[2]) ** 2 - 1),
             macs + layers[-1][0] * ((numbers[3] >> numbers[2]) ** 2 - 1)),
        "The MACs are counted after the pool; the convolution runs before it.": (want[0], pooled),
        "Each stage takes as many channels in as the stage before puts out.": narrow,
        "A filter has kernel × kernel places, not kernel.": unsquared,
    }
    got = space.cost(architecture)
    expect.that(type(got) in (tuple, list) and len(got) == 2, "two numbers, parameters and MACs", expect.show(got),
                next_step="Return both, parameters first.")
    expect.equal(tuple(got), want, f"parameters and MACs of {architecture} with kernels {numbers[0]}, widths "
                 f"{numbers[1]} on {numbers[4]}×{numbers[3]}×{numbers[3]}", causes=causes,
                 next_step=f"Write the layers in a row, with the shape that each gets ({places} places, then a quarter "
                           f"each time), down to {wide} numbers in front of the linear layer.")


def _miscounted(numbers, architecture):
    """MACs counted after each pool; both with the image's channels at each stage; both with K in place of K²."""
    kernels, widths, _, side, channels, classes = numbers
    pooled = narrow = narrow_macs = unsquared = unsquared_macs = 0
    inputs = channels
    for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
        taps, outputs = kernels[kernel], widths[width]
        pooled += taps**2 * inputs * outputs * (side // 2) ** 2
        narrow += taps**2 * channels * outputs + outputs
        narrow_macs += taps**2 * channels * outputs * side**2
        unsquared += taps * inputs * outputs + outputs
        unsquared_macs += taps * inputs * outputs * side**2
        inputs, side = outputs, side // 2
    head, biases = inputs * classes, classes
    more = head + biases
    return pooled + head, (narrow + more, narrow_macs + head), (unsquared + more, unsquared_macs + head)


def _all_costs(numbers):
    places = [range(len(numbers[0])), range(len(numbers[1]))] * numbers[2]
    found = {}
    for architecture in itertools.product(*places):
        layers = _layers(numbers, architecture)
        found[architecture] = (sum(layer[0] + layer[1] for layer in layers), sum(layer[2] for layer in layers))
    return found


def _sample(space, count, most_parameters, most_macs, seed=0):
    drawn = space.sample(count, most_parameters, most_macs, seed)
    expect.that(type(drawn) in (list, tuple) and all(type(one) in (tuple, list) for one in drawn),
                "a list of architectures, each a tuple of whole numbers", expect.show(drawn),
                next_step="Collect tuples in a list, and return the list.")
    return [tuple(one) for one in drawn]


def _check_even(learner, numbers, most_parameters, most_macs, seed):
    fitting = [architecture for architecture, (parameters, macs) in _all_costs(numbers).items()
               if parameters <= most_parameters and macs <= most_macs]
    drawn = Counter(_sample(learner.SearchSpace(*numbers), 150 * len(fitting), most_parameters, most_macs, seed))
    never = [architecture for architecture in fitting if not drawn[architecture]]
    expect.that(not never, f"all {len(fitting)} architectures that fit among {150 * len(fitting)} draws",
                f"{len(fitting) - len(never)} of them; {never[0] if never else ''} was never drawn",
                cause="Some of the space can't be reached, or the same few are drawn again and again." if len(drawn) > 1
                else "Every draw begins anew with the same seed.",
                next_step="How many architectures has the space without a cap? Which of them can your code return?"
                if len(drawn) > 1 else "Make one generator for all draws.")
    _check_counts(drawn, {architecture: 1 / len(fitting) for architecture in fitting}, "how often each is drawn",
                  "What fits isn't drawn with the same chance: whoever chooses stage by stage under a cap prefers "
                  "some, and so does whoever shrinks what doesn't fit.",
                  "Draw from the whole space without looking at the cap; what do you do with what doesn't fit?")


@check("mutate", weight=2)
def one_place_changes(learner, reference, rng):
    """Exactly one place has another option than before, one that is there"""
    for options in ((3, 3, 3, 3, 3, 3), (2, 5, 1, 4), (2,), (1, 1, 7)):
        for _ in range(25):
            architecture = _random(rng, options)
            _check_neighbour(architecture, learner.mutate(architecture, options, int(rng.integers(2**31))), options)


@check("mutate")
def places_and_options_are_equally_likely(learner, reference, rng):
    """Each place with a choice changes equally often, and there each other option, but for chance"""
    _check_mutations(learner, rng, (2, 3, 1, 6), 900)


@check("mutate", weight=0.5)
def seeds_decide_the_mutation(learner, reference, rng):
    """The same seed makes the same change; lengths that differ and a space of one are a ValueError"""
    options = (5, 5, 5)
    seeds = [int(seed) for seed in rng.integers(2**31, size=20)]
    first, again, other = ([tuple(learner.mutate((1, 2, 3), options, seed + more)) for seed in seeds]
                           for more in (0, 0, 1))
    _check_seeds(first, again, other)
    expect.raises("ValueError", learner.mutate, (0, 1), (2, 2, 2), why="there are 2 numbers and 3 places")
    expect.raises("ValueError", learner.mutate, (0, 0), (1, 1), why="there is no other architecture")


def _random(rng, options):
    return tuple(int(rng.integers(number)) for number in options)


def _check_neighbour(architecture, got, options):
    expect.that(type(got) is tuple and len(got) == len(architecture),
                f"a tuple of {len(architecture)} numbers", expect.show(got),
                cause="Only a tuple can be looked up in a table of architectures.",
                next_step="Make a tuple of it before you return it.")
    changed = [place for place in range(len(options)) if got[place] != architecture[place]]
    causes = {0: "The new option is drawn from all, the old one among them." if min(options) > 1 else
              "The old option was drawn again, or a place that has no other one.",
              len(options): "Every place is drawn anew: that is no neighbour, but a random architecture."}
    expect.that(len(changed) == 1, f"{architecture} changed at one place", f"{got}, changed at {len(changed)}",
                cause=causes.get(len(changed), "Several places are changed."),
                next_step="Draw the place first; then draw among what isn't there already.")
    expect.that(0 <= got[changed[0]] < options[changed[0]],
                f"an option below {options[changed[0]]} at place {changed[0]}", expect.show(got),
                cause="The number of options at that place isn't looked at.",
                next_step="options[place] says how many there are; they are counted from 0.")


def _check_mutations(learner, rng, options, count):
    architecture = _random(rng, options)
    seen = Counter()
    for _ in range(count):
        got = learner.mutate(architecture, options, int(rng.integers(2**31)))
        _check_neighbour(architecture, got, options)
        place = next(place for place in range(len(options)) if got[place] != architecture[place])
        seen[place, got[place]] += 1
    open_places = [place for place, number in enumerate(options) if number > 1]
    wanted = {(place, option): 1 / len(open_places) / (options[place] - 1)
              for place in open_places for option in range(options[place]) if option != architecture[place]}
    by_place = Counter()
    for (place, _), often in seen.items():
        by_place[place] += often
    _check_counts(by_place, dict.fromkeys(open_places, 1 / len(open_places)),
                  f"how often each place of {options} changes",
                  "Places with many options are changed more often, or some never.",
                  "First the place, each with the same chance; then the option.")
    cause, step = "Some options are preferred to others.", "Every other option of the place may come, evenly."
    beside = {(place, (architecture[place] + by) % options[place]) for place in open_places for by in (1, -1)}
    if set(seen) <= beside:
        cause = "Only the next option up or down comes."
    elif all(option for (_, option) in seen):
        cause = "Option 0 never comes: options are counted from 0."
    elif any(not seen[neighbour] for neighbour in wanted):
        cause = "Some options never come: are place and option drawn by two generators of the same seed?"
        step = "One generator draws the place and then, going on, the option."
    _check_counts(seen, wanted, f"how often each neighbour of {architecture} comes", cause, step)


@check("ageing_evolution")
def a_history_of_births(learner, reference, rng):
    """As many births as trials; first a random population, then children that differ from their parent at one place"""
    for options, population, tournament, trials in (((3,) * 4, 8, 3, 60), ((2, 5, 3), 5, 5, 30), ((4, 4), 6, 1, 6)):
        _check_births(learner, rng, options, population, tournament, trials)


@check("ageing_evolution", weight=2)
def the_oldest_dies(learner, reference, rng):
    """With everybody in the tournament, the parent is the best of the youngest P: the oldest has died, even if best"""
    for options, population, trials in (((4,) * 4, 6, 120), ((6, 6), 3, 60)):
        _check_parents(learner, rng, options, population, trials)


@check("ageing_evolution")
def tournaments_are_random(learner, reference, rng):
    """A tournament of one makes anybody a parent, a larger one the best of as many different members"""
    for population, tournament in ((12, 1), (12, 4)):
        _check_tournaments(learner, rng, (5,) * 5, population, tournament, 500)


@check("ageing_evolution", weight=0.5)
def evolution_is_seeded_and_refuses(learner, reference, rng):
    """The same seed makes the same history; a tournament above the population, or too few trials, is a ValueError"""
    scores, options = _scores(rng, (3, 3, 3))
    first, again, other = (_born(learner, scores, options, 5, 2, 40, seed) for seed in (1, 1, 2))
    _check_seeds(first, again, other)
    for population, tournament, trials in ((4, 5, 20), (4, 0, 20), (4, 2, 3)):
        expect.raises("ValueError", learner.ageing_evolution, scores, options, population, tournament, trials,
                      why=f"the tournament is {tournament}, the population {population}, the trials {trials}")


def _scores(rng, options):
    space = list(itertools.product(*(range(number) for number in options)))
    values = rng.permutation(len(space)) / len(space)  # no two alike
    return {architecture: float(value) for architecture, value in zip(space, values, strict=True)}, options


def _born(learner, scores, options, population, tournament, trials, seed):
    got = learner.ageing_evolution(scores, options, population, tournament, trials, seed)
    fits = type(got) is list and all(type(entry) in (tuple, list) and len(entry) == 2 for entry in got)
    expect.that(fits, "a list of pairs, an architecture and the number of its parent", expect.show(got),
                next_step="Append (architecture, parent) at every birth; the list is the history, not the population.")
    for architecture, _ in got:
        expect.that(type(architecture) in (tuple, list) and tuple(architecture) in scores,
                    "architectures of the space", expect.show(architecture),
                    cause="A child has an option that isn't there, or isn't a tuple of whole numbers.",
                    next_step="options[place] says how many there are, counted from 0.")
    causes = {trials - population: "The first population is missing from the history.",
              trials + population: "The first population costs trials too.",
              population: "That is the population at the end; the history of all births is wanted."}
    off = "A few too many or too few are born: what does your loop count?"
    expect.equal(len(got), trials, f"the births of {trials} trials with a population of {population}",
                 cause=causes.get(len(got), off), next_step="Every architecture that is looked up is a trial.")
    return [(tuple(architecture), int(parent)) for architecture, parent in got]


def _check_births(learner, rng, options, population, tournament, trials):
    scores, options = _scores(rng, options)
    born = _born(learner, scores, options, population, tournament, trials, int(rng.integers(2**31)))
    parents = [parent for _, parent in born]
    expect.equal(parents[:population], [-1] * population, f"the parents of the first {population}",
                 cause="The first population has no parents.", next_step="Write −1 for them.")
    different = len({architecture for architecture, _ in born[:population]})
    expect.that(different > 1 or population < 5, f"different architectures among the first {population}",
                "the same one each time", cause="The first population is drawn once and copied.",
                next_step="Draw each of the first members by itself.")
    for number in range(population, trials):
        child, parent = born[number]
        expect.that(0 <= parent < number, f"the parent of birth {number} among the births before it", str(parent),
                    cause="The parent is a number in the history, from 0.",
                    next_step="Keep the number with each member.")
        changed = sum(a != b for a, b in zip(child, born[parent][0], strict=True))
        shifted = number - population + parent  # if the parent's number were its place among the members
        relative = ""
        if changed != 1 and shifted < number and sum(a != b for a, b in zip(child, born[shifted][0], strict=True)) == 1:
            relative = "The parent's number seems to be counted in the population, not in the history."
        causes = {0: "The child is its parent again: the new option was drawn from all, or nothing was changed.",
                  len(options): "The child is a new random architecture."}
        expect.that(changed == 1, f"a child that differs from its parent, birth {parent}, at one place",
                    f"{child} from {born[parent][0]}, changed at {changed}",
                    cause=relative or causes.get(changed, "Several places are changed."),
                    next_step="Print parent and child side by side, with the parent's number in the history.")
    _check_places(born, len(options), population)


def _check_places(born, places, population):
    """Not all children are changed at one place, if there are enough of them to say so."""
    changed = {next(place for place in range(places) if child[place] != born[parent][0][place])
               for child, parent in born[population:]}
    expect.that(len(changed) > 1 or len(born) < population + 24, "children changed at different places",
                f"all {len(born) - population} changed at place {min(changed, default=0)}",
                cause="The place is drawn with the same seed at every birth.",
                next_step="If you call mutate, give it another seed each time, drawn by the search's own generator.")


def _check_parents(learner, rng, options, population, trials):
    scores, options = _scores(rng, options)
    born = _born(learner, scores, options, population, population, trials, int(rng.integers(2**31)))
    values = [scores[architecture] for architecture, _ in born]
    without = _survivors(values, population)
    stale = any(number - parent > population for number, (_, parent) in enumerate(born) if number >= population)
    early = population > 1 and all(values[born[number][1]] == max(values[number - population + 1 : number])
                                   for number in range(population, trials))
    for number in range(population, trials):
        parent = born[number][1]
        if not 0 <= parent < number:
            expect.that(False, f"the parent of birth {number} among the births before it", str(parent),
                        cause="The parent is a number in the history, from 0.", next_step="See the first check.")
        alive = values[number - population : number]
        best = max(alive)
        causes = {min(alive): "The worst of the tournament became the parent."}
        cause = causes.get(values[parent], "With a tournament as large as the population, every member is in it.")
        if early:
            cause = "The oldest leaves before the tournament; it is among those drawn, and dies once the child is born."
        elif values[parent] == without[number]:
            cause = "The best never leaves: nobody dies in your search, or the worst does; here the oldest does."
        elif stale and cause.startswith("With"):
            cause = "Some parents should have died long before: only the youngest P are alive."
        expect.close(values[parent], best, f"the score of the parent of birth {number}, the best of births "
                     f"{number - population} to {number - 1}", rtol=1e-12,
                     cause=cause,
                     next_step="Write down the members after each birth for a population of 3: who leaves?")


def _survivors(values, population):
    """The best score alive before each birth, if the worst member died each time."""
    members = list(values[:population])
    best = dict.fromkeys(range(population), math.nan)
    for number in range(population, len(values)):
        best[number] = max(members)
        members.append(values[number])
        members.remove(min(members))
    return best


def _check_tournaments(learner, rng, options, population, tournament, trials):
    scores, options = _scores(rng, options)
    born = _born(learner, scores, options, population, tournament, population + trials, int(rng.integers(2**31)))
    values = [scores[architecture] for architecture, _ in born]
    ranks = []
    for number in range(population, population + trials):
        own = born[number][1]
        expect.that(number - population <= own < number, f"a parent among the youngest {population} at birth {number}",
                    f"birth {own}", cause="It has died, or was never born: the oldest leaves at every birth.",
                    next_step="See the check on who dies.")
        alive = values[number - population : number]
        better = sum(value > values[own] for value in alive)
        alike = sum(value == values[own] for value in alive) - 1
        expect.that(better <= population - tournament, f"a parent that is the best of {tournament} different members",
                    f"one with {better} better members among {population}",
                    cause="The tournament has fewer different members, or its worst or any of them wins.",
                    next_step="random.sample draws different ones.")
        ranks.append(1 + better + alike / 2)
    mean, want = sum(ranks) / trials, (population + 1) / (tournament + 1)
    chances = [math.comb(population - rank, tournament - 1) / math.comb(population, tournament)
               for rank in range(1, population + 1)]
    spread = math.sqrt(sum(p * (rank - want) ** 2 for rank, p in enumerate(chances, 1)) / trials)
    causes = "The best of all is the parent; the tournament isn't drawn." if mean < want else \
        "Anybody becomes a parent, or the tournament has fewer members."
    expect.that(abs(mean - want) < SIGMAS * spread,
                f"parents of rank {want:.2f} on average, best of {tournament} out of {population}", f"rank {mean:.2f}",
                cause=causes, next_step="Draw the tournament among all members, then compare scores within it only.")


@check("reinforce_step")
def one_architecture(learner, reference, rng):
    """For one architecture, the step is rate · (R − baseline) times the gradient of log π, which autograd knows"""
    _check_step(learner, rng, 1, 2, 1, torch.zeros(1, 2, dtype=torch.float64))
    _check_step(learner, rng, 3, 4, 1)


@check("reinforce_step")
def mean_of_a_batch(learner, reference, rng):
    """A batch gives the mean of its steps"""
    _check_step(learner, rng, 3, 4, 5)
    _check_step(learner, rng, 6, 3, 20)


@check("reinforce_step", weight=2)
def expected_step_is_the_gradient(learner, reference, rng):
    """Over all architectures, weighted by their probabilities, steps add up to the gradient of the expected reward"""
    _check_expected(learner, rng, 2, 3)


@check("reinforce_step")
def a_baseline_moves_nothing_on_average(learner, reference, rng):
    """A reward equal to the baseline changes nothing; any baseline leaves the expected step as it is"""
    logits = torch.from_numpy(rng.standard_normal((2, 3)))
    still = learner.reinforce_step(logits, torch.tensor([[0, 2]]), torch.tensor([0.75], dtype=torch.float64), 0.5, 0.75)
    expect.close(still, logits, "the logits after a reward equal to the baseline", atol=1e-12,
                 cause="The baseline isn't taken off the reward.",
                 next_step="What is left of the reward above the baseline? Only that may move anything.")
    for baseline in (-1.5, 4.0):
        _check_expected(learner, rng, 2, 3, baseline)


@check("reinforce_step", weight=0.5)
def the_logits_given_stay(learner, reference, rng):
    """The logits that came in are left as they are"""
    logits = torch.from_numpy(rng.standard_normal((2, 3)))
    given = logits.clone()
    learner.reinforce_step(inout(given), torch.tensor([[0, 2]]), torch.tensor([0.75], dtype=torch.float64), 0.5)
    expect.that(torch.equal(given, logits), "logits that stay as they are", "logits changed in place",
                cause="They are changed in place, by += or an operation whose name ends in _.",
                next_step="Make new ones and return them.")


def _log_policy(logits, actions):
    return functional.log_softmax(logits, 1).gather(1, actions[:, :, None].movedim(0, 2)[:, 0]).sum(0)


def _check_step(learner, rng, places, options, batch, logits=None):
    logits = torch.from_numpy(rng.standard_normal((places, options))) if logits is None else logits
    actions = torch.from_numpy(rng.integers(0, options, (batch, places)))
    rewards = torch.from_numpy(rng.uniform(0.3, 1, batch))
    rate, baseline = 0.5, float(rng.uniform(0.1, 0.2))
    leaf = logits.clone().requires_grad_()
    (gain,) = torch.autograd.grad(((rewards - baseline) * _log_policy(leaf, actions)).mean(), leaf)
    (plain,) = torch.autograd.grad((rewards * _log_policy(leaf, actions)).mean(), leaf)
    (more,) = torch.autograd.grad(((rewards + baseline) * _log_policy(leaf, actions)).mean(), leaf)
    (unlogged,) = torch.autograd.grad(((rewards - baseline) * _log_policy(leaf, actions).exp()).mean(), leaf)
    taken = functional.one_hot(actions, options).double()
    advantages = (rewards - baseline)[:, None, None]
    in_turn = logits
    for one, earned in zip(taken, rewards - baseline, strict=True):
        in_turn = in_turn + rate / batch * earned * (one - in_turn.softmax(1))
    want = logits + rate * gain
    causes = {
        "Downhill: the reward would fall.": logits - rate * gain,
        "The batch is added up, not averaged.": logits + rate * batch * gain,
        "The baseline isn't taken off.": logits + rate * plain,
        "The baseline is added.": logits + rate * more,
        "That is the gradient of π; the one of log π is wanted.": logits + rate * unlogged,
        "Only what was taken goes up; what wasn't has to go down by its probability.":
            logits + rate * (advantages * taken).mean(0),
        "Only the logit of what was taken moves; those beside it move, too.":
            logits + rate * (advantages * taken * (1 - logits.softmax(1))).mean(0),
        "The softmax runs over the places; the options of one place add up to 1.":
            logits + rate * (advantages * (taken - logits.softmax(0))).mean(0),
        "One softmax runs over all logits; each place has its own.":
            logits + rate * (advantages * (taken - logits.flatten().softmax(0).view_as(logits))).mean(0),
        "The places' logarithms are averaged; log π is their sum.": logits + rate / places * gain,
        "Each architecture's step begins where the last one ended; all begin at the logits given.": in_turn,
        "The gradient itself came back; the new logits are wanted.": gain,
        "Nothing has moved.": logits,
    }
    causes = {words: value for words, value in causes.items() if not torch.allclose(value, want)}
    got = learner.reinforce_step(logits, actions, rewards, rate, baseline)
    expect.that(not isinstance(got, Tensor) or got.dtype == logits.dtype, "logits in float64, as they came",
                str(getattr(got, "dtype", "")).removeprefix("torch."),
                next_step="Turn what you compute with into the logits' dtype.")
    expect.close(got, want, f"the logits after a step on {batch} architecture(s) of {places} place(s)",
                 rtol=1e-9, atol=1e-9,
                 causes=causes, next_step="Take one place, two options, logits of 0: what is ∂ log π / ∂ logit for "
                                          "either? Then put your numbers beside it.")


def _check_expected(learner, rng, places, options, baseline=0.0):
    logits = torch.from_numpy(rng.standard_normal((places, options)))
    space = list(itertools.product(range(options), repeat=places))
    rewards = torch.from_numpy(rng.uniform(0, 1, len(space)))
    leaf = logits.clone().requires_grad_()
    chances = _log_policy(leaf, torch.tensor(space)).exp()
    (want,) = torch.autograd.grad((chances * rewards).sum(), leaf)
    chances = chances.detach()
    step = torch.zeros_like(logits)
    for architecture, chance, reward in zip(space, chances, rewards, strict=True):
        new = learner.reinforce_step(logits, torch.tensor([architecture]), reward[None], 0.25, baseline)
        expect.shape(new, tuple(logits.shape), "the new logits",
                     next_step="One number for each place and option, as they came.")
        step += chance * (new - logits) / 0.25
    expect.close(step, want, f"the expected step over all {len(space)} architectures, baseline {baseline:g}", rtol=1e-8,
                 atol=1e-10, next_step="Which property makes a baseline harmless? Σ π · ∇ log π = ∇ Σ π = 0.",
                 causes={"Downhill: the reward would fall.": -want})


@check("SharedConv")
def one_weight_and_its_biases(learner, reference, rng):
    """The layer holds the weight of the largest candidate and a bias for each of its outputs, nothing else"""
    for inputs, outputs, kernel in ((3, 5, 5), (8, 4, 3), (2, 6, 1)):
        module = learner.SharedConv(inputs, outputs, kernel)
        _check_sizes(module, inputs, outputs, kernel)
        spread = max(float(parameter.detach().std()) for parameter in module.parameters() if parameter.ndim == 4)
        expect.that(0.2 < spread * math.sqrt(3 * inputs * kernel**2) < 3 or inputs * kernel**2 * outputs < 20,
                    f"weights spread by about {1 / math.sqrt(3 * inputs * kernel**2):.3f}, as nn.Conv2d starts",
                    f"{spread:.3f}", cause="The weight starts with another size.",
                    next_step="An nn.Conv2d of the largest sizes starts its weight for you.")


@check("SharedConv", weight=2)
def candidates_are_slices(learner, reference, rng):
    """Each candidate is the convolution with its slice: first filters, first channels, the kernel's middle"""
    _check_candidates(learner, rng, (4, 6, 5), [(4, 6, 5), (4, 3, 5), (4, 6, 3), (2, 6, 5), (3, 2, 1), (1, 1, 3)])


@check("SharedConv")
def gradients_reach_the_slice(learner, reference, rng):
    """Training a candidate trains its slice of the weight, and nothing beside it"""
    _check_shared_gradient(learner, rng, (4, 6, 5), 3, 2, 3)


@check("SharedConv", weight=0.5)
def candidates_that_are_not_there(learner, reference, rng):
    """More outputs or a larger kernel than the largest candidate's, or an even kernel, is a ValueError"""
    module = learner.SharedConv(2, 4, 5)
    x = _images(rng, 1, 2, 6, 6)
    for outputs, kernel in ((5, 3), (0, 3), (4, 7), (4, 2), (4, 0)):
        _refuses(module, x, outputs, kernel, why=f"{outputs} outputs by a kernel of {kernel} are asked of 4 by 5")


def _images(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape)).float()


def _network(value) -> nn.Module:
    expect.that(isinstance(value, nn.Module), "a network, an nn.Module", expect.show(value),
                cause="The layer is needed as a module that can run and be trained.",
                next_step="Derive the class from nn.Module, and call super().__init__() first.")
    return value


def _check_sizes(module, inputs, outputs, kernel) -> tuple[nn.Parameter, nn.Parameter]:
    shapes = [tuple(parameter.shape) for parameter in _network(module).parameters()]
    want = [(outputs, inputs, kernel, kernel), (outputs,)]
    causes = {"There is no bias; each output has one.": want[:1],
              "The first axis is the outputs, as nn.Conv2d keeps it.": [(inputs, outputs, kernel, kernel), (outputs,)]}
    many = "There is a weight for each candidate; one weight holds all of them." if len(shapes) > 2 else ""
    expect.that(sorted(shapes) == sorted(want), f"parameters of the shapes {want}", expect.show(shapes),
                cause=next((words for words, value in causes.items() if sorted(shapes) == sorted(value)), many),
                next_step="One weight (outputs, inputs, side, side) and one bias, of the largest candidate.")
    stored = sum(value.numel() for value in module.state_dict().values())
    expect.equal(stored, sum(p.numel() for p in module.parameters()), "the numbers that the layer stores",
                 cause="Something is kept beside the parameters.", next_step="Look at state_dict() of your layer.")
    weight, bias = sorted(module.parameters(), key=lambda parameter: -parameter.ndim)
    return weight, bias


def _check_candidates(learner, rng, largest, chosen):
    inputs, outputs, side = largest
    module = learner.SharedConv(*largest)
    weight, bias = _check_sizes(module, *largest)
    with torch.no_grad():
        weight.copy_(_images(rng, *weight.shape))
        bias.copy_(_images(rng, *bias.shape))
    for channels, width, kernel in chosen:
        x = _images(rng, 2, channels, int(rng.integers(1, 8)), int(rng.integers(1, 8)))
        edge = (side - kernel) // 2
        middle = slice(edge, edge + kernel)

        def made(rows=slice(0, width), cols=slice(0, channels), taps=middle, pad=kernel // 2, b=None, x=x):
            with torch.no_grad():
                if min(x.shape[2:]) + 2 * pad < weight[rows, cols, taps, taps].shape[-1]:
                    return torch.zeros(0)
                return functional.conv2d(x, weight[rows, cols, taps, taps], bias[rows] if b is None else b, padding=pad)

        want = made()
        causes = {
            "The kernel's corner is used, not its middle.": made(taps=slice(0, kernel)),
            "The slice begins at kernel // 2: that is the middle for some sides, not for others.":
                made(taps=slice(kernel // 2, kernel // 2 + kernel)),
            "The last filters are used, not the first.": made(rows=slice(outputs - width, outputs)),
            "The last channels of each filter are used, not the first.": made(cols=slice(inputs - channels, inputs)),
            "The image isn't padded.": made(pad=0),
            "It is padded for the largest kernel, not for the one in use.": made(pad=side // 2),
            "The whole kernel is used, whatever was asked for.": made(taps=slice(0, side), pad=side // 2),
            "All outputs come back, whatever was asked for.": made(rows=slice(0, outputs)),
            "The bias is missing.": made(b=torch.zeros(width)),
            "The biases of the last filters are used.": made(b=bias[outputs - width :].detach()),
        }
        causes = {words: value for words, value in causes.items()
                  if value.shape != want.shape or not torch.allclose(value, want, atol=1e-4)}
        with torch.no_grad():
            got = module(x, width, kernel)
        expect.close(got, want, f"{channels} channels to {width} by {kernel}×{kernel}, out of {inputs} to {outputs} by "
                     f"{side}×{side}", rtol=1e-4, atol=1e-4, causes=causes,
                     next_step="Print the shape of the slice. Which places of a 5×5 kernel make the 3×3 in its middle?")


def _check_shared_gradient(learner, rng, largest, channels, width, kernel):
    module = learner.SharedConv(*largest)
    weight, bias = _check_sizes(module, *largest)
    (module(_images(rng, 2, channels, 6, 6), width, kernel) ** 2).sum().backward()
    edge = (largest[2] - kernel) // 2
    used = torch.zeros_like(weight, dtype=torch.bool)
    used[:width, :channels, edge : edge + kernel, edge : edge + kernel] = True
    expect.that(weight.grad is not None and bias.grad is not None, "a gradient for the weight and for the bias", "none",
                cause="The slice was taken from a copy, or without gradients.",
                next_step="Slice the parameter itself, without .data, .detach() or torch.no_grad().")
    expect.that(bool((weight.grad[used].abs() > 0).all()) and bool((bias.grad[:width].abs() > 0).all()),
                "a gradient for every number of the slice", "zeros there",
                cause="Not the whole slice takes part.", next_step="Which numbers does this candidate consist of?")
    expect.that(not bool(weight.grad[~used].any()) and not bool(bias.grad[width:].any()),
                "no gradient beside the slice", "some there", cause="More of the weight takes part than the slice.",
                next_step="Which numbers does this candidate consist of?")


@check("pareto_front", weight=2)
def nobody_on_the_front_is_dominated(learner, reference, rng):
    """Exactly the points that no other one dominates, in two quantities"""
    _check_front(learner, reference, torch.tensor([[1.0, 9.0], [2.0, 5.0], [3.0, 5.0], [4.0, 2.0], [2.5, 7.0]]))
    for count in (1, 2, 12, 40):
        _check_front(learner, reference, torch.from_numpy(rng.uniform(0, 9, (count, 2))))


@check("pareto_front")
def ties_stay(learner, reference, rng):
    """Equal points don't dominate one another; a tie in one quantity is broken by the other"""
    for rows in ([[1, 5], [1, 5], [2, 3]], [[1, 5], [1, 4], [2, 4]], [[3, 3], [3, 3]],
                 [[2, 2], [1, 3], [2, 1], [2, 1]]):
        _check_front(learner, reference, torch.tensor(rows, dtype=torch.float64))
    _check_front(learner, reference, torch.from_numpy(rng.integers(0, 5, (25, 2))).double())


@check("pareto_front", weight=0.5)
def three_quantities_and_one_and_nothing(learner, reference, rng):
    """Any number of quantities, one alone too, and no points at all"""
    _check_front(learner, reference, torch.from_numpy(rng.integers(0, 4, (20, 3))).double())
    _check_front(learner, reference, torch.tensor([[3.0], [1.0], [2.0], [1.0]]))
    _check_front(learner, reference, torch.zeros(0, 2))


def _check_front(learner, reference, points):
    got = learner.pareto_front(points)
    mask = type(got) in (list, tuple) and any(isinstance(row, bool) for row in got)
    numbers = type(got) in (list, tuple) and not mask and all(isinstance(row, int | np.integer) for row in got)
    cause = "That says of each point whether it is on the front." if mask else \
        "They come in an array; a list is wanted." if isinstance(got, Tensor | np.ndarray) and got.ndim == 1 else \
        "The numbers of the points are wanted, not the points."
    expect.that(numbers, "a list of rows' numbers", expect.show(got), cause=cause,
                next_step="Collect the numbers of the rows, from 0.")
    want = reference.pareto_front(points)
    rows = points.tolist()
    alone = [i for i in want if rows.count(rows[i]) == 1]
    unbeaten = [i for i, own in enumerate(rows)
                if not any(all(x < y for x, y in zip(other, own, strict=True)) for other in rows)]
    causes = {
        "Rows are counted from 1.": [row + 1 for row in want],
        "Those are the points that are beaten.": [row for row in range(len(rows)) if row not in want],
        "A point goes as soon as another is smaller in any number; nowhere larger is asked for as well.":
            [i for i, own in enumerate(rows)
             if not any(any(x < y for x, y in zip(other, own, strict=True)) for other in rows)],
        "The larger is taken for the better.": reference.pareto_front(-points),
        "Equal points knock one another out.": alone,
        "A point only counts as beaten if another is smaller in every number; nowhere larger, somewhere smaller is "
        "enough.": unbeaten,
        "Of equal points only one is kept.": [i for i in want if rows[i] not in rows[:i]],
        "The rows are sorted by a quantity; by number, please.": sorted(want, key=lambda i: rows[i]),
        "Only the first two quantities are compared.": reference.pareto_front(points[:, :2].contiguous()),
        "That is the best in each quantity by itself.":
            sorted({int(column.argmin()) for column in points.T}) if len(points) else [],
    }
    expect.equal(list(got), want, f"the front of {rows if len(points) < 6 else f'{len(points)} points'}",
                 causes={words: value for words, value in causes.items() if value != want},
                 next_step="Draw the points. Who lies to the lower left of whom, borders included?")


@check("successive_halving", weight=2)
def rounds_and_survivors(learner, reference, rng):
    """Each round trains longer and holds the best part of the round before; the epochs spent add up"""
    for candidates, epochs, rate, first in ((8, 8, 2, 1), (9, 9, 3, 1), (16, 8, 2, 2)):
        _check_halving(learner, reference, rng, candidates, epochs, rate, first)


@check("successive_halving")
def halving_ends(learner, reference, rng):
    """It ends with one candidate or with the last epoch, numbers that don't divide included; ties keep the earlier"""
    for candidates, epochs, rate, first in ((1, 5, 2, 1), (7, 5, 2, 1), (30, 4, 2, 1), (10, 6, 4, 3), (5, 1, 2, 1)):
        _check_halving(learner, reference, rng, candidates, epochs, rate, first, ties=True)


@check("successive_halving", weight=0.5)
def halving_refuses(learner, reference, rng):
    """A rate below 2, or a first round of no epochs or too many, is a ValueError"""
    errors = torch.from_numpy(rng.uniform(0, 9, (4, 4)))
    for rate, first in ((1, 1), (0, 1), (2, 0), (2, 5)):
        expect.raises("ValueError", learner.successive_halving, errors, rate, first,
                      why=f"rate is {rate}, first is {first}, and there are 4 epochs")


def _check_halving(learner, reference, rng, candidates, epochs, rate, first, ties=False):
    errors = rng.integers(0, 4, (candidates, epochs)) if ties else rng.uniform(0, 9, (candidates, epochs))
    errors = torch.from_numpy(np.asarray(errors, dtype=np.float64))

    def rounds(curves):
        found = reference.successive_halving(curves, rate, first)
        return list(map(tuple, found[0])), found[1]

    want = rounds(errors)
    got = learner.successive_halving(errors, rate, first)
    shaped = type(got) in (tuple, list) and len(got) == 2 and type(got[0]) in (tuple, list)
    expect.that(shaped, "a list of rounds, and the epochs spent", expect.show(got),
                next_step="Return both, the rounds first.")
    causes = {
        "The errors of the last epoch are used, which nobody has seen yet.":
            rounds(errors[:, -1:].expand_as(errors).contiguous()),
        "Older errors count than the last that were seen: those of the first epoch.":
            rounds(errors[:, :1].expand_as(errors).contiguous()),
        "The best error so far counts; the last one that was seen should.": rounds(errors.cummin(1).values),
        "The errors of the next epoch are used, which nobody has seen yet.":
            rounds(torch.cat([errors[:, 1:], errors[:, -1:]], 1)),
        "Each round tells its own epochs; how long its candidates have been trained in all is wanted.":
            ([(done - before, alive) for (done, alive), before in
              zip(want[0], [0, *(done for done, _ in want[0])], strict=False)], want[1]),
        "Of equal candidates, the later goes on.": _later(rounds, errors),
        "Whoever goes on is counted as trained anew; it is trained on.":
            (want[0], sum(done * len(alive) for done, alive in want[0])),
        "The worst go on.": rounds(-errors),
    }
    found = list(map(tuple, got[0])), got[1]
    expect.equal(found, want, f"the rounds of {candidates} candidates, {epochs} epochs, rate {rate}, first {first}",
                 causes={words: value for words, value in causes.items() if value != want},
                 cause=_where_they_part(found[0], want[0]),
                 next_step="Write the rounds of 8 candidates and 8 epochs by hand: 1, 2, 4, 8 epochs; 8, 4, 2, 1 left.")


def _later(rounds, errors):
    """The rounds if of equal candidates the later went on: those of the candidates turned round."""
    found, spent = rounds(errors.flip(0))
    last = len(errors) - 1
    return [(done, sorted(last - candidate for candidate in alive)) for done, alive in found], spent


def _where_they_part(found, want):
    """What is different in the first round that isn't as it should be, in words."""
    for one, other in zip(found, want, strict=False):
        if len(one) != 2 or one[0] != other[0]:
            return "A round ends at another epoch."
        if type(one[1]) in (list, tuple) and len(one[1]) != len(other[1]):
            return "Another number of candidates goes on: look at how many where it doesn't divide."
        if type(one[1]) in (list, tuple) and sorted(one[1]) == list(other[1]) != list(one[1]):
            return "The right candidates, but not in the order of their numbers."
        if one[1] != other[1]:
            return "Other candidates go on: which errors have been seen by then?"
    if len(found) < len(want):
        return "A round is missing at the end: one candidate that is left is trained on, too."
    return "There are too many rounds." if len(found) > len(want) else "The rounds are right, the epochs spent are not."


@check("hypervolume", weight=2)
def area_by_counting_squares(learner, reference, rng):
    """On whole numbers, the area is the number of unit squares that some point dominates"""
    for count in (1, 3, 8):
        _check_area(learner, torch.from_numpy(rng.integers(0, 9, (count, 2))).double(), (9, 9))


@check("hypervolume")
def points_beyond_the_corner(learner, reference, rng):
    """Points beyond the corner add nothing, nor do dominated ones; no points have no area"""
    for rows in ([[2, 11], [11, 2]], [[3, 3], [3, 3], [4, 4]], [[1, 20], [5, 5]], [[9, 1], [1, 9]], [[10, 0], [4, 6]]):
        _check_area(learner, torch.tensor(rows, dtype=torch.float64), (9, 9))
    _check_area(learner, torch.zeros(0, 2, dtype=torch.float64), (9, 9))


def _check_area(learner, points, corner):
    rows = points.tolist()

    def dominated(x, y):
        return any(a <= x and b <= y for a, b in rows)

    want = sum(dominated(x, y) for x in range(-3, corner[0]) for y in range(-3, corner[1]))
    boxes = [(corner[0] - a) * (corner[1] - b) for a, b in rows]
    inside = [max(0, corner[0] - a) * max(0, corner[1] - b) for a, b in rows]
    kept = torch.tensor(sorted(row for row in rows if row[0] < corner[0] and row[1] < corner[1])).reshape(-1, 2)
    heights = corner[1] - kept[:, 1].cummin(0).values if len(kept) else kept[:, 1]
    slanted = float(torch.trapezoid(torch.cat([heights, heights[-1:]]),
                                    torch.cat([kept[:, 0], torch.tensor(corner[:1]) + 0.0])) if len(kept) else 0.0)
    causes = {"Where the boxes of two points overlap, the area is counted twice.": sum(inside),
              "A point beyond the corner in both numbers gives a box too: minus times minus.": sum(boxes),
              "That is the largest box of a single point.": max(inside, default=0),
              "Slanted lines join the points; what lies between two of them, nobody has reached.": slanted}
    expect.close(learner.hypervolume(points, torch.tensor(corner, dtype=torch.float64)), float(want),
                 f"the area up to {corner} of {points.tolist() if len(rows) < 5 else f'{len(rows)} points'}", rtol=1e-9,
                 causes={words: value for words, value in causes.items() if value != want},
                 cause="Dominated points, or points beyond the corner, may have been counted.",
                 next_step="Draw the staircase, cut it into strips that don't overlap, and add them up.")


def _refuses(method, *arguments, why) -> None:
    """Expect a ValueError of an object's method, which raises its own where no wire lies between."""
    def asked(*given):
        try:
            return method(*given)
        except ValueError as error:
            raise expect.LearnerRaised("ValueError", str(error)) from None

    expect.raises("ValueError", asked, *arguments, why=why)


def _check_counts(seen, chances, what, cause, next_step) -> None:
    """How often things came, against their chances: each within some standard deviations."""
    total = sum(seen.values())
    worst, off = None, 0.0
    for thing, chance in chances.items():
        sigma = math.sqrt(total * chance * (1 - chance)) or 1.0
        if abs(seen[thing] - total * chance) / sigma > off:
            worst, off = thing, abs(seen[thing] - total * chance) / sigma
    expect.that(off < SIGMAS, f"{what}: {total * chances.get(worst, 0):.0f} times {worst} in {total}, give or take",
                f"{seen[worst]} times", cause=cause, next_step=next_step)


def _check_seeds(first, again, other) -> None:
    expect.that(first == again, "the same for the same seed", "something else",
                cause="The seed isn't used, or not for everything that is drawn.",
                next_step="Make a generator from the seed, and draw everything with it.")
    expect.that(first != other, "something else for another seed", "the same",
                cause="Whatever the seed is, the same is drawn.", next_step="Where does the seed go in your code?")
