"""The meter counts what is executed, whatever way the network is written."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import meter, models
from tests.nutshell.meter_networks import Forward, weight

sizes = st.integers(1, 6)


@settings(max_examples=40, deadline=None)
@given(inputs=sizes, outputs=sizes, bias=st.booleans(), leading=st.lists(sizes, min_size=1, max_size=3))
def test_a_linear_layer_costs_its_matrix_for_every_row(inputs, outputs, bias, leading):
    rows = torch.Size(leading).numel()
    total = meter.count(nn.Linear(inputs, outputs, bias=bias), (*leading, inputs)).total
    assert (total.macs, total.bias_adds) == (rows * inputs * outputs, rows * outputs * bias)
    assert (total.parameters, total.activations) == (inputs * outputs + outputs * bias, rows * outputs)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), dims=st.integers(1, 3), transposed=st.booleans(), bias=st.booleans())
def test_a_convolution_costs_its_kernel_for_every_pixel(data, dims, transposed, bias):
    groups = data.draw(st.integers(1, 3), "groups")
    channels, width = (groups * data.draw(st.integers(1, 3), name) for name in ("channels", "width"))
    each = st.tuples(*[st.integers(1, 3)] * dims)
    kernel, stride, dilation = (data.draw(each, name) for name in ("kernel", "stride", "dilation"))
    padding = data.draw(st.tuples(*[st.integers(0, 2)] * dims), "padding")
    batch = data.draw(st.integers(1, 3), "batch")
    side = [10] * dims
    kinds = {(d, t): getattr(nn, f"Conv{'Transpose' * t}{d}d") for d in (1, 2, 3) for t in (False, True)}
    layer = kinds[dims, transposed](
        channels, width, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias
    )
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if transposed:
        out = [(s - 1) * t - 2 * p + r + 1 for s, t, p, r in zip(side, stride, padding, reach, strict=True)]
        pixels = torch.Size(side).numel()  # each input pixel meets the whole kernel
    else:
        out = [(s + 2 * p - r - 1) // t + 1 for s, t, p, r in zip(side, stride, padding, reach, strict=True)]
        pixels = torch.Size(out).numel()
    report = meter.count(layer, (batch, channels, *side))
    produced = batch * width * torch.Size(out).numel()
    assert report.layers[0].output_shape == (batch, width, *out)
    assert report.macs == batch * pixels * width * channels // groups * torch.Size(kernel).numel()
    assert (report.total.bias_adds, report.total.activations) == (produced * bias, produced)


@settings(max_examples=10, deadline=None)
@given(name=st.sampled_from(["lenet-5", "resnet-20", "pilotnet"]), batch=st.integers(2, 5))
def test_work_grows_with_the_batch_and_parameters_do_not(name, batch):
    network, shape = models.build(name, device="meta"), models.INPUT_SHAPES[name]
    one, many = meter.count(network, (1, *shape)).total, meter.count(network, (batch, *shape)).total
    assert one.parameters == many.parameters
    assert [getattr(many, field) for field in ("macs", "bias_adds", "elementwise_total", "activations")] == [
        batch * getattr(one, field) for field in ("macs", "bias_adds", "elementwise_total", "activations")
    ]


PRODUCTS = {
    "F.linear": lambda self, x: functional.linear(x, self.w),
    "matmul": lambda self, x: torch.matmul(x, self.w.T),
    "@": lambda self, x: x @ self.w.T,
    "einsum": lambda self, x: torch.einsum("ni,oi->no", x, self.w),
    "tensordot": lambda self, x: torch.tensordot(x, self.w, dims=([1], [1])),
    "bmm": lambda self, x: torch.bmm(x[None], self.w.T[None])[0],
    "baddbmm": lambda self, x: torch.baddbmm(x.new_zeros(1, 1, 1), x[None], self.w.T[None])[0],
    "mv": lambda self, x: torch.stack([torch.mv(self.w, row) for row in x]),
    "dot": lambda self, x: torch.stack([torch.dot(row, w) for row in x for w in self.w]),
    "conv1d": lambda self, x: functional.conv1d(x[:, :, None], self.w[:, :, None]),
    "conv2d": lambda self, x: functional.conv2d(x[:, :, None, None], self.w[:, :, None, None]),
}


@pytest.mark.parametrize("device", ["meta", "own"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_counts_however_it_is_written(name, device):
    network = Forward(PRODUCTS[name], w=weight(5, 7))
    total = meter.count(network, (3, 7), device=device).total
    assert (total.macs, total.parameters) == (3 * 7 * 5, 35)


@pytest.mark.parametrize("name", ["F.linear", "@", "einsum", "conv2d"])
def test_a_product_counts_inside_no_grad_and_inference_mode(name):
    def without_gradients(self, x):
        with torch.no_grad():
            return PRODUCTS[name](self, x)

    network = Forward(without_gradients, w=weight(5, 7))
    assert meter.count(network, (3, 7)).macs == 105
    with torch.no_grad():
        assert meter.count(network, (3, 7)).macs == 105
    with torch.inference_mode():
        inside = meter.count(Forward(PRODUCTS[name], w=weight(5, 7)), (3, 7)).total
    assert (inside.macs, inside.parameters) == (105, 35)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_network_counts_in_any_floating_dtype(dtype):
    report = meter.count(models.build("lenet-5-caffe").to(dtype), (1, 1, 28, 28))
    assert report.macs == 2_293_000
    assert report.total.bytes == 431_080 * dtype.itemsize
    assert {operation.dtype for operation in report.operations} == {str(dtype).removeprefix("torch.")}


def test_a_complex_product_is_four_real_ones():
    weight = nn.Parameter(torch.ones(7, 5, dtype=torch.complex64))
    network = Forward(lambda self, x: x.to(torch.complex64) @ self.w, w=weight)
    assert meter.count(network, (3, 7), dtype=torch.float32).macs == 4 * 105


@pytest.mark.parametrize("device", ["meta", "own"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_counts_scores_and_values(device, causal):
    network = Forward(lambda self, q: functional.scaled_dot_product_attention(q, q, q, is_causal=causal))
    report = meter.count(network, (2, 3, 5, 8), device=device)
    assert report.macs == 2 * 3 * 5 * 5 * (8 + 8)


@pytest.mark.parametrize("device", ["meta", "own"])
def test_multi_head_attention_and_a_transformer_layer_count_alike_on_both_devices(device):
    attention = Forward(lambda self, x: self.mha(x, x, x)[0], mha=nn.MultiheadAttention(8, 2, batch_first=True))
    assert meter.count(attention, (2, 5, 8), device=device).macs == 2 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    report = meter.count(layer, (2, 5, 8), device=device)
    assert report.macs == 2 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16)
    assert report.parameters == sum(parameter.numel() for parameter in layer.parameters())


def test_a_bilinear_layer_costs_its_cube():
    network = nn.Bilinear(3, 4, 5, bias=False)
    assert meter.count(network, ((2, 3), (2, 4))).macs == 2 * 3 * 4 * 5


def test_a_fourier_transform_costs_its_butterflies():
    def circulant(self, x):
        return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(self.w), n=8)

    total = meter.count(Forward(circulant, w=weight(8)), (1, 8)).total
    # Three real transforms of 8 points, n·log₂n each, and 5 complex products of 6 operations.
    assert (total.macs, total.elementwise["multiplication"]) == (3 * 8 * 3, 5 * 6)


def test_binary_operations_have_a_column_of_their_own():
    network = Forward(lambda self, x: torch.bitwise_xor(x, self.w), w=torch.zeros(4, dtype=torch.int64))
    total = meter.count(network, inputs=torch.zeros(3, 4, dtype=torch.int64)).total
    assert (total.binary, total.elementwise_total, total.macs) == (3 * 4 * 64, 0, 0)


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("device", ["meta", "own"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", GATES)
def test_a_recurrent_layer_counts_every_step(kind, bias, device):
    steps, batch, inputs, hidden = 5, 2, 3, 4
    network = getattr(nn, kind)(inputs, hidden, num_layers=2, bidirectional=True, bias=bias, batch_first=True)
    total = meter.count(network, (batch, steps, inputs), device=device).total
    rows = 2 * GATES[kind] * hidden  # both directions
    assert total.macs == steps * batch * rows * (inputs + hidden + 2 * hidden + hidden)
    assert total.bias_adds == (2 * 2 * steps * batch * rows if bias else 0)
    assert total.parameters == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("kind", GATES)
def test_a_recurrent_layer_counts_the_same_on_meta_and_on_the_cpu(kind):
    network = getattr(nn, kind)(3, 4)
    meta, own = (meter.count(network, (6, 2, 3), device=device).total for device in ("meta", "own"))
    assert meta == own


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_a_recurrent_cell_counts_one_step(kind):
    network = getattr(nn, kind)(3, 4)
    assert meter.count(network, (2, 3)).macs == 2 * (network.weight_ih.numel() + network.weight_hh.numel())
