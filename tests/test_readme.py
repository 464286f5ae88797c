"""The README's figures are those of results/ and of the checkpoints' cards, and what it names exists.

    python -m tests.test_readme        print the table as it must stand in the README
"""

import re
from pathlib import Path

from nutshell import checkpoints, results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table() -> str:
    """The lines between the README's marks, from the measured numbers."""
    rows = []
    for name in checkpoints.names():
        card = checkpoints.card(name)
        figure = f"{card.test_error_percent:.2f} % error on the test images, seed {card.seed}"
        rows.append((f"{name} on {card.data}", figure, card.command))
    low_rank = results.load("low_rank")
    best = low_rank["reference"]
    rows.append((
        f"LeNet-300-100, first layer at rank {best['rank']}, on {low_rank['data']}",
        f"first layer {best['first_layer_rate']:.1f}× smaller; test error {_shown(best['test_error_percent'])} %, "
        f"dense {_shown(best['dense_test_error_percent'])} %, three seeds",
        low_rank["command"],
    ))
    rows += [*pruning_rows(), *quantization_rows(), *small_files(), *binary_rows(), *later_rows(), *grading_rows()]
    lines = ["| what | figure | regenerate with |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {figure} | `{command}` |" for what, figure, command in rows])


def pruning_rows() -> list[tuple[str, str, str]]:
    """Weights and neurons taken out of LeNet-300-100."""
    weights, neurons = results.load("weight_pruning"), results.load("neuron_pruning")
    rows = []
    for part, words in (("rates", ""), ("shifts", ", images shifted by a pixel")):
        found = weights[part]["reference"]
        alike = weights[part]["dense_alike"]["test_error_percent"]
        rows.append((
            f"LeNet-300-100, weights pruned{words}, on {weights['data']}",
            f"{found['rate']:.1f}× fewer parameters; test error {_shown(found['test_error_percent'])} %, "
            f"dense trained alike {_shown(alike)} %, three seeds",
            weights["command"],
        ))
    found = neurons["neurons"]["rows"]["trained on"]
    dense = neurons["neurons"]["rows"]["dense"]
    rate = sum(dense["parameters"]) / sum(found["parameters"])
    rows.append((
        "LeNet-300-100, neurons pruned, on mnist",
        f"layers {rate:.1f}× smaller; test error {_shown(found['test_error_percent'])} %, "
        f"dense {_shown(dense['test_error_percent'])} %, three seeds",
        neurons["command"],
    ))
    recurrent = neurons["recurrent"]
    rows.append((
        "GRU on mnist row by row, 90 % of its weights pruned",
        f"test error {_shown(recurrent['rows']['sparse']['test_error_percent'])} %, "
        f"dense {_shown(recurrent['rows']['dense']['test_error_percent'])} %, three seeds",
        neurons["command"],
    ))
    return rows


def quantization_rows() -> list[tuple[str, str, str]]:
    """LeNet-300-100 in 4 bits; ResNet-20's weights in 8 bits, and made ten times smaller."""
    few = results.load("quantization")
    file = few["networks"]["lenet-300-100"]["accuracy"]["file"]
    rows = [(
        f"LeNet-300-100, {file['bits']} bits with training, on {few['data']}",
        f"file {file['rate']:.1f}× smaller than fp32; test error {file['test_error_percent']:.2f} %, "
        f"{file['points_lost']:+.2f} points, seed {file['seed']}",
        few["command"],
    )]
    found = results.load("resnet_20")
    for name, words in (("resnet-20-int8", "weights in 8 bits"), ("resnet-20", "pruned and quantized")):
        row = found["rows"][name]
        networks, runs = len(set(row["dense_seeds"])), len(row["bytes"])
        each = (f"{networks} dense networks" if networks > 1 else "one dense network") + (
            f", {runs} orders of the images" if runs > networks else "")
        rows.append((
            f"ResNet-20 on {found['data']}, {words}",
            f"file {_mean(row['rate']):.1f}× smaller than fp32; "
            f"test error {_shown(row['summary']['error_percent'])} %, "
            f"dense {_mean(found['dense']['error_percent']):.2f} %, {each}",
            found["command"],
        ))
    return rows


def small_files() -> list[tuple[str, str, str]]:
    """The files of unit 07."""
    found = results.load("deep_compression")
    return [
        (
            f"{name}.nut on {found['data']}",
            f"file {_mean(row['rate']):.1f}× smaller than fp32; "
            f"test error {_shown(row['summary']['error_percent'])} %, "
            f"dense trained alike {_mean(row['dense_error_percent']):.2f} %, {len(row['seeds'])} seeds",
            found["command"],
        )
        for name, row in found["rows"].items()
    ]


