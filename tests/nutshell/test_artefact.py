"""What is saved is what comes back."""

import copy
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from nutshell import artefact, models
from nutshell.artefact import CannotSave, Dense, LowRank
from nutshell.errors import WrongUse
from tests.fuzz.mutations import Branches

IMAGE = (1, 28, 28)
TRAINED_HERE = ("mlp", "lenet-300-100", "lenet-5-caffe", "lenet-5", "vgg-small", "resnet-20")


def there_and_back(network: nn.Module, input_shape=IMAGE, **encodings) -> artefact.Artefact:
    return artefact.read(artefact.to_bytes(network, input_shape=input_shape, encodings=encodings or None))


def assert_same(network: nn.Module, found: artefact.Artefact, images: torch.Tensor | None = None) -> None:
    """Same outputs, bit for bit, on images that saving hasn't seen."""
    images = torch.randn(3, *found.input_shape, dtype=found.dtype) if images is None else images
    with torch.no_grad():
        assert torch.equal(network.eval()(images), found.network(images))


@pytest.mark.parametrize("name", TRAINED_HERE)
def test_every_network_comes_back_bit_for_bit(name):
    network = models.build(name, seed=1)
    if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        network(torch.randn(4, *models.INPUT_SHAPES[name]))  # so that the running statistics are not the initial ones
    found = there_and_back(network, models.INPUT_SHAPES[name])
    before, after = network.state_dict(), found.network.state_dict()
    assert list(before) == list(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]) and value.dtype == after[key].dtype, key
    assert_same(network, found)


@pytest.mark.parametrize(("name", "most"), [("lenet-300-100", 200), ("lenet-5-caffe", 260), ("resnet-20", 900)])
def test_header_and_graph_take_a_few_hundred_bytes(name, most):
    found = there_and_back(models.build(name), models.INPUT_SHAPES[name])
    assert found.bytes - sum(tensor.bytes for tensor in found.tensors) < most


def test_layers_are_ordinary_ones_under_their_own_names():
    found = there_and_back(models.build("lenet-5-caffe")).network
    assert type(found.conv1) is nn.Conv2d and type(found.fc1) is nn.Linear
    assert not found.training
    assert all(parameter.requires_grad for parameter in found.parameters())


def test_a_loaded_network_can_be_saved_again_and_gives_the_same_bytes():
    data = artefact.to_bytes(models.build("resnet-20"), input_shape=(3, 32, 32))
    assert artefact.to_bytes(artefact.read(data).network, input_shape=(3, 32, 32)) == data


def test_saving_leaves_network_and_random_state_alone(tmp_path):
    network = models.build("vgg-small").train()
    network.norm1_1.eval()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    modes = [module.training for module in network.modules()]
    size = artefact.save(network, tmp_path / "a.nut", input_shape=(3, 32, 32))
    artefact.load(tmp_path / "a.nut")
    assert size == (tmp_path / "a.nut").stat().st_size
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_functions_and_branches_are_saved_as_what_they_do():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding="same", groups=2)
            self.fc = nn.Linear(4 * 6 * 6 * 2, 10)
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
            x = x + torch.sigmoid(self.conv2(x))
            x = functional.avg_pool2d(x, (2, 2), ceil_mode=True)
            x = functional.adaptive_avg_pool2d(functional.dropout(x, 0.2, self.training), 6)
            x = torch.cat((x, x.tanh()), dim=1)
            x = self.drop(x.view(x.size(0), -1))
            return functional.log_softmax(self.fc(x), dim=1)

    network = Functional()
    found = there_and_back(network)
    assert_same(network, found)
    assert [node.operation for node in found.graph.nodes] == [
        "conv2d", "relu", "max_pool2d", "conv2d", "sigmoid", "add", "avg_pool2d", "adaptive_avg_pool2d", "tanh",
        "concatenate", "flatten", "linear", "log_softmax",
    ]  # fmt: skip


