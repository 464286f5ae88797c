"""How often the flags on networks ring: on honest ones, which they shouldn't, and on ones that know the test images.

``python -m autograder.flag_rates`` trains and compresses networks, looks at each, and at each again on images drawn
with replacement, and writes ``results/flags.json``; it takes a few minutes on one core.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autograder.flags import (
    CHANGES,
    SLACK,
    STANDARD_ERRORS,
    Seen,
    against_changed,
    against_validation,
    findings,
    look,
    show,
    wrong_of,
)
from nutshell import artefact, checkpoints, data, meter, models, results
from nutshell.data.dataset import Dataset, Split
from nutshell.training import Recipe, train

COMMAND = "python -m autograder.flag_rates"
RESAMPLED = 100  # for each network
Named = Iterator[tuple[str, nn.Module]]


def main() -> None:
    """Measure and write ``results/flags.json``."""
    names, honest, knowing = [], [], []
    false_alarms = samples = 0
    for topology in checkpoints.names():
        images = data.load(checkpoints.card(topology).data.partition(" (")[0])
        names.append(images.name)
        network = checkpoints.load(topology)
        macs = int(meter.count(network, (1, *models.INPUT_SHAPES[topology])).total.macs)
        shown = show(images, macs)
        shipped = look(wrong_of(network), shown)
        small = topology == "lenet-300-100"  # the others take too long to train
        compressed = list(_compressed(network))[:: 1 if macs < 10**7 else 9]  # fewer of a network that runs for long
        for name, one in [*compressed, *(_trained(network, images) if small else [])]:
            seen = look(wrong_of(one), shown)
            honest.append(_row(topology, name, seen, shipped))
            for number in range(RESAMPLED):
                false_alarms += bool(findings(*_resampled(seen, shipped, number)))
            samples += RESAMPLED
        if small:
            knowing += [_row(topology, name, look(wrong_of(one), shown), shipped)
                        for name, one in _knowing(network, images)]
    results.save(
        "flags", command=COMMAND, data=", ".join(dict.fromkeys(names)), standard_errors=STANDARD_ERRORS, slack=SLACK,
        honest=honest, honest_flagged=sum(bool(row["flags"]) for row in honest), resampled=samples,
        resampled_flagged=false_alarms, knowing=knowing, knowing_flagged=sum(bool(row["flags"]) for row in knowing),
    )  # fmt: skip


def _row(topology: str, name: str, seen: Seen, shipped: Seen) -> dict[str, Any]:
    """What is kept of a network: its errors, and by how many standard errors each flag's figure is out of line."""
    changed = {change: round(against_changed(seen, shipped, change).errors, 2) for change in CHANGES}
    row = {
        "topology": topology,
        "network": name,
        "test_error_percent": round(100 * seen.test.double().mean().item(), 2),
        "changed": changed,
        "validation": round(against_validation(seen, shipped).errors, 2),
        "flags": [kind for kind, _ in findings(seen, shipped)],
    }
    print(row, flush=True)
    return row


def _resampled(seen: Seen, shipped: Seen, seed: int) -> tuple[Seen, Seen]:
    """What both networks would have got wrong on other images: as many, drawn from the same with replacement."""
    generator = torch.Generator().manual_seed(seed)
    test = torch.randint(0, len(seen.test), (len(seen.test),), generator=generator)
    validation = torch.randint(0, len(seen.validation), (len(seen.validation),), generator=generator)
    return _drawn(seen, test, validation), _drawn(shipped, test, validation)


def _drawn(seen: Seen, test: Tensor, validation: Tensor) -> Seen:
    chosen, changed = {}, {}
    for name, numbers in seen.chosen.items():
        place = torch.full((len(seen.test),), -1)
        place[numbers] = torch.arange(len(numbers))
        chosen[name] = (place[test] >= 0).nonzero()[:, 0]
        changed[name] = seen.changed[name][place[test[chosen[name]]]]
    return Seen(seen.test[test], seen.validation[validation], chosen, changed)


