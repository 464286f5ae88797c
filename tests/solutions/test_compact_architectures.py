"""The reference of unit 10: every block is what its plain definition says, and costs what its formula says."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import artefact, checkpoints, meter, models
from nutshell.checks import Answer, checks_of
from nutshell.models import blocks, imagenet
from nutshell.wire import running
from solutions.compact_architectures import checks
from solutions.compact_architectures import reference as compact

SIZES = st.integers(1, 6)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def by_hand(x, weight, bias=None, stride=1, padding=(0, 0)):
    """A convolution as nested loops, with zeros around the image."""
    x, weight = x.detach().double().numpy(), weight.detach().double().numpy()
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    outputs, _, height, width = weight.shape
    places = [range(0, x.shape[2] - height + 1, stride), range(0, x.shape[3] - width + 1, stride)]
    y = np.zeros((len(x), outputs, len(places[0]), len(places[1])))
    for i, top in enumerate(places[0]):
        for j, left in enumerate(places[1]):
            window = x[:, :, top : top + height, left : left + width]
            y[:, :, i, j] = (window[:, None] * weight[None]).sum((2, 3, 4))
    return torch.from_numpy(y) + (0 if bias is None else bias.detach().double()[:, None, None])


def close(got, want, tolerance=1e-5):
    torch.testing.assert_close(got.detach().double(), want.detach().double(), rtol=tolerance, atol=tolerance)


@settings(max_examples=12, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(1, 5), st.integers(1, 5))
def test_fire_is_three_convolutions_by_hand(channels, squeeze, expand1, expand3, height, width):
    block, x = compact.Fire(channels, squeeze, expand1, expand3), torch.randn(2, channels, height, width)
    few = by_hand(x, block.squeeze.weight, block.squeeze.bias).relu()
    want = [by_hand(few, block.expand1.weight, block.expand1.bias),
            by_hand(few, block.expand3.weight, block.expand3.bias, padding=(1, 1))]
    close(block(x), torch.cat(want, 1).relu())


@settings(max_examples=15, deadline=None)
@given(SIZES, SIZES, st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_a_separable_block_is_the_convolution_with_its_kernel(channels, outputs, kernel, stride, height, width):
    block, x = compact.depthwise_separable(channels, outputs, kernel, stride), torch.randn(2, channels, height, width)
    product = block[1].weight * block[0].weight[:, 0]
    close(block(x), by_hand(x, product, block[1].bias, stride, (kernel // 2, kernel // 2)))


@settings(max_examples=15, deadline=None)
@given(SIZES, SIZES, st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5]), st.booleans())
def test_flattened_is_the_convolution_with_the_outer_product(outputs, channels, height, width, biased):
    a, v, h, b = (torch.randn(*shape, dtype=torch.float64)
                  for shape in ((outputs, channels), (outputs, height), (outputs, width), (outputs,)))
    block, x = compact.flattened(a, v, h, b if biased else None), torch.randn(1, channels, 4, 3, dtype=torch.float64)
    kernel = a[:, :, None, None] * v[:, None, :, None] * h[:, None, None, :]
    close(block(x), by_hand(x, kernel, b if biased else None, padding=(height // 2, width // 2)), 1e-10)
    assert all(parameter.dtype == torch.float64 for parameter in block.parameters())


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(1, 4))
def test_the_pooled_head_is_the_least_squares_solution(classes, channels, height, width):
    weight = torch.randn(classes, channels * height * width, dtype=torch.float64)
    head = compact.pooled_head(weight, torch.zeros(classes, dtype=torch.float64), channels)
    places = height * width
    tied = torch.kron(torch.eye(channels).double(), torch.ones(places, 1).double() / places)
    close(head[-1].weight, torch.linalg.lstsq(tied, weight.T).solution.T, 1e-9)
    flat = torch.randn(3, channels, 1, 1, dtype=torch.float64).expand(-1, -1, height, width)
    close(head(flat), flat.flatten(1) @ weight.T, 1e-9)


def octave_by_hand(high, low, weight, low_outputs):
    """Four paths over zeros where a side has no low channels, averaged and repeated pixel by pixel."""
    n, c_high, height, width = high.shape
    c_low, p, edge = weight.shape[1] - c_high, len(weight), weight.shape[-1] // 2
    low = torch.zeros(n, c_low, height // 2, width // 2, dtype=high.dtype) if low is None else low
    small = torch.stack([high[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)
    from_high, from_low = weight[:, :c_high], weight[:, c_high:]
    large = by_hand(high, from_high, padding=(edge, edge))
    rising = by_hand(low, from_low, padding=(edge, edge))
    for y in range(height):
        for x in range(width):
            large[:, :, y, x] += rising[:, :, y // 2, x // 2]
    less = by_hand(small, from_high, padding=(edge, edge)) + rising
    return large[:, : p - low_outputs], less[:, p - low_outputs :]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(2, 6), st.data())
def test_octave_convolution_is_its_four_paths(c_high, c_low, outputs, draw):
    low_outputs, kernel = draw.draw(st.integers(0, outputs - 1)), draw.draw(st.sampled_from([1, 3, 5]))
    height, width = (2 * draw.draw(st.integers(1, 3)) for _ in range(2))
    high = torch.randn(2, c_high, height, width, dtype=torch.float64)
    low = torch.randn(2, c_low, height // 2, width // 2, dtype=torch.float64) if c_low else None
    weight = torch.randn(outputs, c_high + c_low, kernel, kernel, dtype=torch.float64)
    got, want = compact.oct_convolution(high, low, weight, low_outputs), octave_by_hand(high, low, weight, low_outputs)
    close(got[0], want[0], 1e-10)
    assert (got[1] is None) == (low_outputs == 0)
    if got[1] is not None:
        close(got[1], want[1], 1e-10)


def test_without_low_channels_any_image_size_is_plain():
    high, weight = torch.randn(1, 3, 5, 7), torch.randn(4, 3, 3, 3)
    got = compact.oct_convolution(high, None, weight, 0)
    assert got[1] is None
    assert torch.equal(got[0], functional.conv2d(high, weight, padding=1))


@pytest.mark.parametrize(("block", "blocks", "last", "keep"), [(1, 4, 0.5, 0.875), (4, 4, 0.5, 0.5), (3, 3, 0.0, 0.0),
                                                              (2, 2, 1.0, 1.0), (1, 1, 0.2, 0.2)])  # fmt: skip
def test_swapout_follows_its_schedule(block, blocks, last, keep):
    assert compact.Swapout(nn.Identity(), block, blocks, last).keep == pytest.approx(keep)


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 1))
def test_swapouts_samples_have_its_mean_and_variance(last):
    block = compact.Swapout(nn.Linear(1, 1, bias=False), 1, 1, last)
    block.branch.weight.data.fill_(4.0)
    x = torch.ones(40_000, 1)
    thrown, keep = block.train()(x).detach(), block.keep
    assert set(thrown.unique().tolist()) <= {0.0, 1.0, 4.0, 5.0}
    assert abs(float(thrown.mean()) - float(block.eval()(x).detach()[0])) < 6 * (17 * 0.25 / 40_000) ** 0.5
    assert float(thrown.var()) == pytest.approx(keep * (1 - keep) * 17, abs=0.25)


@pytest.mark.parametrize(("channels", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (3, 5, 2)])
def test_a_residual_block_starts_as_its_shortcut_and_is_its_definition(channels, outputs, stride):
    block, x = compact.Residual(channels, 2, outputs, stride), torch.randn(2, channels, 6, 5)
    own = isinstance(block.shortcut, nn.Conv2d)
    way = by_hand(x, block.shortcut.weight, stride=stride) if own else x.double()
    assert own == ((channels, 1) != (outputs, stride))
    close(block(x), way.relu())
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    first, _, second, _, third = block.branch
    y = by_hand(by_hand(x, first.weight, first.bias).relu(), second.weight, second.bias, stride, (1, 1)).relu()
    way = by_hand(x, block.shortcut.weight, stride=stride) if own else x.double()
    close(block(x), (way + by_hand(y, third.weight, third.bias)).relu(), 1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 20), st.lists(st.floats(-1e6, 1e6, width=32), min_size=0, max_size=6))
def test_swish_is_torchs_silu_scaled_and_stays_finite(beta, numbers):
    block, x = compact.Swish(beta), torch.tensor(numbers, dtype=torch.float32, requires_grad=True)
    got = block(x)
    close(got, functional.silu(block.beta.detach() * x) / block.beta.detach() if abs(beta) > 1e-3 else got, 1e-4)
    got.sum().backward()
    assert bool(got.isfinite().all()) and bool(x.grad.isfinite().all()) and bool(block.beta.grad.isfinite())


def test_swishs_limits():
    x = torch.linspace(-3, 3, 13)
    close(compact.Swish(0.0)(x), x / 2)
    close(compact.Swish(1000.0)(x), x.relu())


def test_swishs_gradients_are_those_of_finite_differences():
    block, x = compact.Swish(0.7).double(), torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, beta: torch.func.functional_call(block, {"beta": beta}, (x,)),
                                    (x, torch.tensor(0.7, dtype=torch.float64, requires_grad=True)))


def test_inception_is_four_branches_by_hand():
    block, x = compact.Inception(5, 2, 3, 4, 2, 3, 6), torch.randn(2, 5, 4, 3)

    def along(y, layers):
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                y = by_hand(y, layer.weight, layer.bias, padding=(layer.kernel_size[0] // 2,) * 2).relu()
        return y

    padded = functional.pad(x, (1, 1, 1, 1), value=-torch.inf)
    most = torch.stack([padded[:, :, i : i + 4, j : j + 3] for i in range(3) for j in range(3)]).amax(0)
    want = [along(x, block.branch1), along(x, block.branch3), along(x, block.branch5), along(most, block.branch_pool)]
    close(block(x), torch.cat(want, 1))


# Costs ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 5]), st.integers(1, 9))
def test_a_separable_block_costs_one_over_p_plus_one_over_k_squared(channels, outputs, kernel, side):
    shape = (1, channels, side, side)
    whole = meter.count(nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False), shape)
    split = meter.count(compact.depthwise_separable(channels, outputs, kernel), shape)
    assert split.macs / whole.macs == pytest.approx(1 / outputs + 1 / kernel**2)
    assert split.parameters - outputs == channels * (kernel**2 + outputs)


def test_the_slides_15873_are_15872():
    block = nn.Sequential(nn.Conv2d(192, 16, 1, bias=False), nn.Conv2d(16, 32, 5, padding=2, bias=False))
    report = meter.count(block, (1, 192, 28, 28))
    assert (report.parameters, report.macs) == (15_872, 12_443_648)


def test_fire_and_flattened_cost_what_their_formulas_say():
    fire = meter.count(compact.Fire(96, 16, 64, 64), (1, 96, 10, 10))
    assert fire.macs == 100 * (96 * 16 + 16 * 64 + 9 * 16 * 64)
    thin = meter.count(compact.flattened(torch.ones(8, 5), torch.ones(8, 3), torch.ones(8, 7), None), (1, 5, 9, 9))
    assert (thin.parameters, thin.macs) == (8 * (5 + 3 + 7), 81 * 8 * (5 + 3 + 7))


@pytest.mark.parametrize("low", [0, 4, 8, 12])
def test_octaves_save_work_and_no_parameters(low):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16, 3, 3))

        def forward(self, x):
            small = functional.avg_pool2d(x[:, 16 - low :], 2) if low else None
            return compact.oct_convolution(x[:, : 16 - low], small, self.weight, low)[0]

    report, alpha = meter.count(Layer(), (1, 16, 8, 8)), low / 16
    assert report.parameters == 16 * 16 * 9
    assert report.macs == pytest.approx(report.parameters * 64 * (1 - 0.75 * alpha * (2 - alpha)))


class OctavePair(nn.Module):
    """A first and a last octave convolution, as a learner would put them into a network."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x):
        high, low = self.first(x), self.first(functional.avg_pool2d(x, 2))
        return self.last(high) + functional.interpolate(self.last(low), scale_factor=2.0, mode="nearest")


