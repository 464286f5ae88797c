"""Networks with binary weights and signs for activations, as they are trained and as they are stored.

A layer with binary weights is an ordinary ``nn.Linear`` or ``nn.Conv2d`` whose weight is computed from a real one at
each use (``torch.nn.utils.parametrize``), so that everything else, the meter and the artefact too, sees plain layers.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion, parametrize

from nutshell.artefact import Binary, Dense, Encoding
from nutshell.artefact.binary import InputScales1d, InputScales2d, Sign
from nutshell.artefact.operations import Multiply

Kind = Literal["connect", "stochastic", "bwn"]


class _SignThrough(torch.autograd.Function):
    """sign with the straight-through gradient 1{|x| ≤ 1} (Courbariaux et al. 2016, arXiv 1602.02830, section 1.3).

    The reference's ``straight_through`` is the same in other words; this one takes a third of the time.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, clipped: bool = False) -> Tensor:  # type: ignore[override]
        if not clipped:  # else |x| ≤ 1 everywhere
            context.save_for_backward(x)
        return torch.sign(x).add_(0.5).sign_()  # 0 becomes +1

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if not context.saved_tensors:
            return gradients[0], None
        return gradients[0] * context.saved_tensors[0].abs().le_(1), None


class _Drawn(torch.autograd.Function):
    """+1 with probability (w + 1)/2 for w from −1 to 1, else −1; the gradient passes."""

    @staticmethod
    def forward(context: Any, weight: Tensor) -> Tensor:  # type: ignore[override]
        return weight.sub(torch.rand_like(weight).mul_(2).sub_(1)).sign_()  # 2u − 1 < w with that probability

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class TrainedSign(Sign):
    """The sign of activations, with a gradient.

    Examples
    --------
    >>> x = torch.tensor([-2.0, -0.5, 0.0, 1.5], requires_grad=True)
    >>> y = TrainedSign()(x)
    >>> y.detach().tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([-1.0, -1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0])
    """

    def forward(self, x: Tensor) -> Tensor:
        return _SignThrough.apply(x)


class BinaryWeight(nn.Module):
    """Turns a real weight, which is trained, into the one that the layer uses.

    Parameters
    ----------
    kind : {"connect", "stochastic", "bwn"}
        ``"connect"``: ±1, after clipping the real weight to [−1, 1] (BinaryConnect, algorithm 1). ``"stochastic"``: in
        training +1 with probability (w + 1)/2, in evaluation the real weight, as the paper evaluates it. ``"bwn"``:
        ±α with α the mean |w| of a filter (XNOR-Net, equation 6).
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, weight: Tensor) -> Tensor:
        if self.kind == "bwn":
            alpha = weight.abs().flatten(1).mean(1).reshape(-1, *(1,) * (weight.ndim - 1))
            return alpha * _SignThrough.apply(weight)
        if self.training:
            with torch.no_grad():
                weight.clamp_(-1, 1)  # what is clipped here was stepped just before, as in the paper's algorithm
        if self.kind == "connect":
            return _SignThrough.apply(weight, True)
        return _Drawn.apply(weight) if self.training else weight


def with_binary_weights(network: nn.Module, layers: Iterable[str], kind: Kind) -> nn.Module:
    """Give layers binary weights, in place; the real weights they had are where training begins.

    Examples
    --------
    >>> layer = with_binary_weights(nn.Sequential(nn.Linear(3, 2)), ["0"], "connect")[0]
    >>> sorted(set(layer.weight.abs().flatten().tolist()))
    [1.0]
    """
    for name in layers:
        layer = network.get_submodule(name)
        if kind != "bwn":  # real weights that fill the range in which they are clipped
            nn.init.uniform_(layer.weight, -1, 1)  # type: ignore[arg-type]
        parametrize.register_parametrization(layer, "weight", BinaryWeight(kind))
    return network


def perceptron(hidden: type[nn.Module], width: int = 1024, layers: int = 3) -> nn.Sequential:
    """784-1024-1024-1024-10 with batch normalisation after every layer, as in BinaryConnect's section 3.1.

    Parameters
    ----------
    hidden : type
        Module between the layers: ``nn.ReLU``, or :class:`TrainedSign` for a BNN.
    width, layers : int
        Of the hidden layers.
    """
    sizes = [784] + layers * [width] + [10]
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number in range(1, layers + 2):
        parts[f"fc{number}"] = nn.Linear(sizes[number - 1], sizes[number], bias=False)
        parts[f"norm{number}"] = nn.BatchNorm1d(sizes[number])
        if number <= layers:
            parts[f"hidden{number}"] = hidden()
    return nn.Sequential(parts)


Way = Literal["dense", "bwn", "xnor", "signs"]  # signs: XNOR-Net without the input scales K


class XnorLayer(nn.Module):
    """Batch normalisation, sign, layer, and the product with the input scales K (XNOR-Net, sections 3.2 and 3.3).

    Parameters
    ----------
    norm : torch.nn.Module
        Batch normalisation of the layer's inputs.
    layer : torch.nn.Linear or torch.nn.Conv2d
        Without bias; a linear layer's inputs are flattened after the normalisation.
    scales : bool
        Whether outputs are multiplied by K, the mean |input| of their window; without, only α is left.
    """

    def __init__(self, norm: nn.Module, layer: nn.Linear | nn.Conv2d, scales: bool) -> None:
        super().__init__()
        flat = isinstance(layer, nn.Linear)
        self.norm, self.flatten = norm, nn.Flatten() if flat else nn.Identity()
        self.sign, self.layer, self.with_scales = TrainedSign(), layer, scales
        if scales:
            window: Any = layer
            self.scales = InputScales1d() if flat else InputScales2d(window.kernel_size, window.stride, window.padding)
            self.product = Multiply()

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(self.norm(x))
        y = self.layer(self.sign(x))
        return self.product(y, self.scales(x)) if self.with_scales else y


def _layer(way: Way, channels: int, layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """Normalisation of so many channels, activation, layer: on signs for XNOR-Net, on ReLU else."""
    norm = nn.BatchNorm2d(channels)
    if way in ("xnor", "signs"):
        whole: nn.Module = XnorLayer(norm, layer, way == "xnor")
    else:
        middle = nn.Flatten() if isinstance(layer, nn.Linear) else nn.Identity()
        whole = nn.Sequential(OrderedDict(norm=norm, relu=nn.ReLU(), flatten=middle, layer=layer))
    return whole if way == "dense" else with_binary_weights(whole, ["layer"], "bwn")


def lenet(way: Way) -> nn.Sequential:
    """LeNet-5-Caffe's four layers with batch normalisation before all but the first; the two in the middle binary.

    The first and the last layer are real, as in XNOR-Net.
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 20, 5), pool1=nn.MaxPool2d(2),
        block2=_layer(way, 20, nn.Conv2d(20, 50, 5, bias=False)), pool2=nn.MaxPool2d(2),
        block3=_layer(way, 50, nn.Linear(800, 500, bias=False)),
        norm4=nn.BatchNorm1d(500), relu4=nn.ReLU(), fc2=nn.Linear(500, 10),
    ))  # fmt: skip


