"""Stand-ins behave as the things themselves, or say that they can't."""

import copy
import functools
import gc
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from nutshell import expect, models
from nutshell.expect import CheckFailed, LearnerRaised
from nutshell.wire import CannotCross, inout
from nutshell.wire.channel import Loopback
from nutshell.wire.codec import Limits
from nutshell.wire.errors import Missing, MissingAttribute, NotPlainData, OverBounds
from nutshell.wire.harness import Harness
from nutshell.wire.standins import Implementation


class Net(nn.Module):
    """Tied weights, batch normalisation, a buffer that isn't saved, a plain attribute, a method and a child."""

    def __init__(self, size):
        super().__init__()
        self.first = nn.Linear(size, size)
        self.norm = nn.BatchNorm1d(size)
        self.last = nn.Linear(size, size)
        self.last.weight = self.first.weight
        self.register_buffer("steps", torch.zeros(1), persistent=False)
        self.size = size

    def forward(self, x, *, scale=1.0):
        self.steps += 1
        return scale * self.last(torch.tanh(self.norm(self.first(x))))

    def encode(self, x):
        return self.first(x)

    def shift_(self, by):
        with torch.no_grad():
            self.first.bias += by


class Liar:
    """A value that equals everything and is any number."""

    def __eq__(self, other):
        return True

    __hash__ = None

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("looked at")

    def __float__(self):
        return 1.0

    def __len__(self):
        return 3

    word = "public"


class LyingArray(np.ndarray):
    def __eq__(self, other):
        return True

    __hash__ = None


def count(items):
    for item in items:
        yield {"item": item}


def branch(x, y):
    return {"sum": x + y, "parts": (x * y, [x.argmax()]), "plain": 3}


class Printing(Exception):
    def __str__(self):
        raise ValueError("no text")


def fail(kind):
    raise {"value": ValueError("too bad"), "stub": NotImplementedError(), "exit": SystemExit(3), "text": Printing()}[
        kind
    ]


NAMES = dict(
    Net=Net,
    Liar=Liar,
    count=count,
    branch=branch,
    fail=fail,
    answer=42,
    lie=Liar,
    lying_array=lambda: np.ones(3).view(LyingArray),
    lie_in_a_list=lambda: [1, Liar()],
    gru=lambda: nn.GRU(3, 4, batch_first=True),
    shrink_=lambda w: w.__imul__(0.5),
    sort_=lambda items: items.sort(),
    fill_=lambda d: d.update(a=1),
    rebind=lambda w: None,
    kind_of=lambda x: type(x).__name__,
    call=lambda f, x: f(x),
    meta_kernel=lambda: torch.empty(2, device="meta").numpy(),
    detached=lambda x: (x * 2).detach(),
    optimise=lambda factory, w: factory([w]).defaults["lr"],
    count_of=lambda net: sum(p.numel() for p in net.parameters()),
    run_net=lambda net, x: net(x),
    new_tensor=lambda: torch.ones(2, requires_grad=True) * 2,
    huge=lambda: [0] * 10_000_000,
    sizes=lambda net: [tuple(p.shape) for p in net.parameters()],
    generator_fails=lambda: (1 / (2 - i) for i in range(4)),
    lazy=lambda: nn.LazyLinear(3),
    objects=lambda: np.array([object()]),
    cubed=lambda x: x**3,
    tail=lambda net: net.first,
)


@pytest.fixture
def learner():
    return Implementation(Loopback(NAMES))


@pytest.fixture
def twins(learner):
    """The learner's network over the wire, and the same one here."""
    torch.manual_seed(1)
    here, far = Net(3), learner.Net(3)
    far.load_state_dict(here.state_dict())
    return far, here


def test_functions_return_plain_data(learner):
    got = learner.branch(torch.tensor([1.0, 2.0]), np.float64(3))
    assert got["sum"].tolist() == [4, 5] and got["parts"][1][0].item() == 1 and got["plain"] == 3
    assert learner.answer == 42