@pytest.mark.parametrize("flatten", [
    lambda x: x.view(x.shape[0], -1), lambda x: x.reshape(-1, 784), lambda x: x.flatten(1),
    lambda x: torch.flatten(x, start_dim=1), lambda x: x.view((x.size()[0], -1)), lambda x: x.contiguous().flatten(1),
])  # fmt: skip
def test_every_way_to_flatten(flatten):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(784, 10)

        def forward(self, x):
            return self.fc(flatten(x))

    network = Flat()
    found = there_and_back(network)
    assert_same(network, found)
    assert found.graph.nodes[0].operation == "flatten"


def test_shared_tensors_are_stored_once_and_stay_shared():
    network = Branches()
    found = there_and_back(network, (1, 8, 8))
    assert_same(network, found)
    assert found.graph.shared == {"tied.weight": "fc.weight"}
    names = [tensor.name for tensor in found.tensors]
    assert names.count("fc.weight") == 1 and "tied.weight" not in names
    assert found.network.tied.weight is found.network.fc.weight
    assert [node.name for node in found.graph.nodes].count("twice") == 2


def test_one_layer_alone_is_a_network():
    layer = nn.Linear(5, 2)
    found = there_and_back(layer, (5,))
    assert torch.equal(found.network.state_dict()["0.weight"], layer.weight)


def test_one_dimensional_layers():
    network = nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, dilation=2), nn.BatchNorm1d(4, affine=False), nn.MaxPool1d(2),
                            nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(12, 2))  # fmt: skip
    network(torch.randn(4, 2, 40))
    assert_same(network, there_and_back(network, (2, 40)))


@pytest.mark.parametrize("module", [
    nn.ReLU6(), nn.LeakyReLU(0.3), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Softmax(-1), nn.LogSoftmax(1), nn.Tanh(),
    nn.Sigmoid(), nn.ReLU(inplace=True), nn.LocalResponseNorm(3, alpha=0.1), models.cifar.PaddedShortcut(4),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(2), nn.BatchNorm2d(3, eps=0.1),
    nn.Conv2d(3, 6, (3, 1), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=3), nn.Linear(9, 2, bias=False),
], ids=repr)  # fmt: skip
def test_every_option_of_every_layer_comes_back(module):
    network = nn.Sequential(module, nn.Dropout(), nn.Identity())
    images = torch.randn(2, 3, 9, 9)
    found = there_and_back(network, (3, 9, 9))
    assert_same(network, found, images.clone())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_stay_what_they_are(dtype):
    network = models.build("mlp", sizes=(784, 5, 2)).to(dtype)
    found = there_and_back(network)
    assert found.dtype == dtype and found.network.fc1.weight.dtype == dtype
    assert_same(network, found)


def test_pruned_layers_are_saved_with_their_zeros():
    network = models.build("mlp", sizes=(784, 8, 2))
    prune.l1_unstructured(network.fc1, "weight", amount=0.9)
    found = there_and_back(network)
    assert (found.network.fc1.weight == 0).float().mean() > 0.89
    assert_same(network, found)


def test_parametrised_layers_are_saved_as_what_they_compute():
    network = models.build("mlp", sizes=(784, 8, 2))
    nn.utils.parametrizations.weight_norm(network.fc1)
    found = there_and_back(network)
    assert type(found.network.fc1) is nn.Linear
    assert_same(network, found)


# Encodings


@settings(max_examples=30, deadline=None)
@given(outputs=st.integers(1, 12), inputs=st.integers(1, 12), data=st.data())
def test_low_rank_stores_and_runs_the_factors_of_the_nearest_matrix(outputs, inputs, data):
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    layer = nn.Linear(inputs, outputs)
    found = there_and_back(nn.Sequential(layer), (inputs,), **{"0.weight": LowRank(rank)})
    first, second = found.network.get_submodule("0")
    assert (tuple(first.weight.shape), tuple(second.weight.shape)) == ((rank, inputs), (outputs, rank))
    assert found.tensors[0].bytes == 4 * rank * (inputs + outputs)
    assert found.macs == rank * (inputs + outputs)
    values = torch.linalg.svdvals(layer.weight.double())
    error = (second.weight.double() @ first.weight.double() - layer.weight.double()).square().sum()
    assert error.item() == pytest.approx(values[rank:].square().sum().item(), abs=1e-6)
    assert torch.equal(second.bias, layer.bias) and first.bias is None