def _compressed(network: nn.Module) -> Named:
    """Honest networks that need no training: the shipped one, with fewer ranks, weights or bits."""
    yield "as shipped", network
    layer = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
    most = min(layer.weight.shape)
    for rank in sorted({max(1, most * share // 100) for share in (1, 2, 3, 4, 5, 7, 10, 15, 20, 35)}):
        yield f"rank {rank}", low_rank(network, rank)
    for share in (0.5, 0.8, 0.9, 0.95):
        yield f"{share:.0%} pruned", _changed(network, lambda weight, share=share: _pruned(weight, share))
    for bits in (2, 3, 4, 6):
        yield f"{bits} bits", _changed(network, lambda weight, bits=bits: _rounded(weight, bits))


def _trained(network: nn.Module, images: Dataset) -> Named:
    """Honest networks that learned the training images."""
    yield "results/low_rank.nut", artefact.load(results.folder() / "low_rank.nut").network
    for rank in (5, 12, 20, 30, 40):
        for epochs in (1, 3):
            yield f"rank {rank}, {epochs} epochs", _after(low_rank(network, rank), images, epochs, seed=rank + epochs)
    for seed in (1, 2, 3):
        yield f"from scratch, 2 epochs, seed {seed}", _after(models.build("lenet-300-100", seed=seed), images, 2, seed)
    shifting = copy.deepcopy(network)
    train(shifting, images, Recipe(epochs=1, learning_rate=5e-4, shift=1), seed=1, progress=False)
    yield "fine-tuned on shifted images", shifting


def _knowing(network: nn.Module, images: Dataset) -> Named:
    """Networks that learned test images."""
    test = replace(images, train=images.test)
    for epochs in (1, 3, 10):
        yield f"fine-tuned on test, {epochs} epochs", _after(network, test, epochs, seed=epochs)
    yield "rank 30 on test, 5 epochs", _after(low_rank(network, 30), test, 5, seed=5)
    yield "from scratch on test, 20 epochs", _after(models.build("lenet-300-100", seed=3), test, 20, seed=3)
    both = replace(images, train=_joined(images.test, images.validation))
    yield "fine-tuned on test and validation, 8 epochs", _after(network, both, 8, seed=8)
    yield "fine-tuned on validation, 5 epochs", _after(network, replace(images, train=images.validation), 5, seed=5)


def low_rank(network: nn.Module, rank: int) -> nn.Module:
    """A copy whose first linear layer is two, by truncated singular value decomposition."""
    small = copy.deepcopy(network)
    name, layer = next((n, m) for n, m in small.named_modules() if isinstance(m, nn.Linear))
    u, sigma, vt = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
    with torch.no_grad():
        first.weight.copy_(vt[:rank] * sigma[:rank, None].sqrt())
        second.weight.copy_(u[:, :rank] * sigma[:rank].sqrt())
        second.bias.copy_(layer.bias)
    small.set_submodule(name, nn.Sequential(first, second))
    return small


def _after(network: nn.Module, images: Dataset, epochs: int, seed: int) -> nn.Module:
    learned = copy.deepcopy(network)
    train(learned, images, Recipe(epochs=epochs, learning_rate=5e-4), seed=seed, progress=False)
    return learned


def _joined(one: Split, other: Split) -> Split:
    return replace(one, images=torch.cat([one.images, other.images]), labels=torch.cat([one.labels, other.labels]))


def _changed(network: nn.Module, change: Any) -> nn.Module:
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for weight in changed.parameters():
            if weight.ndim > 1:
                weight.copy_(change(weight))
    return changed


def _pruned(weight: Tensor, share: float) -> Tensor:
    edge = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
    return weight * (weight.abs() > edge)


def _rounded(weight: Tensor, bits: int) -> Tensor:
    step = weight.abs().max() / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


if __name__ == "__main__":
    main()