def test_classes_make_objects_with_attributes(learner):
    liar = learner.Liar()
    assert liar.word == "public"
    with pytest.raises(MissingAttribute, match="nothing_here"):
        _ = liar.nothing_here
    assert not hasattr(learner, "nothing_here")
    with pytest.raises(Missing):
        learner.nothing_here()


def test_generators_cross_item_by_item(learner):
    items = learner.count([1, 2])
    assert next(items) == {"item": 1} and list(items) == [{"item": 2}]
    failing = learner.generator_fails()
    assert [next(failing), next(failing)] == [0.5, 1.0]
    with pytest.raises(LearnerRaised, match="ZeroDivisionError"):
        next(failing)
    with pytest.raises(CannotCross):
        learner.count([1]).send(3)


@pytest.mark.parametrize(
    "kind, name, not_done",
    [
        ("value", "ValueError", False),
        ("stub", "NotImplementedError", True),
        ("exit", "SystemExit", False),
        ("text", "Printing", False),
    ],
)
def test_errors_cross_as_text(learner, kind, name, not_done):
    with pytest.raises(LearnerRaised) as raised:
        learner.fail(kind)
    assert raised.value.kind == name and raised.value.not_done is not_done
    assert "in fail" in raised.value.traceback and "harness" not in raised.value.traceback


def test_torchs_own_not_implemented_error_is_not_the_stub(learner):
    with pytest.raises(LearnerRaised) as raised:
        learner.meta_kernel()
    assert not raised.value.not_done


@pytest.mark.parametrize(
    "argument, call",
    [
        (np.ones(3), "shrink_"),
        (torch.ones(3), "shrink_"),
        ([3, 1, 2], "sort_"),
        ({"b": 2}, "fill_"),
    ],
)
def test_only_marked_arguments_change(learner, argument, call):
    before = copy.deepcopy(argument)
    getattr(learner, call)(argument)
    assert np.array_equal(np.asarray(argument), np.asarray(before))
    getattr(learner, call)(inout(argument))
    NAMES[call](before)
    assert np.array_equal(np.asarray(argument), np.asarray(before))
    with pytest.raises(CannotCross):
        inout(3)


def test_gradients_of_functions(learner):
    x = torch.randn(4, dtype=torch.double, requires_grad=True)
    y = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, y: (learner.branch(x, y)["sum"], learner.branch(x, y)["parts"][0]), (x, y)
    )
    assert torch.autograd.gradcheck(lambda x: learner.branch(x, x)["parts"][0], (x,))
    value = learner.branch(x.exp(), y.detach())["parts"][0].sum()
    value.backward(retain_graph=True)
    value.backward()
    assert torch.allclose(x.grad, 2 * x.exp() * y)
    with torch.no_grad():
        assert not learner.branch(x, y)["sum"].requires_grad
    assert not learner.detached(x).requires_grad and not learner.new_tensor().requires_grad


def test_a_module_is_the_same_module_far_away(twins):
    far, here = twins
    assert list(far.state_dict()) == list(here.state_dict())
    assert [name for name, _ in far.named_parameters()] == [name for name, _ in here.named_parameters()]
    assert [name for name, _ in far.named_buffers()] == [name for name, _ in here.named_buffers()]
    assert [name for name, _ in far.named_modules()] == [name for name, _ in here.named_modules()]
    assert far.last.weight is far.first.weight and far.size == 3 and far.first.in_features == 3
    assert far[0].weight is far.first.weight and len(far) == 3


def test_training_far_away_is_training_here(twins):
    inputs = torch.randn(8, 3)
    losses = []
    for net in twins:
        wrapped = nn.Sequential(net, nn.Tanh())
        optimiser = torch.optim.Adam(wrapped.parameters(), lr=0.05)
        for step in range(4):
            net.train(step != 2)
            loss = (wrapped(inputs) - inputs).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        net.eval()
        losses.append(net(inputs, scale=2.0).sum().item())
    assert losses[:5] == pytest.approx(losses[5:], rel=1e-5)
    far, here = twins
    for name, value in here.state_dict().items():
        assert torch.allclose(far.state_dict()[name], value, atol=1e-6), name
    assert far.steps.item() == here.steps.item() == 5