BLOCKS = {
    "fire": lambda: compact.Fire(3, 2, 4, 5),
    "separable": lambda: compact.depthwise_separable(3, 6, 5, 2),
    "flattened": lambda: compact.flattened(torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 5), torch.randn(4)),
    "pooled": lambda: compact.pooled_head(torch.randn(7, 3 * 64), torch.randn(7), 3),
    "octave": OctavePair,
    "swapout": lambda: compact.Swapout(nn.Conv2d(3, 3, 3, padding=1), 1, 2),
    "residual": lambda: compact.Residual(3, 2, 5, 2),
    "swish": lambda: nn.Sequential(nn.Conv2d(3, 3, 1), compact.Swish(1.7)),
    "inception": lambda: compact.Inception(3, 2, 3, 4, 2, 3, 6),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_learners_block_can_be_handed_in(name, tmp_path):
    block = BLOCKS[name]().eval()
    artefact.save(block, tmp_path / "block.nut", input_shape=(3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    close(artefact.load(tmp_path / "block.nut").network(x), block(x), 1e-5)


def test_the_shipped_network_is_made_of_the_labs_blocks():
    """Its weights fit the lab's blocks in their order, and then they compute the same."""
    layers, channels = [nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2)], 16
    for width, pool in ((64, False), (64, True), (144, False), (144, True), (288, False)):
        layers += [compact.depthwise_separable(channels, width), nn.SiLU()] + [nn.MaxPool2d(2)] * pool
        channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)).eval()
    shipped, x = checkpoints.load("block-network"), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for own, trained in zip(network.parameters(), shipped.parameters(), strict=True):
            own.copy_(trained)
    close(network(x), shipped(x), 1e-4)
    (limit,) = [limit for limit in checks.UNIT.budgets[0].limits if limit.metric == "macs"]
    assert meter.count(network, (1, 3, 32, 32)).macs <= limit.at_most
    assert limit.at_most == meter.count(models.build("vgg-small").eval(), (1, 3, 32, 32)).macs // 4


