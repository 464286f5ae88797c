"""``nutshell deploy``: a ``.nut`` file as an ONNX model, with its latency."""

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.nut")
@click.option("--output", metavar="FILE.onnx", type=click.Path(dir_okay=False, path_type=Path),
              help="Where the model goes; beside FILE.nut if left out.")
@click.option("--fps", default=30.0, show_default=True, help="Frames a second of the camera.")
@click.option("--answers", default=100, show_default=True, help="Answers to time back to back; a third at that rate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def deploy(file: Path, output: Path | None, fps: float, answers: int, as_json: bool) -> None:
    """Write FILE.nut as an ONNX model, and time it in ONNX Runtime on one thread.

    The outputs of both are compared on random images first; exit 1 if they differ.

    \b
    Examples:
      nutshell deploy in_a_nutshell.nut
      nutshell deploy in_a_nutshell.nut --output model.onnx --fps 60
    """
    import json
    from dataclasses import asdict

    import torch

    from nutshell import artefact
    from nutshell import deploy as deployment
    from nutshell.errors import WrongUse

    if not file.is_file():
        raise WrongUse(f"There is no file {file}.")
    if fps <= 0 or answers < 1:
        raise WrongUse(f"--fps {fps} and --answers {answers}: must be above 0.")
    output = output or file.with_suffix(".onnx")
    if not output.parent.is_dir():
        raise WrongUse(f"There is no folder {output.parent} for {output.name}. Make it first.")
    found = artefact.load(file)
    model = deployment.to_onnx(found)
    session = deployment.Session(model)
    images = torch.rand(8, *found.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        gap = float((session(images) - found.network(images.to(found.dtype)).float()).abs().max())
    same = gap < 1e-3
    output.write_bytes(model)
    alone = deployment.summary(deployment.latencies(session, answers))
    paced = deployment.summary(deployment.at_rate(session, fps, max(1, answers // 3)))
    if as_json:
        click.echo(json.dumps({"output": str(output), "bytes": found.bytes, "onnx_bytes": len(model), "same": same,
                               "largest_difference": gap, "fps": fps, "one_image_us": asdict(alone),
                               "at_rate_us": asdict(paced)}))
    else:
        click.echo(f"{output}: {len(model):,} bytes, {found.bytes:,} in {file.name}; largest difference {gap:.1g}")
        for words, seen in (("one image after the other", alone), (f"at {fps:g} frames a second", paced)):
            click.echo(f"{words}: {seen.median:,.0f} µs, 95 % within {seen.p95:,.0f} µs")
    if not same:
        raise click.exceptions.Exit(1)