def test_double_data_and_gradcheck(twins):
    far, here = twins
    x = torch.randn(3, 3, dtype=torch.double, requires_grad=True)
    far.double().eval()
    here.double().eval()
    assert torch.allclose(far(x), here(x), atol=1e-12)
    assert torch.autograd.gradcheck(far, (x,))
    far.first.weight.data.zero_()  # behind the version counter
    assert torch.equal(far(x), far.last.bias.expand(3, 3) + 0 * x)


def test_frozen_parameters_and_autograd_grad(twins):
    far, here = twins
    x = torch.randn(4, 3)
    for net in twins:
        net.norm.requires_grad_(False)
    for a, b in zip(
        torch.autograd.grad(far(x).sum(), [p for p in far.parameters() if p.requires_grad]),
        torch.autograd.grad(here(x).sum(), [p for p in here.parameters() if p.requires_grad]),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-5)


def test_methods_take_state_and_gradients_along(twins):
    far, _ = twins
    x = torch.randn(2, 3)
    with torch.no_grad():
        far.first.bias.fill_(7)
    far.encode(x).sum().backward()
    assert torch.allclose(far.encode(x), x @ far.first.weight.T + 7, atol=1e-6) and far.first.bias.grad.tolist() == [
        2,
        2,
        2,
    ]
    far.shift_(3.0)
    assert far.first.bias.tolist() == [10, 10, 10]


def test_recurrent_networks_return_tuples(learner):
    far, here = learner.gru(), nn.GRU(3, 4, batch_first=True)
    here.load_state_dict(far.state_dict())
    x = torch.randn(2, 5, 3)
    for got, want in zip(far(x), here(x), strict=True):
        assert torch.allclose(got, want, atol=1e-6)


def test_a_learners_module_goes_back_as_an_argument(learner):
    fresh = learner.Net(3).eval()
    x = torch.randn(2, 3)
    with torch.no_grad():
        fresh.first.bias.fill_(1)
    assert torch.allclose(learner.run_net(fresh, x), fresh(x))
    with pytest.raises(CannotCross, match="other implementation"):
        learner.run_net(far_of_another(), x)
    assert learner.tail(fresh).in_features == 3


def far_of_another():
    return Implementation(Loopback(NAMES)).Net(3)


@pytest.mark.parametrize(
    "network",
    [
        models.build("mlp", sizes=(6, 5, 4), seed=3),
        nn.Linear(3, 2, bias=False),
        nn.Conv2d(2, 4, 3, groups=2, padding="same"),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()),
        nn.GRU(3, 4, num_layers=2),
        models.build("resnet-20", widths=(4, 8, 16)),
        models.build("alexnet", device="meta"),
        nn.LayerNorm(3),
        nn.Embedding(4, 2),
        nn.MultiheadAttention(4, 2),
    ],
)
def test_networks_of_the_toolkits_cross(learner, network):
    if isinstance(network, nn.MultiheadAttention):
        with pytest.raises(CannotCross, match=r"models\.build"):
            learner.count_of(network)
        return
    assert learner.count_of(network) == sum(p.numel() for p in network.parameters())
    assert learner.kind_of(network) == type(network).__name__


def test_a_network_crosses_with_weights_modes_and_frozen_parameters(learner):
    network = models.build("lenet-5-caffe", seed=5).eval()
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(learner.run_net(network, x), network(x))
    dropout = nn.Sequential(nn.Dropout(0.5), nn.Identity()).eval()
    assert torch.equal(learner.run_net(dropout, x), x)


@pytest.mark.parametrize(
    "item",
    [
        functional.cross_entropy,
        torch.relu,
        nn.ReLU,
        torch.optim.SGD,
        np.float32,
        torch.float64,
        int,
        functools.partial(torch.optim.SGD, lr=0.1),
        nn.CrossEntropyLoss(label_smoothing=0.1),
    ],
)
def test_named_functions_and_types_cross(learner, item):
    assert learner.kind_of(item) == type(item).__name__