# Causes --------------------------------------------------------------------------------------------------------------


def _with(name, before, after):
    """The reference with one piece of its code replaced."""
    source = inspect.getsource(getattr(compact, name))
    assert before in source
    source, names = source.replace(before, after), dict(vars(compact))
    exec(compile(source, "edited", "exec"), names)
    return names[name]


MISTAKES = [
    ("Fire", "few = functional.relu(self.squeeze(x))", "few = self.squeeze(x)", "ReLU after the squeeze is missing"),
    ("Fire", "expand3 = nn.Conv2d(squeeze,", "expand3 = nn.Conv2d(channels,", "not what was squeezed"),
    ("depthwise_separable", "groups=channels, ", "", "mixes channels"),
    ("depthwise_separable", "stride=stride, ", "", "stride is not used"),
    ("flattened", "padding=(height // 2, 0), ", "", "another size"),
    ("flattened", ", dtype=dtype", "", "layers are float32"),
    ("pooled_head", ".sum(2)", ".mean(2)", "divided by their number already"),
    ("pooled_head", "linear.bias.copy_(bias)", "linear.bias.zero_()", "bias is missing"),
    ("oct_convolution", "functional.avg_pool2d(high, 2)", "high[:, :, ::2, ::2]", "every second pixel"),
    ("oct_convolution", "weight[:cut], weight[cut:]", "weight[low_outputs:], weight[:low_outputs]", "high first"),
    ("Swapout", "< self.keep", "> self.keep", "probability to drop"),
    ("Swapout", "rand_like(x)", "rand(len(x), 1, 1, 1)", "too uneven"),
    ("Swapout", "return self.keep * (x + y)", "return x + y", "mean of a coin"),
    ("Residual", "stride=stride, bias=False", "stride=stride", "shortcut has a bias"),
    ("Swish", "self.beta * x)", "x) * self.beta", "β stands before"),
    ("Swish", "x * torch.sigmoid(self.beta * x)", "functional.silu(self.beta * x) / self.beta", "divided by β"),
    ("Swish", "x * torch.sigmoid(self.beta * x)", "functional.silu(self.beta * x)", "as well as inside"),
    ("Inception", "nn.MaxPool2d(3", "nn.AvgPool2d(3", "takes the mean"),
    ("Inception", "nn.Conv2d(reduce5, fives, 3, padding=1), nn.ReLU()", "nn.Conv2d(reduce5, fives, 3, padding=1)",
     "ReLU after the first 3×3 of the third branch"),
    ("Fire", "functional.relu(self.expand3(few))", "self.expand3(few)", "ReLU after the 3×3 is missing"),
    ("flattened", "len(lateral) == len(vertical)", "len(vertical)", "Another error"),
    ("flattened", "dtype = lateral.dtype", "dtype = torch.float64", "layers are float64"),
    ("flattened", "across = nn", "vertical.mul_(2)\n    across = nn", "changed what it was given"),
    ("pooled_head", "classes, columns = weight.shape", "classes, columns = weight.mul_(2).shape", "what it was given"),
    ("pooled_head", "nn.AdaptiveAvgPool2d(1)", "nn.AvgPool2d(int((columns // channels) ** 0.5))", "a size of its own"),
    ("Swapout", "second * y", "self.branch(second * x)", "F(X) is dropped, F(0)"),
    ("Swapout", "return first * x + second * y", "return (first * x + second * y).relu()", "negative is cut off"),
    ("Swapout", "self.keep = 1 - (1 - last) * block / blocks",
     "self.keep = nn.Parameter(torch.tensor(1 - (1 - last) * block / blocks))", "nothing trains it"),
    ("Residual", "self.branch[-1].parameters()", "self.branch.parameters()", "with a weight of 0 too"),
    ("Residual", "3, stride=stride, padding=1),\n            nn.ReLU(),\n            nn.Conv2d(width, outputs, 1)",
     "3, padding=1), nn.ReLU(), nn.Conv2d(width, outputs, 1, stride=stride)", "four times as many places"),
]


