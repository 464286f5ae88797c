"""Blocks have the sizes that their words promise, shortcuts add, and folding changes no output."""

import pytest
import torch
from torch import nn

from nutshell import meter, models
from nutshell.models.blocks import BLOCKS, MORE_BLOCKS, SEPARABLE, Shortcut, block, block_network, fold


def weights(network: nn.Module) -> int:
    """Of convolutions alone."""
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize(("kind", "formula"), [
    ("plain", lambda c, p: 9 * c * p), ("two plain", lambda c, p: 9 * p * (c + p)),
    ("bottleneck", lambda c, p: p // 4 * (c + 9 * p // 4 + p)),
    ("fire", lambda c, p: p // 4 * (c + p // 2 + 9 * p // 2)),
    ("inception", lambda c, p: c * p // 4 * 2 + 2 * (c * p // 8) + p // 8 * p // 4 * 34),
    ("separable", lambda c, p: c * (9 + p)), ("flattened", lambda c, p: p * (c + 6)),
    ("grouped", lambda c, p: c * (9 * c // 4 + p)), ("octave", lambda c, p: 9 * p * (c + p)),
    ("inverted", lambda c, p: 3 * c * (c + 9 + p)),
])  # fmt: skip
@pytest.mark.parametrize(("channels", "outputs"), [(8, 16), (16, 16), (24, 8)])
def test_a_blocks_weights_are_its_formulas_and_its_maps_keep_their_size(kind, formula, channels, outputs):
    made = block(kind, channels, outputs)
    assert weights(made) == formula(channels, outputs)
    assert made(torch.randn(2, channels, 6, 10)).shape == (2, outputs, 6, 10)
    macs = meter.count(made.eval(), (1, channels, 8, 8)).total.macs
    assert macs == (weights(made) * 64 if kind != "octave" else weights(made) * 64 * 5 // 8)


@pytest.mark.parametrize("kind", [*BLOCKS, *MORE_BLOCKS])
def test_folding_leaves_outputs_as_they_are(kind):
    torch.manual_seed(0)
    network = block_network((("down", 8), (kind, 8), (f"{kind}+", 8)), size=8, activation="silu")
    for _ in range(3):
        network(torch.randn(8, 3, 8, 8) + 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        before = network.eval()(images)
        assert fold(network) is network
        torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-5)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert norms == (2 if kind == "octave" else 0)


def test_the_shipped_form_is_plain_convolutions_and_an_eighth_of_vgg_small():
    folded, trained = (models.build("block-network", folded=each, activation="silu") for each in (True, False))
    kinds = {type(module) for module in folded.modules()} - {nn.Sequential}
    assert kinds == {nn.Conv2d, nn.SiLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear}
    large = meter.count(models.build("vgg-small").eval(), (1, 3, 32, 32)).total.macs
    assert large == 38_653_952 and 8 * meter.count(folded.eval(), (1, 3, 32, 32)).total.macs <= large
    assert weights(folded) == weights(trained) and len(SEPARABLE) == 9


def test_a_shortcut_adds_its_input_and_keeps_the_mean():
    branch = nn.Conv2d(2, 2, 1)
    x = torch.rand(1, 2, 50, 50) + 0.5
    for keep in (1.0, 0.7):
        shortcut = Shortcut(branch, nn.Identity(), keep).eval()
        torch.testing.assert_close(shortcut(x), keep * (x + branch(x)))
        torch.manual_seed(0)
        seen = torch.stack([shortcut.train()(x) for _ in range(60)]).mean(0).mean()
        assert seen.item() == pytest.approx(shortcut.eval()(x).mean().item(), abs=0.01)


def test_gates_are_between_0_and_1_one_a_channel():
    made = block("excited", 8, 16).eval()
    x = torch.randn(2, 8, 6, 6)
    before = made.separable(x)
    share = made.gate(before) / before
    torch.testing.assert_close(share, share[..., :1, :1].expand_as(share), rtol=1e-3, atol=1e-4)
    assert share.min() > 0 and share.max() < 1
    assert weights(made) == 8 * (9 + 16) + 2 * 16 * 8
    assert meter.count(made, (1, 8, 6, 6)).total.macs == 36 * 8 * (9 + 16) + 2 * 16 * 8


def test_swapout_keeps_less_the_deeper_it_is():
    network = block_network((("down", 8), ("plain+", 8), ("plain+", 8)), last_keep=0.5)
    assert [module.keep for module in network.modules() if isinstance(module, Shortcut)] == [0.75, 0.5]


@pytest.mark.parametrize(("arguments", "words"), [
    (dict(blocks=(("fir", 8),)), "no block called 'fir'"), (dict(blocks=(("fire+", 8),)), "as many out as in"),
    (dict(blocks=(), head="global"), 'choose "pooled"'),
])  # fmt: skip
def test_what_is_not_there_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        block_network(**arguments)


@pytest.mark.parametrize(("head", "parameters"), [("pooled", 170), ("connected", 10_250), ("dropout", 10_250)])
def test_heads(head, parameters):
    network = block_network((("down", 16), ("down", 16)), head=head)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(each.numel() for each in network.classifier.parameters()) == parameters
    assert any(isinstance(module, nn.Dropout) for module in network) == (head == "dropout")
