"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

from typing import Any
import numpy as np
from nutshell.checks import check
from nutshell.expect import close, equal, raises, that


def entry(got: Any, key: str, keys: tuple[str, ...]) -> Any:
    """One entry of a dict that the learner returned, or a message that says what the dict must hold."""
    that(
        isinstance(got, dict) and key in got,
        f"a dict with {', '.join(keys)}",
        type(got).__name__ if not isinstance(got, dict) else f"a dict with {', '.join(map(str, got)) or 'nothing'}",
        cause="The returned value has another form.",
        next_step="The docstring lists the keys under Returns.",
    )
    return got[key]

SIZES = ("bytes", "MB", "MiB")


def same_bytes(got: Any, want: dict, what: str, causes: dict[str, Any] | None = None) -> None:
    """Expect all three units of a size; the bytes are exact."""
    equal(
        entry(got, "bytes", SIZES),
        want["bytes"],
        f"the bytes of {what}",
        causes=causes,
        next_step="Take one layer of 3 parameters with 5 bits: 15 bits need 2 bytes.",
    )
    close(
        entry(got, "MB", SIZES),
        want["MB"],
        f"the MB of {what}",
        rtol=1e-9,
        causes={"That is in MiB; 1 MB = 1,000,000 bytes.": want["MiB"]},
    )
    close(
        entry(got, "MiB", SIZES),
        want["MiB"],
        f"the MiB of {what}",
        rtol=1e-9,
        causes={"That is in MB; 1 MiB = 2²⁰ bytes.": want["MB"], "That is in KiB.": 1024 * want["MiB"]},
    )


def expect_bytes(
    learner: Any, reference: Any, counts: list[int], bits: list[int], causes: dict[str, Any] | None = None
) -> None:
    """Compare the size of a network with the reference's."""
    want = reference.weight_bytes(counts, bits)
    what = f"layers of {counts} parameters with {bits} bits"
    same_bytes(learner.weight_bytes(counts, bits), want, what, causes)


@check("weight_bytes")
def alexnets_240_megabytes(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet in 32 bits takes 243.9 MB, which are 232.6 MiB"""
    expect_bytes(learner, reference, [60_965_224], [32], {"Those are bits; a byte has 8.": 1_950_887_168})


@check("weight_bytes")
def a_layer_ends_at_a_whole_byte(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Each layer is packed with its own bits and rounded up to a whole byte"""
    causes = {
        "It doesn't round; a file has whole bytes.": 3.75,
        "It rounds down: the last bits need a byte too.": 2,
        "It gives each parameter whole bytes; they are packed.": 6,
    }
    expect_bytes(learner, reference, [3, 3], [5, 5], causes)
    expect_bytes(learner, reference, [2], [1])
    causes = {"It rounds the whole network up once; each layer starts at a whole byte.": 21}
    expect_bytes(learner, reference, [11, 7, 16], [3, 1, 8], causes)


@check("weight_bytes")
def lists_that_do_not_match_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Lists of different lengths, negative counts and zero bits raise ValueError"""
    raises("ValueError", learner.weight_bytes, [10, 20], [8], why="two layers have only one number of bits")
    raises("ValueError", learner.weight_bytes, [10, -1], [8, 8], why="a layer can't have −1 parameters")
    raises("ValueError", learner.weight_bytes, [10], [0], why="0 bits hold nothing")