def test_named_functions_are_what_they_name(learner):
    assert learner.call(functional.gelu, torch.tensor([1.0])).item() == functional.gelu(torch.tensor([1.0])).item()
    assert learner.optimise(functools.partial(torch.optim.SGD, lr=0.25), torch.ones(1)) == 0.25


class Custom(nn.Module):
    def forward(self, x):
        return x


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def tied():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    return nn.Sequential(first, second)


@pytest.mark.parametrize(
    "value, advice",
    [
        (Custom(), "models.build"),
        (hooked(), "models.build"),
        (tied(), "models.build"),
        (nn.Sequential(Custom()), "models.build"),
        (lambda x: x, "no calls back"),
        (test_named_functions_are_what_they_name, "calls back"),
        (functools.partial(print, 1), "no calls back"),
        (iter([1]), "list of batches"),
        (torch.utils.data.DataLoader([1]), "list of batches"),
        ((i for i in range(3)), "list of batches"),
        (torch.optim.SGD([torch.ones(1)], lr=1.0), "factory"),
        (torch.Generator(), "seed"),
        (np.random.default_rng(), "seed"),
        (np.ones(2).view(LyingArray), "subclass"),
        (object(), "plain data"),
        ([{"deep": (object(),)}], "plain data"),
        (np.array([object()]), "plain data"),
        (type("Words", (str,), {})("x"), "subclass"),
    ],
)
def test_what_cannot_cross_is_the_authors_error_with_advice(learner, value, advice):
    with pytest.raises(CannotCross, match=advice):
        learner.kind_of(value)


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.register_forward_hook(lambda *_: None),
        lambda net: net.first.register_forward_pre_hook(lambda *_: None),
        lambda net: net.register_full_backward_hook(lambda *_: None),
        lambda net: isinstance(net, nn.Linear),
        lambda net: isinstance(net.first, nn.Linear),
        lambda net: net.first(torch.ones(1, 3)),
        copy.deepcopy,
        copy.copy,
        pickle.dumps,
        lambda net: setattr(net, "first", nn.Linear(3, 3)),
        lambda net: net.register_buffer("x", torch.ones(1)),
        lambda net: net.add_module("x", nn.ReLU()),
        lambda net: delattr(net, "first"),
        lambda net: setattr(net, "size", 4),
        lambda net: prune.random_unstructured(net.first, "weight", 0.5),
        lambda net: torch.autograd.grad(net(torch.ones(2, 3)).sum(), net.first.bias, create_graph=True),
    ],
)
def test_uses_of_a_module_that_never_pass_in_silence(learner, use):
    with pytest.raises(CannotCross):
        use(learner.Net(3))


def test_second_derivatives_are_the_authors_error(learner):
    x = torch.ones(2, dtype=torch.double, requires_grad=True)
    with pytest.raises(CannotCross, match="return the gradient"):
        torch.autograd.gradgradcheck(learner.cubed, (x,))


def test_classes_and_functions_can_not_be_copied_or_asked(learner):
    for use in (
        lambda: isinstance(3, learner.Net),
        lambda: issubclass(int, learner.Net),
        lambda: copy.deepcopy(learner.Net),
        lambda: setattr(learner.Net, "x", 1),
        lambda: pickle.dumps(learner.branch),
    ):
        with pytest.raises(CannotCross):
            use()


@pytest.mark.parametrize(
    "use",
    [
        lambda liar: liar == 3,
        lambda liar: expect.close(liar, 1.0, "it"),
        lambda liar: expect.equal(liar, 1, "it"),
        lambda liar: expect.equal([liar], [1], "it"),
        float,
        int,
        len,
        bool,
        list,
        np.asarray,
        torch.tensor,
        lambda liar: liar + 1,
        lambda liar: 1 - liar,
        lambda liar: liar[0],
        lambda liar: liar < 1,
        lambda liar: isinstance(liar, float),
        str,
        lambda liar: f"{liar:.2f}",
        lambda liar: 3 in liar,
    ],
)
def test_a_lying_object_is_never_a_value(learner, use):
    for liar in (learner.lie(), learner.lying_array(), learner.lie_in_a_list()[1]):
        with pytest.raises(CheckFailed):
            use(liar)


