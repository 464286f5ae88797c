"""Unit 00, the workshop: which exercises of other units are done in two hours, and the budget at the end.

References, checks and answers stay where they are written; a change there changes the workshop too.
"""

from nutshell.checks import Budget, Limit, Unit
from solutions.counting.checks import UNIT as COUNTING
from solutions.deep_compression.checks import UNIT as DEEP_COMPRESSION
from solutions.low_rank.checks import UNIT as LOW_RANK
from solutions.quantization.checks import UNIT as QUANTIZATION
from solutions.weight_pruning.checks import UNIT as WEIGHT_PRUNING

UNIT = Unit(
    number=0,
    name="workshop",
    title="Workshop",
    exercises=(
        COUNTING.lend("weight_bytes", points=1, minutes=7),
        LOW_RANK.lend("factorise", points=2, minutes=12),
        WEIGHT_PRUNING.lend("magnitude_mask", points=2, minutes=10),
        QUANTIZATION.lend("quantization_parameters", points=1, minutes=6),
        QUANTIZATION.lend("AffineGrid", points=1, minutes=7),
        DEEP_COMPRESSION.lend("share", points=2, minutes=7),
        DEEP_COMPRESSION.lend("huffman_code", points=3, minutes=12),
    ),
    budgets=(
        Budget(
            name="in_a_nutshell",
            points=4,
            file="workshop.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(Limit("bytes", at_most=4 * 266_610 / 30), Limit("error_percent", at_most=2.2)),
            minutes=10,
        ),
    ),
)
