"""The unit's results: what teachers give to students on MNIST, each student with up to three seeds.

    python -m solutions.student_and_teacher.experiment

trains every teacher and student and writes ``results/student_and_teacher.json`` and ``.nut``; about an hour on one
core. ``--run`` and ``--seed`` train one student only and write what there is so far; what is trained is kept in
``trained/``: delete it there to have it made anew. Temperatures, learning rates and biases were chosen on validation
images; the test images are looked at once, at the end.
"""

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from nutshell import results
from nutshell.data.dataset import Split
from solutions.student_and_teacher import runs
from solutions.student_and_teacher.handed_in import TEACHER, hand_in, ship_logits
from solutions.student_and_teacher.reference import ensemble_targets, unbias
from solutions.student_and_teacher.runs import KINDS, RUNS, errors, mnist, said, student

COMMAND = "python -m solutions.student_and_teacher.experiment"
SEEDS = (0, 1, 2)
Row = dict[str, Any]


@click.command()
@click.option("--run", type=click.Choice(list(RUNS)), multiple=True, help="Train these only; all if left out.")
@click.option("--seed", type=click.IntRange(0), multiple=True, help="With these seeds only; three if left out.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder that keeps what is trained.")
@click.option("--train-only", is_flag=True, help="Leave results/ as they are.")
def main(run: tuple[str, ...], seed: tuple[int, ...], keep: Path, train_only: bool) -> None:
    """Train students and measure them."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    for name in run or RUNS:
        more = runs.MEMBERS if name == "lenet-alone" else SEEDS
        for number in seed or more:
            found = student(RUNS[name], number, keep)
            wrong = errors(found["validation"], mnist().validation)
            click.echo(f"{name}, seed {number}: {wrong} of {len(mnist().validation):,} validation images misread")
    if not train_only:
        click.echo(str(collect(keep)))


class Kept:
    """What has been trained so far, by name."""

    def __init__(self, keep: Path) -> None:
        self.keep = keep
        self.folder = keep / runs.UNIT

    def seeds(self, name: str, among: tuple[int, ...] = SEEDS) -> list[int]:
        """Seeds that are there."""
        return [seed for seed in among if (self.folder / f"{name}-{seed}.logits").exists()]

    def logits(self, name: str, part: str) -> list[Tensor]:
        """Of each seed."""
        return [student(RUNS[name], seed, self.keep)[part] for seed in self.seeds(name)]

    def has_teacher(self, name: str) -> bool:
        """Whether it is trained."""
        return (self.folder / f"teacher-{name}.logits").exists()

    def row(self, run: str, /, **more: Any) -> Row | None:
        """A student over its seeds: errors on validation and test images, in percent and counted."""
        if not self.seeds(run):
            return None
        row: Row = more | {"seeds": self.seeds(run), "parameters": parameters(RUNS[run].build())}
        for part in ("validation", "test"):
            images: Split = getattr(mnist(), part)
            counts = [float(errors(each, images)) for each in self.logits(run, part)]
            row[f"{part}_errors"] = results.summary(counts)
            row[f"{part}_error_percent"] = results.summary([100 * count / len(images) for count in counts])
        curves = torch.stack([student(RUNS[run], seed, self.keep)["curve"] for seed in self.seeds(run)])
        row["validation_curve"] = [round(value, 3) for value in curves.mean(0).tolist()]
        return row | {"recipe": vars(RUNS[run].recipe)}


def collect(keep: Path) -> Path:
    """Write what has been trained so far."""
    kept = Kept(keep)
    best = best_lenet(kept)
    sections = dict(
        teachers=teachers(kept),
        hinton=dict(temperature=runs.TEMPERATURE, soft_weight=runs.SOFT_WEIGHT, alone=kept.row("wide-alone"),
                    distilled=kept.row("wide-distilled")),
        unseen=biased(kept, "wide-unseen", (3,)),
        sevens_and_eights=biased(kept, "wide-sevens-and-eights", (7, 8)),
        temperatures=temperatures(kept),
        few=few(kept),
        rates=rates(kept),
        mimic=mimic(kept),
        hints=dict(alone=kept.row("thin-alone"), distilled=kept.row("thin-distilled"), hinted=kept.row("thin-hinted"),
                   teacher="convolutional", temperature=4.0, hint_epochs=runs.HINTING.epochs),
        ensemble=ensemble(kept),
        lab=dict(alone=kept.row("lenet-alone"), alone_high_rate=kept.row("lenet-alone-high-rate"),
                 distilled=kept.row(best) if best else None, teacher=TEACHER),
        reference=hand_in(best, keep),
    )
    ship_logits(keep)
    return results.save(runs.UNIT, command=COMMAND, data=mnist().name, test_images=len(mnist().test),
                        test_threes=int((mnist().test.labels == 3).sum()), **sections)


def teachers(kept: Kept) -> dict[str, Row]:
    """The teachers that are trained, and the shipped one."""
    rows: dict[str, Row] = {}
    for name in (*runs.TEACHERS, "lenet-5-caffe"):
        if name in runs.TEACHERS and not kept.has_teacher(name):
            continue
        found, build = said(name, kept.keep), runs.TEACHERS[name][0] if name in runs.TEACHERS else None
        network = build() if build else runs.teacher(name, kept.keep)
        rows[name] = {"parameters": parameters(network)}
        for part in ("train", "validation", "test"):
            images: Split = getattr(mnist(), part)
            wrong = errors(found[part], images)
            rows[name] |= {f"{part}_errors": wrong, f"{part}_error_percent": round(100 * wrong / len(images), 3)}
        if name in runs.TEACHERS:
            rows[name]["recipe"] = vars(runs.TEACHERS[name][1])
    return rows


def biased(kept: Kept, name: str, classes: tuple[int, ...]) -> Row | None:
    """A student that saw some classes only, before and after one bias that is chosen on validation images."""
    row = kept.row(name, classes=list(classes), teacher="1200-1200", temperature=runs.TEMPERATURE)
    if row is None:
        return None
    seen = RUNS[name].chosen
    row["images"] = len(seen(0)) if seen else len(mnist().train)
    watched, test = kept.logits(name, "validation"), kept.logits(name, "test")
    biases = [unbias(each, mnist().validation.labels, classes) for each in watched]
    after = [float(errors(raised(each, classes, bias), mnist().test)) for each, bias in zip(test, biases, strict=True)]
    percent = [100 * count / len(mnist().test) for count in after]
    row |= {"bias": results.summary(biases), "errors_after": results.summary(after),
            "error_percent_after": results.summary(percent)}
    for digit in classes:
        row[f"misread_{digit}"] = results.summary([1.0 * misread(each, digit) for each in test])
        moved = [raised(each, classes, bias) for each, bias in zip(test, biases, strict=True)]
        row[f"misread_{digit}_after"] = results.summary([1.0 * misread(each, digit) for each in moved])
    row["curve"] = [point(watched[0], classes, bias) for bias in grid(biases[0])]
    return row


def grid(around: float) -> list[float]:
    """Biases for a curve, from 0 to twice the one that was chosen and a little beyond on either side."""
    far = max(2 * abs(around), 2.0)
    sign = 1 if around >= 0 else -1
    return [round(sign * far * step / 24, 3) for step in range(-3, 28)]


def point(logits: Tensor, classes: tuple[int, ...], bias: float) -> Row:
    """Mistakes on validation images with one bias: all, and those on images of the classes."""
    part, moved = mnist().validation, raised(logits, classes, bias)
    of_these = sum(int((moved.argmax(1) != part.labels)[part.labels == digit].sum()) for digit in classes)
    return {"bias": bias, "validation_errors": errors(moved, part), "validation_misread_of_these": of_these}


def raised(logits: Tensor, classes: tuple[int, ...], bias: float) -> Tensor:
    """Logits with a bias added to some classes.

    Examples
    --------
    >>> raised(torch.zeros(1, 3), (1,), 2.0)
    tensor([[0., 2., 0.]])
    """
    moved = logits.clone()
    moved[:, list(classes)] += bias
    return moved


def misread(logits: Tensor, digit: int) -> int:
    """Test images of a digit that are read as another."""
    part = mnist().test
    return int((logits.argmax(1) != part.labels)[part.labels == digit].sum())


def temperatures(kept: Kept) -> list[Row]:
    """Two students at each temperature; the smaller one has 30 units in each hidden layer."""
    rows = [kept.row(f"{network}-at-{temperature:g}", network=sizes, temperature=temperature)
            for network, sizes in (("lenet", runs.LENET), ("narrow", runs.NARROW))
            for temperature in runs.TEMPERATURES]  # fmt: skip
    return [row | {"network": "-".join(map(str, row["network"]))} for row in rows if row]


def best_lenet(kept: Kept) -> str | None:
    """The taught LeNet-300-100 that is best on validation images: at some temperature, or at a higher rate."""
    names = [f"lenet-at-{temperature:g}" for temperature in runs.TEMPERATURES] + ["lenet-high-rate"]
    there = [(row["validation_errors"]["mean"], name) for name in names if (row := kept.row(name))]
    return min(there)[1] if there else None


def rates(kept: Kept) -> list[Row]:
    """On three percent of the images: each learning rate, on labels and on soft targets."""
    rows = [kept.row(f"few-{targets}-{rate:g}", learning_rate=rate, targets=targets)
            for targets in ("hard", "soft") for rate in runs.RATES]  # fmt: skip
    return [without(row, "validation_curve", "recipe") for row in rows if row]


def few(kept: Kept) -> list[Row]:
    """Labels and soft targets on three percent, each at the rate that is best on validation; and on all images."""
    rows = []
    for targets in ("hard", "soft"):
        there = [row for row in rates(kept) if row["targets"] == targets]
        if there:
            best = min(there, key=lambda row: row["validation_errors"]["mean"])
            images = round(runs.FEW * len(mnist().train))
            rows.append(best | {"share_percent": 100 * runs.FEW, "images": images})
    for targets, name in (("hard", "lenet-alone"), ("soft", f"lenet-at-{runs.TEMPERATURE:g}")):
        row = kept.row(name, targets=targets, share_percent=100.0, images=len(mnist().train),
                       learning_rate=RUNS[name].recipe.learning_rate)
        rows += [without(row, "validation_curve", "recipe")] if row else []
    return rows


def mimic(kept: Kept) -> list[Row]:
    """Shallow, deep and convolutional students of about the same size, on labels and on the teacher's logits."""
    rows = [kept.row(f"{kind}-{targets}", name=kind, targets=targets, teacher="convolutional")
            for kind in KINDS for targets in ("labels", "logits")]  # fmt: skip
    return [without(row, "validation_curve") for row in rows if row]


def ensemble(kept: Kept) -> Row | None:
    """The members, what they say together, and a single network that learned from that."""
    there = kept.seeds("lenet-alone", runs.MEMBERS)
    if len(there) < len(runs.MEMBERS):
        return None
    said_each = [student(RUNS["lenet-alone"], seed, kept.keep)["test"] for seed in there]
    each = torch.stack(said_each)
    row: Row = {"members": len(there), "temperature": runs.ENSEMBLE_TEMPERATURE,
                "member_errors": results.summary([float(errors(one, mnist().test)) for one in each])}
    for mean in ("arithmetic", "geometric"):
        row[f"{mean}_errors"] = errors(ensemble_targets(each, 1.0, mean), mnist().test)
        taught = kept.row(f"lenet-{mean}-20")
        row[f"student_{mean}"] = without(taught, "validation_curve") if taught else None
    return row


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def without(row: Row, *keys: str) -> Row:
    """A row with some keys left out."""
    return {key: value for key, value in row.items() if key not in keys}


if __name__ == "__main__":
    main()
