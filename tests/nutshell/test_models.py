"""Networks by name: their parameters, the shapes they map, their seeds."""

import pytest
import torch
from torch import nn

from nutshell import models
from nutshell.models.imagenet import INCEPTIONS, alexnet, resnet_50
from nutshell.models.pilotnet import VARIANTS

PARAMETERS = {
    "mlp": 266_610,
    "lenet-300-100": 266_610,
    "lenet-5-caffe": 431_080,
    "lenet-5": 61_706,
    "vgg-small": 307_946,
    "resnet-20": 269_722,
    "block-network": 85_194,
    "pilotnet": 252_219,
    "gesture-net": 24_123,
    "cell-net": 23_826,
    "sketch-net": 23_798,
    "alexnet": 60_965_224,
    "vgg-16": 138_357_544,
    "resnet-50": 25_557_032,
    "googlenet": 6_998_552,
    "yolov3": 61_949_149,
}
OUTPUTS = {"pilotnet": 1, "gesture-net": 11, "cell-net": 2, "sketch-net": 6,
           "alexnet": 1000, "vgg-16": 1000, "resnet-50": 1000, "googlenet": 1000}  # fmt: skip
SMALL = ("mlp", "lenet-300-100", "lenet-5-caffe", "lenet-5", "vgg-small", "resnet-20", "block-network",
         "pilotnet", "gesture-net", "cell-net", "sketch-net")  # fmt: skip


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_network_is_listed_with_an_input_shape():
    assert set(models.BUILDERS) == set(models.INPUT_SHAPES) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_network_has_the_parameters_of_its_paper_and_takes_its_input_shape(name):
    network = models.build(name, device="meta").eval()
    assert _parameters(network) == PARAMETERS[name]
    batch = torch.empty(2, *models.INPUT_SHAPES[name], device="meta")
    out = network(batch)
    if name == "yolov3":
        assert [tuple(boxes.shape) for boxes in out] == [(2, 255, 10, 10), (2, 255, 20, 20), (2, 255, 40, 40)]
    else:
        assert tuple(out.shape) == (2, OUTPUTS.get(name, 10))


@pytest.mark.parametrize("name", SMALL)
def test_a_network_runs_on_the_cpu_and_gives_finite_numbers(name):
    network = models.build(name, seed=3).eval()
    with torch.no_grad():
        out = network(torch.rand(2, *models.INPUT_SHAPES[name]))
    assert out.isfinite().all() and out.std() > 0


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_gives_the_same_weights_again_and_another_seed_others(name):
    first, again, other = (models.build(name, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_building_leaves_the_global_random_state_alone(device):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    models.build("lenet-5", seed=1, device=device)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_network_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'lenet-6'.*lenet-5-caffe"):
        models.build("lenet-6")


@pytest.mark.parametrize(
    ("variant", "shape", "parameters"),
    [("paper", (3, 66, 200), 252_219), ("one-dense", (3, 66, 200), 132_501), ("small", (3, 40, 40), 80_213),
     ("tiny", (1, 40, 40), 11_953), ("tiniest", (1, 40, 40), 2_537)],
)
def test_pilotnet_comes_in_five_sizes(variant, shape, parameters):
    network = models.build("pilotnet", variant=variant)
    assert _parameters(network) == parameters
    assert network(torch.zeros(2, *shape)).shape == (2, 1)


def test_a_small_convnet_is_as_wide_as_one_says_and_serves_any_size():
    network = models.build("gesture-net", channels=(1, 4, 8), classes=3).eval()
    assert _parameters(network) == 36 + 8 + 288 + 16 + 27
    for size in (4, 13, 50):
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 3)
    for channels, classes in (((1,), 3), ((1, 0), 3), ((1, 4), 0)):
        with pytest.raises(ValueError, match="at least"):
            models.build("gesture-net", channels=channels, classes=classes)


def test_pilotnets_convolutions_have_the_parameters_of_the_paper():
    network = models.build("pilotnet")
    assert [_parameters(network.get_submodule(f"conv{n}")) for n in range(1, 6)] == [1824, 21636, 43248, 27712, 36928]


def test_pilotnet_refuses_an_unknown_variant():
    with pytest.raises(ValueError, match=r"'large'.*paper, one-dense, small"):
        models.build("pilotnet", variant="large")
    assert VARIANTS == ("paper", "one-dense", "small", "tiny", "tiniest")


def test_alexnet_without_groups_has_the_larger_weights_of_conv2_4_and_5():
    with torch.device("meta"):
        network = alexnet(groups=1)
    weights = {f"conv{n}": network.get_submodule(f"conv{n}").weight.numel() for n in (2, 4, 5)}
    assert weights == {"conv2": 614_400, "conv4": 1_327_104, "conv5": 884_736}


def test_resnet_50_keeps_its_parameters_wherever_the_stride_is():
    with torch.device("meta"):
        network = resnet_50(stride_in_3x3=True)
        assert _parameters(network) == PARAMETERS["resnet-50"]
    strides = {tuple(block.conv2.stride) for name, block in network.named_children() if name == "block3_1"}
    assert strides == {(2, 2)}


def test_inception_modules_end_with_the_channels_of_the_paper():
    widths = {name: one + three + five + pool for name, (one, _, three, _, five, pool) in INCEPTIONS.items()}
    assert list(widths.values()) == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_dropout_rests_in_eval_mode_only():
    torch.manual_seed(0)
    dropout = models.build("alexnet", device="meta").dropout6
    x = torch.ones(100)
    assert torch.equal(dropout.eval()(x), x) and not torch.equal(dropout.train()(x), x)