@pytest.mark.parametrize(("exercise", "before", "after", "cause"), MISTAKES, ids=[f"{m[0]}-{m[3]}" for m in MISTAKES])
def test_a_mistake_gets_its_cause(exercise, before, after, cause):
    answer = Answer(exercise, _with(exercise, before, after), right=False)
    failed = [verdict for verdict in running.try_answer(answer, checks_of(checks), compact) if not verdict.passed]
    assert any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]
    assert any(not verdict.hidden for verdict in failed)


EVERYWHERE = [  # checks that fail for one reason all name it
    ("flattened", ", dtype=dtype", "", "layers are float32"),
    ("Swapout", "first * x + second * y", "(first * x + second * y) / self.keep", "divided by keep"),
    ("Swapout", "return first * x", "return x", "X always passes"),
]


@pytest.mark.parametrize(("exercise", "before", "after", "cause"), EVERYWHERE, ids=[each[3] for each in EVERYWHERE])
def test_no_check_blames_something_else(exercise, before, after, cause):
    answer = Answer(exercise, _with(exercise, before, after), right=False)
    failed = [verdict for verdict in running.try_answer(answer, checks_of(checks), compact) if not verdict.passed]
    named = [verdict.cause for verdict in failed if verdict.check != "ends_of_the_probability"]
    assert len(named) > 1 and all(cause in each for each in named), named
    assert all(verdict.status == running.WRONG for verdict in failed)