def test_a_module_is_never_a_value(learner):
    for use in (lambda net: expect.close(net, 1.0, "it"), lambda net: expect.equal(net, 1, "it"), np.asarray):
        with pytest.raises(CheckFailed):
            use(learner.Net(2))


def test_replies_out_of_bounds_and_arrays_of_objects(learner):
    with pytest.raises(OverBounds):
        learner.huge()
    with pytest.raises(NotPlainData):
        learner.objects()
    with pytest.raises(NotPlainData, match="lazy"):
        learner.lazy()
    small = Implementation(Loopback(NAMES), limits=Limits(size=500))
    with pytest.raises(CannotCross, match="can't cross"):
        small.kind_of(np.ones(1000))


class Forged:
    """The other end of a channel that answers with what a cheat would like."""

    def __init__(self, *replies):
        self.replies = list(replies)

    def request(self, label, message):
        from nutshell.wire import codec

        if label == "drop":
            return codec.encode({"value": None})
        reply = self.replies.pop(0)
        return reply if isinstance(reply, bytes) else codec.encode(reply, pack=lambda value: value())


def tagged(tag, payload):
    from nutshell.wire.codec import Tagged

    return lambda: Tagged(tag, payload)


FUNCTION = {"value": tagged("handle", {"handle": 1, "kind": "function", "name": "f"})}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"garbage",
        [],
        {},
        {"value": 1},
        {"value": 1, "tape": 5, "inout": [], "states": 3},
        {"error": 3},
        {"over": 1},
        {"value": tagged("handle", 3)},
        {"value": tagged("handle", {"handle": "x", "kind": "function", "name": "f"})},
        {
            "value": tagged(
                "handle", {"handle": 2, "kind": "module", "name": "f", "modules": [], "parameters": [], "buffers": []}
            )
        },
        {
            "value": tagged(
                "handle",
                {
                    "handle": 2,
                    "kind": "module",
                    "name": "f",
                    "modules": [("", "N", True), ("a.b", "N", True)],
                    "parameters": [],
                    "buffers": [],
                },
            )
        },
        {
            "value": tagged(
                "handle",
                {
                    "handle": 2,
                    "kind": "module",
                    "name": "f",
                    "modules": [("", "N", True)],
                    "parameters": [("w", "tied to nothing", True)],
                    "buffers": [],
                },
            )
        },
        {"value": tagged("named", "torch.relu")},
        {"value": tagged("layers", {"kind": "Linear"})},
        {"value": tagged("output", (0, 1)), "tape": 5, "inout": [], "states": []},
        {"value": 1, "tape": None, "inout": [1, 2], "states": []},
        {"value": 1, "tape": None, "inout": [], "states": [(7, {})]},
    ],
)
def test_forged_replies_are_out_of_bounds(reply):
    with pytest.raises(OverBounds):
        Implementation(Forged(FUNCTION, reply)).f(torch.ones(1, requires_grad=True))


def test_nothing_is_held_once_nobody_asks():
    harness = Harness(dict(NAMES))
    learner = Implementation(Loopback(harness))
    for _ in range(20):
        net = learner.Net(3)
        net(torch.ones(2, 3)).sum().backward()
        list(learner.count([1, 2]))
    del net
    gc.collect()
    _ = learner.answer
    assert len(harness.held) <= 3  # the class and the functions


def test_the_learners_random_numbers_are_its_own():
    learner = Implementation(Loopback(dict(draw=lambda: torch.rand(1).item())))
    torch.manual_seed(3)
    first, drawn = torch.rand(1), [learner.draw() for _ in range(3)]
    second = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), torch.cat([first, second])) and len(set(drawn)) == 3