def test_low_rank_of_a_convolution_is_two_convolutions():
    layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    found = there_and_back(nn.Sequential(layer), (3, 9, 9), **{"0.weight": LowRank(8)})
    images = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(found.network(images), layer(images), rtol=1e-4, atol=1e-5)
    assert found.macs == 25 * (8 * 27 + 8 * 8)


def test_factors_of_ones_own_are_stored_as_they_are():
    network = models.build("lenet-300-100")
    left, right = torch.randn(300, 7), torch.randn(7, 784)
    found = there_and_back(network, **{"fc1.weight": LowRank(factors=(left, right))}).network
    assert torch.equal(found.fc1[0].weight, right) and torch.equal(found.fc1[1].weight, left)


def test_low_rank_networks_can_be_saved_again():
    data = artefact.to_bytes(models.build("lenet-300-100"), input_shape=IMAGE, encodings={"fc1.weight": LowRank(9)})
    network = artefact.read(data).network
    again = there_and_back(network)
    assert_same(network, again)
    assert [tensor.name for tensor in again.tensors][:3] == ["fc1.0.weight", "fc1.1.weight", "fc1.1.bias"]
    assert artefact.fingerprint(again.network) == artefact.read(data).fingerprint


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
       st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 2**32 - 1))  # fmt: skip
def test_dense_numbers_come_back(dtype, shape, seed):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    settings_, payload = Dense(dtype).encode(tensor)
    Dense.check(tuple(shape), "float32", settings_, len(payload))
    back = Dense.decode(memoryview(payload), tuple(shape), "float32", settings_)[""]
    assert back.dtype == torch.float32
    assert torch.equal(back, tensor.to(getattr(torch, dtype)).float())


@pytest.mark.parametrize(("dtype", "values"), [("int8", [-128.0, 127]), ("uint8", [0.0, 255]), ("int16", [-300.0, 7])])
def test_whole_numbers_can_be_stored_as_such(dtype, values):
    payload = Dense(dtype).encode(torch.tensor(values))[1]
    assert torch.equal(Dense.decode(memoryview(payload), (2,), "float32", {"stored": dtype})[""], torch.tensor(values))


@pytest.mark.parametrize(("encoding", "values"), [(Dense("int8"), [0.5]), (Dense("uint8"), [-1.0]),
                                                 (Dense("int8"), [200.0]), (Dense("float16"), [1e6])])  # fmt: skip
def test_numbers_that_a_dtype_cannot_hold_are_refused(encoding, values):
    with pytest.raises(ValueError):
        encoding.encode(torch.tensor(values))


@pytest.mark.parametrize(("encoding", "words"), [
    (LowRank(0), "from 1 to 300"), (LowRank(301), "from 1 to 300"), (Dense("int8"), "whole numbers"),
    (LowRank(factors=(torch.ones(300, 2), torch.ones(3, 784))), "don't make"),
])  # fmt: skip
def test_an_encoding_that_does_not_fit_is_refused_by_name(encoding, words):
    with pytest.raises(CannotSave, match=f"fc1.weight.*{words}"):
        artefact.to_bytes(models.build("lenet-300-100"), input_shape=IMAGE, encodings={"fc1.weight": encoding})


@pytest.mark.parametrize("build", [lambda: LowRank(), lambda: LowRank(2, (torch.ones(2, 1), torch.ones(1, 2))),
                                  lambda: Dense("float8"), lambda: LowRank(2, stored="complex64")])  # fmt: skip
def test_encodings_refuse_arguments_that_make_no_sense(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize(("encodings", "words"), [
    ({"fc1.wieght": LowRank(3)}, "Did you mean 'fc1.weight'"), ({"fc1.weight": "low_rank"}, "give an encoding"),
])  # fmt: skip
def test_encodings_of_tensors_that_are_not_there_are_wrong_use(encodings, words):
    with pytest.raises(WrongUse, match=words):
        artefact.to_bytes(models.build("lenet-300-100"), input_shape=IMAGE, encodings=encodings)


def test_an_encoding_names_the_tensor_that_is_stored():
    with pytest.raises(WrongUse, match=r"the same tensor as fc\.weight"):
        artefact.to_bytes(Branches(), input_shape=(1, 8, 8), encodings={"tied.weight": Dense("float16")})


# What can't be saved


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.ones(1, 28))

    def forward(self, x):
        return torch.relu(x) + self.table


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Masked(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight * 2, self.bias)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class Hooked(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 3))
        self[1].register_forward_hook(lambda module, inputs, output: output + 1)