@pytest.mark.parametrize(("exercise", "given"), [
    ("Fire", blocks.fire), ("depthwise_separable", blocks.separable), ("flattened", blocks.flattened),
    ("oct_convolution", blocks.Octave), ("Swapout", blocks.Shortcut), ("Residual", imagenet.Bottleneck),
    ("Residual", blocks.bottleneck), ("Swish", blocks.Swish), ("Inception", imagenet.Inception),
    ("Inception", blocks.inception),
])  # fmt: skip
def test_no_block_of_the_toolkit_is_an_answer(exercise, given):
    verdicts = running.try_answer(Answer(exercise, given, right=False), checks_of(checks), compact)
    assert sum(v.weight for v in verdicts if v.passed) <= sum(v.weight for v in verdicts) / 2


def test_what_saves_nothing_earns_little():
    def multiplied_out(lateral, vertical, horizontal, bias):
        three = compact.flattened(lateral, vertical, horizontal, bias)
        kernel = torch.einsum("pc,py,px->pcyx", lateral, vertical, horizontal)
        one = nn.Conv2d(lateral.shape[1], len(lateral), tuple(kernel.shape[2:]), bias=bias is not None,
                        padding=(kernel.shape[2] // 2, kernel.shape[3] // 2), dtype=lateral.dtype)
        one.load_state_dict({"weight": kernel} | ({} if bias is None else {"bias": three[2].bias}))
        return nn.Sequential(one)

    exercise = checks.UNIT.exercise("flattened")
    verdicts = running.try_answer(Answer("flattened", multiplied_out, right=False), checks_of(checks), compact)
    assert running.points(exercise, verdicts) < exercise.points / 3