def cifar_network(way: Way) -> nn.Sequential:
    """Four convolutions with 32, 64, 128 and 128 channels for 32×32 images, then a linear layer.

    The first convolution (5×5) and the linear layer are real, the others 3×3; the first two take every second pixel. A
    border of zeros adds nothing to a sum of ±1 products.
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 32, 5, stride=2, padding=2),
        block2=_layer(way, 32, nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)),
        block3=_layer(way, 64, nn.Conv2d(64, 128, 3, padding=1, bias=False)), pool3=nn.MaxPool2d(2),
        block4=_layer(way, 128, nn.Conv2d(128, 128, 3, padding=1, bias=False)),
        norm5=nn.BatchNorm2d(128), relu5=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(2048, 10),
    ))  # fmt: skip


def plain(network: nn.Module) -> nn.Module:
    """A copy for inference that a ``.nut`` file can hold: weights as they are used, signs without gradients."""
    small = copy.deepcopy(network).eval()
    for parent in list(small.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is TrainedSign:
                setattr(parent, name, Sign())
            elif parametrize.is_parametrized(module):  # to remove it would change the class, which the copies share
                setattr(parent, name, _as_used(module))
    return small


def _as_used(layer: Any) -> nn.Module:
    """A plain layer with the weight that a layer with binary weights uses."""
    bias = layer.bias is not None
    found: nn.Module
    if isinstance(layer, nn.Linear):
        found = nn.Linear(layer.in_features, layer.out_features, bias=bias)
    else:
        found = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                          bias=bias)
    state = {"weight": layer.weight} | ({"bias": layer.bias} if bias else {})
    found.load_state_dict(state)
    return found.eval()


def folded(network: nn.Module) -> nn.Sequential:
    """A perceptron with ±1 weights whose batch normalisation is a scale and a bias for each output: weights of ±α.

    A scale below zero turns the signs of its weights.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in plain(network).named_children():
        if isinstance(module, nn.BatchNorm1d):
            layer = name.replace("norm", "fc")
            parts[layer] = fusion.fuse_linear_bn_eval(parts[layer], module)  # type: ignore[type-var]
        else:
            parts[name] = module
    return nn.Sequential(parts).eval()


def packed(network: nn.Module) -> dict[str, Encoding]:
    """How the tensors of a plain network are stored: a bit a weight where a filter has one size, the rest in float16.

    The first and the last layer of a network that keeps them real stay float32.
    """
    weights = [name for name, tensor in network.named_parameters() if tensor.ndim > 1]
    found: dict[str, Encoding] = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            rows = tensor.abs().flatten(1) if tensor.ndim > 1 else None
            if rows is not None and torch.equal(rows.amax(1), rows.amin(1)):
                found[name] = Binary(stored="float16")
            elif name not in (weights[0], weights[-1]):
                found[name] = Dense("float16")
    return found
