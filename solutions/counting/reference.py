"""The reference library of unit 01: what a layer and a network cost in parameters, operations, bytes, energy and time.

All counts are for one image (batch 1) and are exact integers. One multiply-accumulate (MAC) is a product and the sum
that it is added to, two floating-point operations; bias additions are counted apart.
"""

import math
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal


def layer_cost(
    input_shape: tuple[int, ...],
    outputs: int,
    kernel: int | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> dict:
    """Count what one linear or convolutional layer costs for one image.

    Parameters
    ----------
    input_shape : tuple of int
        ``(C, H, W)`` for a convolution; any shape for a linear layer, which flattens it.
    outputs : int
        Output features, or output channels.
    kernel : int or None
        Side of the square kernel; ``None`` makes it a linear layer, for which the numbers below don't matter.
    stride, padding, dilation : int
        Step of the kernel, zeros added on each of the four sides, and distance between the kernel's points.
    groups : int
        Channels are split into so many groups, and an output channel sees the input channels of its own group only.
    bias : bool
        Whether each output (channel) has a bias.

    Returns
    -------
    dict
        ``output_shape`` (tuple: ``(outputs,)`` or ``(outputs, H', W')``), ``parameters`` (weights and biases), ``macs``
        (without the biases), ``bias_adds`` (additions of a bias) and ``activations`` (numbers that come out).

    Raises
    ------
    ValueError
        If a size is below 1 or the padding below 0; for a convolution, if the input has not three sizes, if ``groups``
        doesn't divide the input channels or the outputs, or if the kernel is larger than the padded input.

    Examples
    --------
    >>> layer_cost((784,), 300)
    {'output_shape': (300,), 'parameters': 235500, 'macs': 235200, 'bias_adds': 300, 'activations': 300}
    >>> layer_cost((3, 227, 227), 96, kernel=11, stride=4)["output_shape"]
    (96, 55, 55)
    """
    sizes = (*input_shape, outputs, 1 if kernel is None else kernel, stride, dilation, groups)
    if min(sizes) < 1 or padding < 0:
        raise ValueError(f"input {input_shape}, outputs {outputs}, kernel {kernel}: sizes start at 1, padding at 0.")
    output_shape: tuple[int, ...]
    if kernel is None:
        output_shape = (outputs,)
        fan_in = math.prod(input_shape)
    else:
        if len(input_shape) != 3:
            raise ValueError(f"input {input_shape}: a convolution needs (channels, height, width).")
        channels, height, width = input_shape
        if channels % groups or outputs % groups:
            raise ValueError(f"groups={groups} must divide {channels} input channels and {outputs} outputs.")
        span = dilation * (kernel - 1) + 1
        if span > min(height, width) + 2 * padding:
            raise ValueError(f"The kernel spans {span}, the padded input only {min(height, width) + 2 * padding}.")
        output_shape = (outputs, *((side + 2 * padding - span) // stride + 1 for side in (height, width)))
        fan_in = channels // groups * kernel**2
    activations = math.prod(output_shape)
    return {
        "output_shape": output_shape,
        "parameters": outputs * fan_in + (outputs if bias else 0),
        "macs": activations * fan_in,
        "bias_adds": activations if bias else 0,
        "activations": activations,
    }


def network_cost(layers: list[dict], input_shape: tuple[int, ...]) -> dict:
    """Count what a chain of layers costs for one image, per layer and in total.

    Parameters
    ----------
    layers : list of dict
        In order. Each has a ``kind``:
        ``{"kind": "conv", "outputs": …, "kernel": …}`` with, optionally, ``stride`` (1), ``padding`` (0), ``groups``
        (1) and ``bias`` (True);
        ``{"kind": "pool", "kernel": …}`` with, optionally, ``stride`` (the kernel) and ``padding`` (0); a pool has
        neither parameters nor MACs, keeps the channels and, like a convolution, drops an incomplete last window;
        ``{"kind": "linear", "outputs": …}`` with, optionally, ``bias`` (True); it flattens what comes in.
    input_shape : tuple of int
        Shape of one image, ``(C, H, W)``, or ``(features,)``.

    Returns
    -------
    dict
        ``layers``: for each layer a dict of ``output_shape``, ``parameters``, ``macs``, ``bias_adds`` and
        ``activations`` (its outputs, pools included); ``output_shape`` of the last layer (of the input if there is no
        layer); ``parameters``, ``macs``, ``bias_adds`` and ``activations`` in total.

    Raises
    ------
    ValueError
        If a kind is unknown, a layer has a key that its kind doesn't know (a misspelt ``strides`` must not pass in
        silence), a convolution or pool gets an input that is not ``(C, H, W)``, ``groups`` doesn't divide, or a kernel
        is larger than its padded input.

    Examples
    --------
    >>> layers = [{"kind": "conv", "outputs": 20, "kernel": 5}, {"kind": "pool", "kernel": 2},
    ...           {"kind": "linear", "outputs": 10}]
    >>> cost = network_cost(layers, (1, 28, 28))
    >>> cost["parameters"], cost["macs"], [layer["output_shape"] for layer in cost["layers"]]
    (29330, 316800, [(20, 24, 24), (20, 12, 12), (10,)])
    """
    known = {"conv": {"kind", "outputs", "kernel", "stride", "padding", "groups", "bias"},
             "pool": {"kind", "kernel", "stride", "padding"}, "linear": {"kind", "outputs", "bias"}}
    shape, rows = tuple(input_shape), []
    for number, layer in enumerate(layers, start=1):
        kind = layer.get("kind")
        if kind not in known or set(layer) - known[kind]:
            rule = f"the keys are {sorted(known[kind])}" if kind in known else f"the kinds are {sorted(known)}"
            raise ValueError(f"Layer {number}, {layer}: {rule}.")
        if kind == "linear":
            fan_in, outputs, sides = math.prod(shape), layer["outputs"], ()
        else:
            if len(shape) != 3:
                raise ValueError(f"Layer {number} is a {kind} and needs (channels, height, width), not {shape}.")
            kernel, padding, groups = layer["kernel"], layer.get("padding", 0), layer.get("groups", 1)
            stride = layer.get("stride", kernel if kind == "pool" else 1)
            outputs = shape[0] if kind == "pool" else layer["outputs"]
            if shape[0] % groups or outputs % groups:
                raise ValueError(f"Layer {number}: {groups} groups must divide {shape[0]} and {outputs} channels.")
            if kernel > min(shape[1:]) + 2 * padding:
                raise ValueError(f"Layer {number}: kernel {kernel} is larger than the padded input of {shape}.")
            sides = tuple((side + 2 * padding - kernel) // stride + 1 for side in shape[1:])
            fan_in = 0 if kind == "pool" else shape[0] // groups * kernel**2
        biases = outputs if kind != "pool" and layer.get("bias", True) else 0
        shape = (outputs, *sides)
        rows.append({"output_shape": shape, "parameters": outputs * fan_in + biases, "macs": math.prod(shape) * fan_in,
                     "bias_adds": biases * math.prod(sides), "activations": math.prod(shape)})
    totals = {key: sum(row[key] for row in rows) for key in ("parameters", "macs", "bias_adds", "activations")}
    return {"layers": rows, "output_shape": shape, **totals}


def weight_bytes(parameters: list[int], bits: list[int]) -> dict:
    """Bytes that the weights of a network take when each layer is packed with its own number of bits.

    Parameters
    ----------
    parameters : list of int
        Parameters of each layer, 0 or more.
    bits : list of int
        Bits for each parameter of that layer, at least 1. A layer is packed without gaps and starts at a whole byte.

    Returns
    -------
    dict
        ``bytes`` (int), ``MB`` (float, 1 MB = 1,000,000 bytes) and ``MiB`` (float, 1 MiB = 2²⁰ bytes).

    Raises
    ------
    ValueError
        If the lists differ in length, a count is negative, or a number of bits is below 1.

    Examples
    --------
    >>> weight_bytes([11, 3], [5, 8])["bytes"]
    10
    >>> weight_bytes([1_000_000], [32])["MB"]
    4.0
    """
    if len(parameters) != len(bits):
        raise ValueError(f"{len(parameters)} counts but {len(bits)} numbers of bits: give one for each layer.")
    if any(count < 0 for count in parameters) or any(width < 1 for width in bits):
        raise ValueError(f"parameters {parameters}, bits {bits}: counts start at 0, bits at 1.")
    size = sum((count * width + 7) // 8 for count, width in zip(parameters, bits, strict=True))
    return {"bytes": size, "MB": size / 10**6, "MiB": size / 2**20}


def inference_energy(
    macs: int, parameters: int, activations: int, number: str = "fp32", dram_pj: float = 640.0, sram_bytes: int = 8192
) -> dict:
    """Estimate the energy of one inference in 45 nm, in microjoules, from counts.

    The model: each MAC is one multiplication and one addition. Weights and activations move in words of 32 bits, each
    once an inference; a word costs 5 pJ if all of its kind (all weights, or all activations) fit into the on-chip
    memory together, else ``dram_pj``. Costs (Horowitz, ISSCC 2014):

    ==========  ====  ===========  ========
    ``number``  bits  multiply pJ  add pJ
    ==========  ====  ===========  ========
    ``"fp32"``  32    3.7          0.9
    ``"fp16"``  16    1.1          0.4
    ``"int8"``  8     0.2          0.1 (products are summed in 32 bits)
    ==========  ====  ===========  ========

    Parameters
    ----------
    macs, parameters, activations : int
        Counts of one inference, 0 or more; of activations, as many as are read or written between the layers.
    number : str
        Number format of weights and activations.
    dram_pj : float
        Picojoules for 32 bits from DRAM.
    sram_bytes : int
        Bytes of on-chip memory, for the weights and for the activations each.

    Returns
    -------
    dict
        ``arithmetic``, ``weights``, ``activations`` and ``total``, in µJ (1 µJ = 10⁶ pJ).

    Raises
    ------
    ValueError
        If a count is negative or the number format is unknown.

    Examples
    --------
    >>> inference_energy(macs=1_000_000, parameters=1_000_000, activations=0)["total"]
    644.6
    """
    formats = {"fp32": (32, 3.7, 0.9), "fp16": (16, 1.1, 0.4), "int8": (8, 0.2, 0.1)}
    if number not in formats:
        raise ValueError(f"number={number!r}: choose one of {', '.join(formats)}.")
    if min(macs, parameters, activations) < 0:
        raise ValueError(f"macs={macs}, parameters={parameters}, activations={activations}: counts start at 0.")
    bits, multiply, add = formats[number]
    moved = []
    for count in (parameters, activations):
        words = math.ceil(count * bits / 32)
        moved.append(words * (5.0 if words * 4 <= sram_bytes else dram_pj) / 10**6)
    arithmetic = macs * (multiply + add) / 10**6
    return {"arithmetic": arithmetic, "weights": moved[0], "activations": moved[1], "total": arithmetic + sum(moved)}


def frame_rate(
    macs: int,
    flops_per_second: float,
    millijoules: float,
    battery_wh: float,
    fps: float = 30.0,
    idle_milliwatts: float = 0.0,
) -> dict:
    """Say whether a device keeps up with a camera, what power it draws, and how long its battery lasts.

    The device looks at one image after another and drops those that it has no time for: it works at the camera's rate
    if it can, else at its own.

    Parameters
    ----------
    macs : int
        Multiply-accumulates for one image, at least 1.
    flops_per_second : float
        Floating-point operations that the device does in a second, above 0; a MAC is two of them.
    millijoules : float
        Energy for one image in mJ, above 0.
    battery_wh : float
        Charge of the battery in watt-hours, above 0.
    fps : float
        Images that the camera delivers in a second, above 0.
    idle_milliwatts : float
        Power that is drawn all the time, working or not, 0 or more.

    Returns
    -------
    dict
        ``latency_ms`` for one image, ``in_time`` (bool: no image need be dropped), ``frames_per_second`` that are
        looked at, ``milliwatts`` drawn on average, ``hours`` until the battery is empty.

    Raises
    ------
    ValueError
        If a number is not in its range.

    Examples
    --------
    >>> frame_rate(macs=500_000_000, flops_per_second=1e11, millijoules=2.0, battery_wh=6.0)
    {'latency_ms': 10.0, 'in_time': True, 'frames_per_second': 30.0, 'milliwatts': 60.0, 'hours': 100.0}
    """
    if min(macs, flops_per_second, millijoules, battery_wh, fps) <= 0 or idle_milliwatts < 0:
        raise ValueError("macs, flops_per_second, millijoules, battery_wh, fps must be above 0, idle power at least 0.")
    seconds = 2 * macs / flops_per_second
    frames = min(fps, 1 / seconds)
    milliwatts = millijoules * frames + idle_milliwatts
    return {
        "latency_ms": 1000 * seconds,
        "in_time": seconds * fps <= 1,
        "frames_per_second": frames,
        "milliwatts": milliwatts,
        "hours": 1000 * battery_wh / milliwatts,
    }


def audit(rows: list[dict]) -> list[dict]:
    """Find the rows of a printed table whose parameters and compute are not those of one and the same layer.

    A printed number *fits* an exact count if it is the count cut off, or rounded half up, at the digits that are
    printed: ``"1.3M"`` fits 1,327,104, and ``"884K"`` fits 884,736 though only by cutting off. A layer may have been
    counted with one group or with two: with two, both its weights and its MACs are half as many.

    Parameters
    ----------
    rows : list of dict
        Each with ``name``; ``parameters`` and ``compute`` as printed, such as ``"1.3M"`` (K, M and G are 10³, 10⁶ and
        10⁹; compute means MACs, biases are left out of both); and the layer itself: ``inputs`` and ``outputs``
        (channels or features), ``kernel`` (side; 1 for a linear layer) and ``positions`` (of the output; 1 for a linear
        layer).

    Returns
    -------
    list of dict
        For each row, in order: ``name``; ``parameter_groups`` and ``compute_groups``, the lists of those of 1 and 2
        groups whose exact count the printed number fits; ``slip``, True unless one and the same number of groups
        fits both; and ``cut``, True if one of the two printed numbers (or both) fits only by cutting off.

    Raises
    ------
    ValueError
        If a printed number doesn't end in K, M or G.

    Examples
    --------
    >>> audit([{"name": "conv3", "parameters": "884K", "compute": "149M", "inputs": 256, "outputs": 384, "kernel": 3,
    ...         "positions": 169}])
    [{'name': 'conv3', 'parameter_groups': [1], 'compute_groups': [1], 'slip': False, 'cut': True}]
    """
    units = {"K": 10**3, "M": 10**6, "G": 10**9}
    findings = []
    for row in rows:
        weights = row["inputs"] * row["outputs"] * row["kernel"] ** 2
        fitting, cut = [], False
        for text, count in ((row["parameters"], weights), (row["compute"], weights * row["positions"])):
            if text[-1:] not in units:
                raise ValueError(f"{row['name']}: {text!r} must end in one of {', '.join(units)}.")
            printed = Decimal(text[:-1])
            fits = {}
            for rounding in (ROUND_DOWN, ROUND_HALF_UP):
                exact = {groups: Decimal(count) / groups / units[text[-1]] for groups in (1, 2)}
                fits[rounding] = [g for g, x in exact.items() if x.quantize(printed, rounding=rounding) == printed]
            fitting.append(sorted({*fits[ROUND_DOWN], *fits[ROUND_HALF_UP]}))
            cut = cut or bool(fits[ROUND_DOWN] and not fits[ROUND_HALF_UP])
        findings.append({"name": row["name"], "parameter_groups": fitting[0], "compute_groups": fitting[1],
                         "slip": not set(fitting[0]) & set(fitting[1]), "cut": cut})
    return findings
