"""Counting leaves a network, its statistics and the random state exactly as they were."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from nutshell import meter, models
from nutshell.errors import WrongUse
from tests.nutshell.meter_networks import Forward, weight


class Busy(nn.Module):
    """Changes everything it can while it runs."""

    def __init__(self):
        super().__init__()
        self.fc = prune.l1_unstructured(nn.Linear(4, 4), "weight", amount=0.5)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.register_buffer("runs", torch.zeros(()))
        self.plain = torch.ones(4)
        self.cache = None

    def forward(self, x):
        self.runs += 1
        self.plain.mul_(2)
        self.cache = self.norm(self.fc(x)) * self.plain
        self.norm.momentum = 0.9
        self.extra = torch.rand(2)
        self.lazily = nn.Linear(4, 4, device=x.device)
        return self.lstm(self.drop(self.cache)[:, None])[0]


def _state(network):
    """Everything that could have changed: tensors by identity and value, attributes, modes, hooks."""
    modules = dict(network.named_modules())
    tensors = {name: (id(t), t.clone(), t._version) for name, t in network.state_dict(keep_vars=True).items()}
    attributes = {path: {k: id(v) for k, v in vars(m).items() if k != "training"} for path, m in modules.items()}
    modes = {path: module.training for path, module in modules.items()}
    hooks = {path: (list(m._forward_hooks), list(m._forward_pre_hooks)) for path, m in modules.items()}
    return tensors, attributes, modes, hooks


def _assert_same(before, after):
    tensors, *rest = before
    tensors_after, *rest_after = after
    assert rest == rest_after and tensors.keys() == tensors_after.keys()
    for name, (identity, value, version) in tensors.items():
        identity_after, value_after, version_after = tensors_after[name]
        assert (identity, version) == (identity_after, version_after)
        assert torch.equal(value, value_after) and value.device == value_after.device


@pytest.mark.parametrize("device", ["meta", "own"])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_a_busy_network_is_changed(device, training):
    network = Busy().train(training)
    network.norm.eval()  # modes may be mixed
    network.plain = torch.ones(4)
    flat = [id(tensor) for tensor in network.lstm._flat_weights]
    torch.manual_seed(11)
    before, random = _state(network), torch.random.get_rng_state()
    report = meter.count(network, (3, 4), device=device)
    assert report["fc"].macs == 3 * 16
    _assert_same(before, _state(network))
    assert [id(tensor) for tensor in network.lstm._flat_weights] == flat
    assert torch.equal(network.plain, torch.ones(4)) and network.cache is None
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.is_grad_enabled() and torch.backends.mha.get_fastpath_enabled()


def test_a_network_is_put_back_when_it_cannot_run():
    def stumble(self, x):
        self.count = 1
        raise ValueError("no")

    network = Forward(stumble, norm=nn.BatchNorm1d(4), w=weight(4, 4)).train()
    before = _state(network)
    with pytest.raises(WrongUse, match="no"):
        meter.count(network, (3, 4))
    _assert_same(before, _state(network))


@settings(max_examples=6, deadline=None)
@given(
    name=st.sampled_from(["lenet-5", "vgg-small", "resnet-20"]), training=st.booleans(), seed=st.integers(0, 99)
)
def test_a_counted_network_computes_what_it_computed_before(name, training, seed):
    network = models.build(name, seed=seed).train(training)
    twin = copy.deepcopy(network)
    torch.manual_seed(seed)
    random = torch.random.get_rng_state()
    meter.count(network, (1, *models.INPUT_SHAPES[name]))
    assert torch.equal(torch.random.get_rng_state(), random)
    assert network.training is training
    for (key, value), other in zip(network.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    images = torch.rand(2, *models.INPUT_SHAPES[name])
    assert torch.equal(network(images), twin(images))


def test_counting_twice_gives_the_same_and_gradients_still_flow():
    network = models.build("lenet-5")
    assert meter.count(network, (1, 1, 28, 28)) == meter.count(network, (1, 1, 28, 28))
    network(torch.rand(1, 1, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_network_is_counted_as_at_inference_and_its_own_hooks_run():
    seen = []
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(module.training))
    report = meter.count(network, (1, 4))  # batch normalisation in training would refuse a single row
    assert report.total.elementwise == {"normalisation": 8}
    assert seen == [False]
