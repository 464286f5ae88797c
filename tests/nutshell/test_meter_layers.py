"""What the meter says is stored, where it says it is counted, and what it refuses."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from nutshell import meter, models
from nutshell.errors import WrongUse
from tests.nutshell.meter_networks import Forward, weight


class Tied(nn.Module):
    """An autoencoder whose decoder shares its encoder's weight, and runs its middle layer twice."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 4, bias=False)
        self.middle = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 6, bias=False)
        self.again = self.middle
        self.other = nn.Linear(6, 4, bias=False)
        self.other.weight = self.encoder.weight

    def forward(self, x):
        code = self.again(self.middle(self.encoder(x)))
        return functional.linear(code, self.encoder.weight.T) + self.other(x).sum()


@pytest.mark.parametrize("device", ["meta", "own"])
def test_shared_weights_are_stored_once_and_executed_each_time(device):
    report = meter.count(Tied(), (2, 6), device=device)
    assert report["middle"].calls == 2 and report["middle"].macs == 2 * 2 * 16
    assert report["other"].parameters == 0 and report["other"].macs == 2 * 24
    assert (report.parameters, report.macs) == (24 + 20 + 24, 2 * (24 + 16 + 16 + 24 + 24))


def test_a_layer_that_never_runs_counts_its_parameters_only():
    report = meter.count(Tied(), (1, 6))
    decoder = report["decoder"]
    assert (decoder.parameters, decoder.macs, decoder.calls, decoder.output_shape) == (24, 0, 0, ())


def test_weights_in_a_buffer_are_parameters_and_running_statistics_are_not():
    network = Forward(lambda self, x: self.norm(x @ self.w), w=torch.ones(6, 4), norm=nn.BatchNorm1d(4))
    report = meter.count(network, (3, 6))
    assert (report.parameters, report.total.buffers) == (24 + 8, 4 + 4 + 1)
    assert report[""].macs == 3 * 24


def test_a_buffer_that_is_not_saved_with_the_network_is_no_parameter():
    network = nn.Linear(4, 4)
    network.register_buffer("table", torch.ones(4, 4), persistent=False)
    network.forward = lambda x: x @ network.table
    report = meter.count(network, (1, 4))
    assert (report.parameters, report.total.buffers, report.macs) == (20, 16, 16)


def test_zeros_and_masks_count_as_parameters_and_not_as_nonzero():
    network = nn.Linear(10, 6)
    with torch.no_grad():
        network.bias.zero_()
        network.weight[0] = 0
    rows = torch.tensor([0, 1, 1, 1, 1, 0.0])[:, None]
    prune.custom_from_mask(network, "weight", rows.expand(6, 10))
    total = meter.count(network, (1, 10)).total
    assert (total.parameters, total.nonzero, total.buffers) == (66, 40, 60)
    assert total.macs == 60  # a masked dense layer is executed densely
    # Multiplying weights by their mask is work of the layer, and makes no activations.
    report = meter.count(nn.Sequential(nn.ReLU(), network), (1, 10))
    assert (report["1"].elementwise, report["1"].activations) == ({"multiplication": 60}, 6)
    assert sum(operation.read for operation in report.operations if operation.layer == "1") == 10


def test_nonzeros_are_unknown_on_the_meta_device():
    report = meter.count(models.build("lenet-5", device="meta"), (1, 1, 28, 28))
    assert report.total.nonzero is None and report["relu1"].nonzero == 0


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
def test_a_sparse_layer_counts_its_nonzeros_when_it_runs_sparsely(layout):
    dense = torch.tensor([[0.0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0]])
    sparse = nn.Parameter(dense.to_sparse(layout=layout), requires_grad=False)
    network = Forward(lambda self, x: self.w @ x.T, w=sparse)
    report = meter.count(network, (5, 4))
    assert (report.macs, report.parameters, report.total.nonzero) == (3 * 5, 3, 3)
    masked = Forward(lambda self, x: x @ self.w.T, w=nn.Parameter(dense))
    assert (meter.count(masked, (5, 4)).macs, meter.count(masked, (5, 4)).total.nonzero) == (60, 3)