class Pair(nn.Module):
    def forward(self, x):
        return torch.relu(x), x


@pytest.mark.parametrize(("network", "words"), [
    (nn.Sequential(nn.Flatten(2), nn.GRU(784, 3)), "1 is a GRU"),
    (nn.Sequential(nn.Flatten(), nn.Sequential(Masked(784, 3))), r"1\.0"),
    (Constant(), "table is used outside of a layer"),
    (nn.Sequential(nn.ReLU(), Branching()), r"1 \(Branching\) can't be traced"),
    (TwoInputs(), "more than one argument"),
    (Hooked(), "hook"),
    (Pair(), "other than one tensor"),
    (nn.Sequential(nn.Identity()), "computes nothing"),
    (nn.Sequential(nn.Conv2d(1, 2, 3, padding_mode="reflect")), "padding_mode"),
    (nn.Sequential(nn.Conv2d(1, 2, 2, padding="same")), "wider on one side"),
    (nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)), "running"),
    (nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), "divisor_override"),
    (nn.Sequential(nn.Flatten(0)), "start_dim"),
    (nn.Sequential(nn.Conv2d(3, 2, 3)), "can't run on images of shape"),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 3), nn.Linear(3, 2).double()), "one dtype"),
    (models.build("mlp", device="meta"), "meta device"),
], ids=lambda value: value if isinstance(value, str) else type(value).__name__)  # fmt: skip
def test_what_cannot_be_expressed_is_refused_by_name(network, words, tmp_path):
    with pytest.raises(CannotSave, match=words):
        artefact.save(network, tmp_path / "a.nut", input_shape=IMAGE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    network = models.build("lenet-300-100")
    network.fc2.bias.data[3] = value
    with pytest.raises(CannotSave, match=r"fc2\.bias"):
        artefact.to_bytes(network, input_shape=IMAGE)


def test_a_network_that_readers_would_refuse_is_not_written():
    with pytest.raises(CannotSave, match="refused by its readers"):
        artefact.to_bytes(models.build("lenet-300-100"), input_shape=IMAGE, limits=artefact.Limits(total_elements=1000))


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.nut"
    artefact.save(nn.Linear(3, 2), path, input_shape=(3,))
    before = path.read_bytes()
    with pytest.raises(CannotSave):
        artefact.save(Constant(), path, input_shape=IMAGE)
    assert path.read_bytes() == before


# Any network


LAYERS = st.sampled_from(["relu", "conv", "grouped", "pool", "norm", "shortcut", "sum"])


class Random(nn.Module):
    """A convolutional network drawn at random."""

    def __init__(self, kinds: list[str]) -> None:
        super().__init__()
        self.kinds = kinds
        make = dict(relu=nn.ReLU, conv=lambda: nn.Conv2d(4, 4, 3, padding=1), pool=lambda: nn.MaxPool2d(2, 1, 1),
                    grouped=lambda: nn.Conv2d(4, 4, 1, groups=4, bias=False), norm=lambda: nn.BatchNorm2d(4),
                    shortcut=nn.Identity, sum=nn.Tanh)  # fmt: skip
        self.layers = nn.ModuleList(make[kind]() for kind in kinds)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            x = layer(x) + x if kind == "sum" else layer(x)
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


@settings(max_examples=25, deadline=None)
@given(kinds=st.lists(LAYERS, max_size=6), seed=st.integers(0, 2**16))
def test_any_network_of_known_layers_comes_back(kinds, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Random(kinds)
        images = torch.randn(2, 4, 6, 6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nut"
        artefact.save(network, path, input_shape=(4, 6, 6))
        assert_same(network, artefact.load(path), images)