def binary_rows() -> list[tuple[str, str, str]]:
    """Networks of signs, and how fast products of signs are."""
    found, speed = results.load("binary_networks"), results.load("binary_speed")
    named = (("lenet-xnor", "xnor", "LeNet-5-Caffe as an XNOR network"), ("lenet-5-caffe", "bwn", "LeNet-5-Caffe, ±α"),
             ("perceptron", "connect", "784-1024-1024-1024-10 by BinaryConnect"))  # fmt: skip
    rows = [
        (f"{words}, on {found['data']}",
         f"test error {_shown(row['test_error_percent'])} %, {row['bytes']:,} bytes, {len(row['seeds'])} seeds",
         found["command"])
        for network, way, words in named for row in [found["networks"][network][way]]
    ]  # fmt: skip
    many = [kernel["speed_up"] for kernel in speed["kernels"] if kernel["rows"] > 1]
    one = next(kernel["speed_up"] for kernel in speed["kernels"] if kernel["rows"] == 1)
    rows.append((
        "products of signs on packed bits beside BLAS on one thread, many rows",
        f"Numba {min(row['numba'] for row in many):.1f} to {max(row['numba'] for row in many):.1f}× as fast, "
        f"NumPy {min(row['numpy'] for row in many):.2f} to {max(row['numpy'] for row in many):.2f}×; "
        f"one row: {one['numba']:.1f} and {one['numpy']:.2f}×",
        speed["command"],
    ))
    return rows


def later_rows() -> list[tuple[str, str, str]]:
    """Hashed layers, compact networks and taught ones."""
    hashed, taught = results.load("compressed_filters"), results.load("student_and_teacher")
    by_way = {(row["method"], row["rate"]): row for row in hashed["equal_bytes"] if row["network"] == "lenet-300-100"}
    few, dense = by_way["hashed", 64], by_way["dense", 64]
    digits, pictures = hashed["data"].split(", ")
    rows = [(
        f"LeNet-300-100 hashed to a 64th, on {digits}",
        f"test error {_shown(few['test_error_percent'])} %, dense of the same bytes "
        f"{_shown(dense['test_error_percent'])} %, {len(few['seeds'])} seeds",
        hashed["command"],
    )]
    fresh = {row["method"]: row for row in hashed["fresh"]["cifar-5x5"]}
    rows.append((
        f"three 5×5 convolutions on {pictures}, a 16th of their numbers",
        f"test error {_shown(fresh['fresh']['test_error_percent'])} % with frequencies hashed, "
        f"{_shown(fresh['hashed']['test_error_percent'])} % with weights hashed, {_seeds(fresh['fresh']['seeds'])}",
        hashed["command"],
    ))
    rows += compact_rows()
    alone, distilled = (taught["hinton"][way] for way in ("alone", "distilled"))
    rows.append((
        f"784-800-800-10 on {taught['data']}, alone and taught",
        f"{alone['test_errors']['mean']:.0f} and {distilled['test_errors']['mean']:.0f} of {taught['test_images']:,} "
        f"misread, its teacher {taught['teachers']['1200-1200']['test_errors']}, {_seeds(distilled['seeds'])}",
        taught["command"],
    ))
    return rows


def compact_rows() -> list[tuple[str, str, str]]:
    """Separable blocks beside plain networks."""
    found = results.load("compact_architectures")
    by_name = {row["network"]: row for part in ("rows", "eighths") for row in found[part]}
    rows = []
    for plain, eighth in (("vgg-small", "separable"), ("alexnet", "separable-narrow"), ("vgg-16", "separable-deep")):
        whole, part = by_name[plain], by_name[eighth]
        rows.append((
            f"separable blocks beside {whole['words']}, on {found['data']}",
            f"{whole['macs'] / part['macs']:.1f}× fewer MACs; test error {_shown(part['test_error_percent'])} %, "
            f"{_shown(whole['test_error_percent'])} %, {_seeds(part['test_error_percent']['each'])}",
            found["command"],
        ))
    return rows


def _seeds(seeds: list[int]) -> str:
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def grading_rows() -> list[tuple[str, str, str]]:
    """The grader beside nbgrader's."""
    grading = results.load("grading")
    return [
        (
            f"`nutshell grade` beside `nbgrader autograde`, {lab['words']}, {grading['machine']}",
            f"{lab['steady_ratio']['mean']:.1f}× as many submissions a minute in steady state; "
            f"{lab['whole_command_ratio']['mean']:.1f}× on {lab['submissions']} submissions, start-up included",
            grading["command"],
        )
        for lab in grading["labs"].values()
    ]


_shown = results.shown


def test_the_table_of_results_is_the_measured_one():
    stands = re.search(r"<!-- results -->\n(.*)\n<!-- /results -->", README, re.DOTALL)
    assert stands is not None and stands.group(1) == table(), "run: python -m tests.test_readme"


def test_every_unit_has_a_row():
    numbers = {folder.name[:2] for folder in (ROOT / "labs").iterdir() if folder.is_dir()}
    assert numbers == set(re.findall(r"^\| (\d\d) [A-Z]", README, re.MULTILINE))


def test_every_file_that_is_linked_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_make_target_and_command_exists():
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | set(re.findall(r"`make (\w+)`", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"lab", "test", "demo"} <= targets
    assert all(re.search(rf"\b{target}\b.*:", makefile) for target in targets)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    commands = set(re.findall(r"^(\w+) = \"\w+\.commands", project, re.MULTILINE))
    named = set(re.findall(r"^(?:.*`)?nutshell (\w+)", README, re.MULTILINE))
    assert named and named <= commands


if __name__ == "__main__":
    print(table())