def test_operands_are_read_once_whatever_is_done_with_them():
    network = Forward(lambda self, x: torch.addmm(x, x, self.w), w=weight(4, 4))
    product, addition = meter.count(network, (3, 4)).operations
    assert (product.read, product.written, addition.read, addition.written) == (24, 12, 0, 0)
    assert (product.bias_adds, addition.elementwise) == (0, 12)


def test_bias_additions_are_those_of_something_stored():
    network = Forward(lambda self, x: (x @ self.w + self.b) + x @ self.w, w=weight(4, 4), b=weight(4))
    total = meter.count(network, (3, 4)).total
    assert (total.bias_adds, total.elementwise) == (12, {"addition": 12})


class Nested(nn.Module):
    """Layers, functional calls at two depths, and a residual addition."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.low = Forward(lambda self, x: x @ self.v @ self.u, v=weight(4, 2), u=weight(2, 4))
        self.head = weight(4, 3)

    def forward(self, x):
        return (self.low(self.block(x)) + x) @ self.head


def test_operations_belong_to_the_innermost_module_that_runs_them():
    report = meter.count(Nested(), (1, 4))
    counted = [(layer.name, layer.macs) for layer in report.layers]
    assert counted == [("block.0", 16), ("block.1", 0), ("low", 16), ("", 12)]
    assert report[""].elementwise == {"addition": 4} and report[""].parameters == 12
    assert report["block"].macs == 16 and report["low"].kind == "Forward"
    assert sum(layer.macs for layer in report.layers) == report.macs == 44


def test_layers_group_by_the_first_parts_of_their_path():
    report = meter.count(models.build("resnet-20", device="meta"), (1, 3, 32, 32))
    blocks = report.grouped(1)
    assert [block.name for block in blocks][:4] == ["conv", "norm", "relu", "block1_1"]
    assert sum(block.macs for block in blocks) == report.macs
    with pytest.raises(WrongUse, match="depth=0"):
        report.grouped(0)


def test_a_report_says_which_layers_it_has():
    report = meter.count(nn.Sequential(nn.Linear(2, 2)), (1, 2))
    with pytest.raises(WrongUse, match=r"no layer 'fc9'\. It has: 0"):
        report["fc9"]


def test_elementwise_operations_are_told_apart():
    network = nn.Sequential(
        nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LayerNorm(2), nn.Sigmoid(), nn.Softmax(1),
    )  # fmt: skip
    total = meter.count(network, (1, 2, 8, 8)).total
    assert total.elementwise == {
        "normalisation": 2 * 128 + 5 * 2, "activation": 128 + 2, "pooling": 128 + 32 + 8, "softmax": 3 * 2,
    }  # fmt: skip
    assert total.macs == 0


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5-caffe", "lenet-5", "vgg-small", "resnet-20", "pilotnet"])
def test_meta_and_cpu_agree_in_every_operation(name):
    network, shape = models.build(name), (1, *models.INPUT_SHAPES[name])
    meta, own = meter.count(network, shape, device="meta"), meter.count(network, shape, device="own")
    assert meta.operations == own.operations and meta.layers == own.layers
    assert (meta.device, own.device) == ("meta", "cpu")


def test_making_moving_and_choosing_values_costs_nothing():
    def shuffle(self, x):
        x = torch.cat((x, functional.pad(x, (1, 1))[:, 1:-1].flip(1)), dim=0).masked_fill(x[0] > 1, 0.0)
        return torch.where(self.chosen, x, x.roll(1))[[0, 1]].transpose(0, 1).contiguous()

    report = meter.count(Forward(shuffle, chosen=torch.ones(4, dtype=torch.bool)), (3, 4))
    assert [operation.name for operation in report.operations] == ["gt"]  # comparing is work


def test_a_small_network_on_the_cpu_is_counted_there_and_a_large_one_on_meta():
    assert meter.count(models.build("lenet-5"), (1, 1, 28, 28)).device == "cpu"
    network = models.build("resnet-50", device="meta").to_empty(device="cpu")
    assert meter.count(network, (1, 3, 224, 224)).device == "meta"


def test_a_network_that_looks_at_values_is_counted_where_they_are():
    network = Forward(lambda self, x: self.fc(x) if float(x.sum()) == 0 else x, fc=nn.Linear(1500, 1500))
    report = meter.count(network, (1, 1500))
    assert (report.device, report.macs) == ("cpu", 1500 * 1500)
    assert meter.count(network, inputs=torch.ones(1, 1500)).macs == 0
    with pytest.raises(WrongUse, match="does not run on an input of shape"):
        meter.count(network, (1, 1500), device="meta")


def test_integer_inputs_fetch_embeddings_for_nothing():
    network = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    report = meter.count(network, (3, 5), dtype=torch.long)
    assert (report.macs, report.parameters) == (3 * 5 * 8, 40 + 10)
    assert report["0"].parameters == 40 and [layer.name for layer in report.layers] == ["0", "1"]


def test_an_operation_without_a_rule_is_refused_by_name_and_never_free():
    network = nn.Sequential(Forward(lambda self, x: torch.linalg.svdvals(x)))
    with pytest.raises(meter.Uncounted, match=r"no rule for _linalg_svd, which ran in 0"):
        meter.count(network, (4, 4))
    report = meter.count(network, (4, 4), unknown="list")
    assert report.uncounted == ("_linalg_svd in 0",) and "_linalg_svd in 0" in str(report)


def test_an_operation_that_returns_nothing_is_not_taken_for_a_question():
    def scale(self, x):
        torch._foreach_mul_([x], 2.0)
        return x

    with pytest.raises(meter.Uncounted, match="no rule for _foreach_mul,"):
        meter.count(Forward(scale), (4, 4))


def test_a_custom_operation_without_a_rule_is_refused():
    library = torch.library.Library("nutshell_test", "DEF")
    library.define("product(Tensor a, Tensor b) -> Tensor")
    library.impl("product", torch.matmul, "CompositeExplicitAutograd")
    network = Forward(lambda self, x: torch.ops.nutshell_test.product(x, self.w), w=weight(4, 4))
    with pytest.raises(meter.Uncounted, match="nutshell_test::product, which ran in the network's own forward"):
        meter.count(network, (1, 4))


@pytest.mark.parametrize("shape", [(), (0, 4), (1, -4), (1, 4.0), ((1, 4), (0, 4)), (True, 4)])
def test_a_shape_must_be_whole_numbers_from_one(shape):
    with pytest.raises(WrongUse, match="whole numbers from 1"):
        meter.count(nn.Linear(4, 4), shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give either input_shape"),
        ({"input_shape": (1, 4), "inputs": torch.ones(1, 4)}, "Give either input_shape"),
        ({"input_shape": (1, 4), "unknown": "ignore"}, "unknown='ignore'"),
        ({"input_shape": (1, 4), "device": "cuda"}, "device='cuda'"),
        ({"input_shape": (1, 5)}, r"Linear does not run on an input of shape \(1, 5\)"),
        ({"input_shape": ((1, 4), (1, 4))}, r"does not run on an input of shape \(1, 4\), \(1, 4\)"),
    ],
)
def test_wrong_use_is_refused_in_words(arguments, message):
    with pytest.raises(WrongUse, match=message):
        meter.count(nn.Linear(4, 4), **arguments)


def test_lazy_parameters_are_refused():
    with pytest.raises(WrongUse, match="run it once"):
        meter.count(nn.LazyLinear(4), (1, 4))
