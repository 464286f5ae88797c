"""Wrong answers that learners of unit 01 would really write, and right ones written another way.

An answer makes up one cell of the lab, with the helpers below that it uses, so nothing here uses more than the lab
imports.
"""

import math

from nutshell.checks import alternative, mutant

# ---- layer_cost


def _layer(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True) -> dict:
    """What is right, for answers that go wrong from there."""
    if min(*input_shape, outputs, 1 if kernel is None else kernel, stride, dilation, groups) < 1 or padding < 0:
        raise ValueError("A size is out of range.")
    sides, fan_in = (), math.prod(input_shape)
    if kernel is not None:
        span = dilation * (kernel - 1) + 1
        if len(input_shape) != 3 or input_shape[0] % groups or outputs % groups:
            raise ValueError("The channels don't fit.")
        if span > min(input_shape[1:]) + 2 * padding:
            raise ValueError("The kernel doesn't fit.")
        sides = tuple((side + 2 * padding - span) // stride + 1 for side in input_shape[1:])
        fan_in = input_shape[0] // groups * kernel**2
    positions, biases = math.prod(sides), outputs * bool(bias)
    return {"output_shape": (outputs, *sides), "parameters": outputs * fan_in + biases,
            "macs": outputs * positions * fan_in, "bias_adds": biases * positions, "activations": outputs * positions}


@mutant("layer_cost")
def forgets_groups(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Every filter sees all channels, groups or not."""
    _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    return _layer(input_shape, outputs, kernel, stride, padding, dilation, 1, bias)


@mutant("layer_cost")
def forgets_bias(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Parameters are weights alone."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    return cost | dict(parameters=cost["parameters"] - outputs * bool(bias))


@mutant("layer_cost")
def counts_flops(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Two for each multiply-accumulate."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    return cost | dict(macs=2 * cost["macs"])


@mutant("layer_cost")
def multiplies_by_the_input(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """One product for each input position instead of each output position."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    positions = math.prod(cost["output_shape"][1:])
    return cost | dict(macs=cost["macs"] // positions * math.prod(input_shape[1:]) if kernel else cost["macs"])


@mutant("layer_cost")
def rounds_the_output_up(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """The output is as large as if an incomplete last step counted."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    if kernel is None:
        return cost
    span = dilation * (kernel - 1) + 1
    sides = [math.ceil((side + 2 * padding - span) / stride) + 1 for side in input_shape[1:]]
    weights = cost["macs"] // math.prod(cost["output_shape"][1:])
    activations = outputs * math.prod(sides)
    return cost | dict(output_shape=(outputs, *sides), macs=weights * math.prod(sides), activations=activations,
                       bias_adds=activations * bool(bias))


@mutant("layer_cost")
def output_is_one_too_small(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Forgets the + 1 of the output's size."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    if kernel is None:
        return cost
    sides = [side - 1 for side in cost["output_shape"][1:]]
    weights = cost["macs"] // math.prod(cost["output_shape"][1:])
    activations = outputs * math.prod(sides)
    return cost | dict(output_shape=(outputs, *sides), macs=weights * math.prod(sides), activations=activations,
                       bias_adds=activations * bool(bias))


@mutant("layer_cost")
def pads_one_side_only(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Adds the padding once, not on both sides."""
    if kernel is None:
        return _layer(input_shape, outputs, bias=bias)
    shape = (input_shape[0], *(side + padding for side in input_shape[1:])) if len(input_shape) == 3 else input_shape
    return _layer(shape, outputs, kernel, stride, 0, dilation, groups, bias)


@mutant("layer_cost")
def ignores_dilation(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """A dilated kernel spans no more than any other."""
    return _layer(input_shape, outputs, kernel, stride, padding, 1, groups, bias)


@mutant("layer_cost")
def takes_images_for_square(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """The width is taken for the height."""
    shape = (input_shape[0], input_shape[2], input_shape[2]) if len(input_shape) == 3 and kernel else input_shape
    return _layer(shape, outputs, kernel, stride, padding, dilation, groups, bias)


@mutant("layer_cost")
def counts_biases_not_sums(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """As many bias additions as biases, though each is added at every position."""
    cost = _layer(input_shape, outputs, kernel, stride, padding, dilation, groups, bias)
    return cost | dict(bias_adds=outputs * bool(bias))


@mutant("layer_cost")
def refuses_nothing(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Counts layers that can't exist."""
    if kernel is None:
        fan_in, sides = math.prod(input_shape), ()
    else:
        fan_in = input_shape[0] // groups * kernel**2
        span = dilation * (kernel - 1) + 1
        sides = tuple((side + 2 * padding - span) // stride + 1 for side in input_shape[1:])
    activations = outputs * math.prod(sides)
    return {"output_shape": (outputs, *sides), "parameters": outputs * (fan_in + bool(bias)),
            "macs": activations * fan_in, "bias_adds": activations * bool(bias), "activations": activations}


@alternative("layer_cost")
def asks_torch(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Builds the layer on the meta device and looks at it."""
    import torch
    from torch import nn

    if min(*input_shape, outputs, stride, dilation, groups, *([] if kernel is None else [kernel])) < 1 or padding < 0:
        raise ValueError("A size is below 1.")
    with torch.device("meta"):
        if kernel is None:
            layer, x = nn.Linear(math.prod(input_shape), outputs, bias=bias), torch.zeros(1, math.prod(input_shape))
        elif len(input_shape) != 3:
            raise ValueError("An image has three sizes.")
        else:
            layer = nn.Conv2d(input_shape[0], outputs, kernel, stride, padding, dilation, groups, bias)
            x = torch.zeros(1, *input_shape)
        try:
            y = layer(x)[0]
        except RuntimeError as error:
            raise ValueError(str(error)) from None
    return {"output_shape": list(y.shape), "parameters": sum(p.numel() for p in layer.parameters()),
            "macs": y.numel() * layer.weight[0].numel(), "bias_adds": y.numel() if bias else 0,
            "activations": y.numel()}


@alternative("layer_cost")
def counts_window_by_window(input_shape, outputs, kernel=None, stride=1, padding=0, dilation=1, groups=1, bias=True):
    """Walks over the image and counts the places where the kernel fits."""
    if any(size < 1 for size in (*input_shape, outputs, stride, dilation, groups)) or padding < 0 or kernel == 0:
        raise ValueError("sizes")
    if kernel is None:
        sides, weights = [], outputs
        for size in input_shape:
            weights *= size
    else:
        if len(input_shape) != 3 or input_shape[0] % groups != 0 or outputs % groups != 0:
            raise ValueError("channels")
        reach = dilation * (kernel - 1)
        sides = [len(range(-padding, size + padding - reach, stride)) for size in input_shape[1:]]
        if 0 in sides:
            raise ValueError("kernel")
        weights = outputs // groups * (input_shape[0] // groups) * kernel * kernel * groups
    places = 1
    for side in sides:
        places *= side
    biases = outputs if bias else 0
    return dict(output_shape=tuple([outputs, *sides]), parameters=weights + biases, macs=weights * places,
                bias_adds=biases * places, activations=outputs * places)


# ---- network_cost


def _total(rows: list[dict], shape: tuple) -> dict:
    keys = ("parameters", "macs", "bias_adds", "activations")
    return {"layers": rows, "output_shape": shape, **{key: sum(row[key] for row in rows) for key in keys}}


def _network(layers, input_shape) -> dict:
    """What is right, for answers that go wrong from there."""
    known = {"conv": "kind outputs kernel stride padding groups bias", "pool": "kind kernel stride padding",
             "linear": "kind outputs bias"}
    shape, rows = tuple(input_shape), []
    for layer in layers:
        options = {key: value for key, value in layer.items() if key != "kind"}
        if not set(layer) <= set(known.get(layer["kind"], "").split()):
            raise ValueError(f"{layer} is not known.")
        if layer["kind"] == "pool":
            options = {"stride": options["kernel"]} | options | {"outputs": shape[0], "groups": shape[0], "bias": False}
        row = _layer(shape, **options)
        rows.append(row | {"parameters": 0, "macs": 0} if layer["kind"] == "pool" else row)
        shape = row["output_shape"]
    return _total(rows, shape)


@mutant("network_cost")
def pools_with_stride_one(layers, input_shape):
    """A pool without a stride moves by one pixel instead of by its kernel."""
    return _network([{"stride": 1} | layer if layer.get("kind") == "pool" else layer for layer in layers],
                                  input_shape)


@mutant("network_cost")
def forgets_to_flatten(layers, input_shape):
    """A linear layer after a convolution takes the channels for its inputs."""
    shape, rows = tuple(input_shape), []
    for layer in layers:
        flat = shape[:1] if layer.get("kind") == "linear" else shape
        rows += _network([layer], flat)["layers"]
        shape = rows[-1]["output_shape"]
    return _total(rows, shape)


@mutant("network_cost")
def skips_pools(layers, input_shape):
    """Pools have no row, since they cost nothing."""
    cost = _network(layers, input_shape)
    rows = [row for row, layer in zip(cost["layers"], layers, strict=True) if layer["kind"] != "pool"]
    return _total(rows, cost["output_shape"])


@mutant("network_cost")
def ignores_misspelt_keys(layers, input_shape):
    """A key that a kind doesn't know is dropped in silence."""
    known = {"conv": "kind outputs kernel stride padding groups bias", "pool": "kind kernel stride padding",
             "linear": "kind outputs bias"}
    layers = [{key: layer[key] for key in layer if key in known.get(layer["kind"], "kind").split()} for layer in layers]
    return _network(layers, input_shape)


@mutant("network_cost")
def pools_have_weights(layers, input_shape):
    """A pool costs a multiply-accumulate for each pixel of its windows."""
    rows = _network(layers, input_shape)["layers"]
    for row, layer in zip(rows, layers, strict=True):
        if layer["kind"] == "pool":
            row["macs"] = row["activations"] * layer["kernel"] ** 2
    return _total(rows, rows[-1]["output_shape"] if rows else tuple(input_shape))


@mutant("network_cost")
def network_forgets_groups(layers, input_shape):
    """Groups are accepted and ignored."""
    _network(layers, input_shape)
    layers = [{key: layer[key] for key in layer if key != "groups"} for layer in layers]
    return _network(layers, input_shape)


@mutant("network_cost")
def needs_a_layer(layers, input_shape):
    """Takes the output's shape from the last layer, which an empty network doesn't have."""
    rows = _network(layers, input_shape)["layers"]
    return _total(rows, rows[-1]["output_shape"])


@alternative("network_cost")
def one_layer_after_another(layers, input_shape):
    """Uses the layer's cost for each layer that has one, and only pools are worked out here."""
    return _network(layers, input_shape)


@alternative("network_cost")
def runs_it_on_the_meta_device(layers, input_shape):
    """Builds the network without memory, runs it and looks at what comes out of each layer."""
    import torch
    from torch import nn

    keys = {"conv": "outputs kernel stride padding groups bias", "pool": "kernel stride padding",
            "linear": "outputs bias"}
    x, rows = torch.zeros(1, *input_shape, device="meta"), []
    for layer in layers:
        options = dict(layer)
        kind = options.pop("kind")
        if kind not in keys or any(key not in keys[kind].split() for key in options):
            raise ValueError(f"{layer}?")
        try:
            if kind == "pool":
                module = nn.MaxPool2d(options.pop("kernel"), **options)
            elif kind == "conv":
                module = nn.Conv2d(x.shape[1], options.pop("outputs"), options.pop("kernel"), **options, device="meta")
            else:
                x = x.flatten(1)
                module = nn.Linear(x.shape[1], options.pop("outputs"), **options, device="meta")
            x = module(x)
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"{layer}: {error}") from None
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        rows.append({"activations": x.numel(), "output_shape": tuple(x.shape[1:]),
                     "bias_adds": 0 if bias is None else x.numel(),
                     "macs": 0 if weight is None else x.numel() * weight[0].numel(),
                     "parameters": sum(p.numel() for p in module.parameters())})
    return _total(rows, tuple(x.shape[1:]))


# ---- weight_bytes


def _checked(parameters: list[int], bits: list[int]) -> None:
    if len(parameters) != len(bits) or any(n < 0 for n in parameters) or any(b < 1 for b in bits):
        raise ValueError("The lists don't match.")


def _units(size: float) -> dict:
    return {"bytes": size, "MB": size / 1e6, "MiB": size / 1024**2}


@mutant("weight_bytes")
def takes_mib_for_mb(parameters, bits):
    """MB and MiB are the same thing."""
    _checked(parameters, bits)
    size = sum(math.ceil(n * b / 8) for n, b in zip(parameters, bits, strict=True))
    return _units(size) | {"MB": size / 2**20}


@mutant("weight_bytes")
def forgets_to_divide_by_eight(parameters, bits):
    """Bits are taken for bytes."""
    _checked(parameters, bits)
    return _units(sum(n * b for n, b in zip(parameters, bits, strict=True)))


@mutant("weight_bytes")
def rounds_down(parameters, bits):
    """The last bits of a layer get lost."""
    _checked(parameters, bits)
    return _units(sum(n * b // 8 for n, b in zip(parameters, bits, strict=True)))


@mutant("weight_bytes")
def rounds_up_once(parameters, bits):
    """The network is rounded up to a whole byte, not each layer."""
    _checked(parameters, bits)
    return _units(-(-sum(n * b for n, b in zip(parameters, bits, strict=True)) // 8))


@mutant("weight_bytes")
def pads_each_weight(parameters, bits):
    """Each weight takes whole bytes."""
    _checked(parameters, bits)
    return _units(sum(n * math.ceil(b / 8) for n, b in zip(parameters, bits, strict=True)))


@mutant("weight_bytes")
def stops_at_the_shorter_list(parameters, bits):
    """Layers without a number of bits are left out."""
    pairs = list(zip(parameters, bits, strict=False))
    _checked([n for n, _ in pairs], [b for _, b in pairs])
    return _units(sum((n * b + 7) // 8 for n, b in pairs))


@alternative("weight_bytes")
def divmod_by_eight(parameters, bits):
    """Whole bytes, and one more if bits are left."""
    if len(parameters) != len(bits):
        raise ValueError("Give one number of bits for each layer.")
    size = 0
    for count, width in zip(parameters, bits, strict=True):
        if count < 0 or width <= 0:
            raise ValueError(f"{count} parameters with {width} bits?")
        whole, rest = divmod(count * width, 8)
        size += whole + (rest > 0)
    return {"MiB": size / 1024 / 1024, "MB": size / 1000 / 1000, "bytes": size}


@alternative("weight_bytes")
def negative_floor(parameters, bits):
    """Rounds up by flooring the negative."""
    _checked(parameters, bits)
    size = sum(-(-n * b // 8) for n, b in zip(parameters, bits, strict=True))
    return dict(bytes=size, MB=size * 1e-6, MiB=size * 2.0**-20)


# ---- inference_energy

_FORMATS = {"fp32": (32, 3.7, 0.9), "fp16": (16, 1.1, 0.4), "int8": (8, 0.2, 0.1)}


def _energy(macs, parameters, activations, number, dram_pj, sram_bytes, mac=None, bits=None, unit=1e-6, sram_pj=5.0,
            apart=True):
    if number not in _FORMATS or min(macs, parameters, activations) < 0:
        raise ValueError("Unknown format or a negative count.")
    width, multiply, add = _FORMATS[number]
    weights, values = (count * (bits or width) / 32 for count in (parameters, activations))
    fits = [words * 4 <= sram_bytes if apart else (weights + values) * 4 <= sram_bytes for words in (weights, values)]
    arithmetic = macs * (multiply + add if mac is None else mac[number])
    moved = [words * (sram_pj if fit else dram_pj) for words, fit in zip((weights, values), fits, strict=True)]
    parts = dict(zip(("arithmetic", "weights", "activations"), (arithmetic, *moved), strict=True))
    return {key: value * unit for key, value in (parts | {"total": sum(parts.values())}).items()}


@mutant("inference_energy")
def forgets_the_addition(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """A MAC is a multiplication."""
    mac = {"fp32": 3.7, "fp16": 1.1, "int8": 0.2}
    return _energy(macs, parameters, activations, number, dram_pj, sram_bytes, mac=mac)


@mutant("inference_energy")
def adds_in_int8(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Products of int8 are summed at the price of an int8 addition."""
    mac = {"fp32": 4.6, "fp16": 1.5, "int8": 0.23}
    return _energy(macs, parameters, activations, number, dram_pj, sram_bytes, mac=mac)


@mutant("inference_energy")
def moves_a_word_for_each_weight(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """A weight of 8 bits takes a word of 32."""
    return _energy(macs, parameters, activations, number, dram_pj, sram_bytes, bits=32)


@mutant("inference_energy")
def pays_for_each_byte(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """640 pJ for a byte instead of for 32 bits."""
    return _energy(macs, parameters, activations, number, 4 * dram_pj, sram_bytes, sram_pj=20.0)


@mutant("inference_energy")
def answers_in_millijoules(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Divides by 10⁹ instead of 10⁶."""
    return _energy(macs, parameters, activations, number, dram_pj, sram_bytes, unit=1e-9)


@mutant("inference_energy")
def nothing_fits(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Everything comes from DRAM, however small."""
    return _energy(macs, parameters, activations, number, dram_pj, -1)


@mutant("inference_energy")
def fits_together_or_not(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Weights and activations fit only if they fit together."""
    return _energy(macs, parameters, activations, number, dram_pj, sram_bytes, apart=False)


@mutant("inference_energy")
def a_fixed_dram(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """The cost of DRAM is written into the function."""
    return _energy(macs, parameters, activations, number, 640.0, sram_bytes)


@mutant("inference_energy")
def counts_weights_not_bytes(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Compares the number of weights with the number of bytes on the chip."""
    return _energy(macs, parameters, activations, number, dram_pj, 4 * sram_bytes)


@alternative("inference_energy")
def by_a_helper(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Prices in a dict of dicts, a helper for what moves."""
    prices = {"fp32": {"bytes": 4, "mac": 3.7 + 0.9}, "fp16": {"bytes": 2, "mac": 1.1 + 0.4},
              "int8": {"bytes": 1, "mac": 0.3}}
    if number not in prices:
        raise ValueError(number)
    for count in (macs, parameters, activations):
        if count < 0:
            raise ValueError(count)

    def moving(count):
        size = count * prices[number]["bytes"]
        return size / 4 * (5 if size <= sram_bytes else dram_pj) / 1e6

    energy = {"arithmetic": macs * prices[number]["mac"] / 1e6, "weights": moving(parameters),
              "activations": moving(activations)}
    return {**energy, "total": sum(energy.values())}


@alternative("inference_energy")
def in_joules_first(macs, parameters, activations, number="fp32", dram_pj=640.0, sram_bytes=8192):
    """Everything in joules, converted at the end."""
    return {key: value * 1e6 for key, value in
            _energy(macs, parameters, activations, number, dram_pj, sram_bytes, unit=1e-12).items()}


# ---- frame_rate


def _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts, operations=2, cap=True, idle=1.0):
    if macs < 1 or flops_per_second <= 0 or millijoules <= 0 or battery_wh <= 0 or fps <= 0 or idle_milliwatts < 0:
        raise ValueError("A number is not in its range.")
    latency = operations * macs / flops_per_second
    frames = 1 / max(latency, 1 / fps) if cap else 1 / latency
    power = millijoules * frames + idle * idle_milliwatts
    return {"latency_ms": latency * 1e3, "in_time": latency < 1 / fps, "frames_per_second": frames, "milliwatts": power,
            "hours": battery_wh / (power / 1e3)}


@mutant("frame_rate")
def takes_macs_for_flops(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """A MAC is one operation: twice as fast as true."""
    return _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts, operations=1)


@mutant("frame_rate")
def outruns_the_camera(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """A fast device looks at more images than the camera delivers."""
    return _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts, cap=False)


@mutant("frame_rate")
def always_at_camera_rate(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """Draws power for images that the device never looks at."""
    rate = _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts)
    power = millijoules * fps + idle_milliwatts
    return rate | {"frames_per_second": fps, "milliwatts": power, "hours": 1000 * battery_wh / power}


@mutant("frame_rate")
def forgets_idle_power(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """Only images draw power."""
    return _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts, idle=0.0)


@mutant("frame_rate")
def divides_by_milliwatts(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """Watt-hours over milliwatts are not hours."""
    rate = _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts)
    return rate | {"hours": battery_wh / rate["milliwatts"]}


@mutant("frame_rate")
def latency_in_seconds(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """The latency is in seconds."""
    rate = _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts)
    return rate | {"latency_ms": rate["latency_ms"] / 1000}


@mutant("frame_rate")
def thirty_frames_for_every_camera(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """In time means within 33 ms, whatever the camera does."""
    rate = _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts)
    return rate | {"in_time": rate["latency_ms"] <= 1000 / 30}


@alternative("frame_rate")
def slower_of_the_two(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """One image takes the longer of the device's and the camera's time."""
    return _rate(macs, flops_per_second, millijoules, battery_wh, fps, idle_milliwatts)


@alternative("frame_rate")
def in_cases(macs, flops_per_second, millijoules, battery_wh, fps=30.0, idle_milliwatts=0.0):
    """In time or not as two cases, energies in joules."""
    for number in (macs, flops_per_second, millijoules, battery_wh, fps):
        if not number > 0:
            raise ValueError(number)
    if idle_milliwatts < 0:
        raise ValueError(idle_milliwatts)
    own = flops_per_second / (2.0 * macs)
    frames = fps if own >= fps else own
    watts = millijoules / 1000 * frames + idle_milliwatts / 1000
    return {"latency_ms": 1000 / own, "in_time": own >= fps, "frames_per_second": frames, "milliwatts": watts * 1000,
            "hours": battery_wh * 3600 / watts / 3600}


# ---- audit


def _audit(rows, options=(1, 2), roundings=("cut", "round"), slip=None):
    scale, findings = {"K": 10**3, "M": 10**6, "G": 10**9}, []
    for row in rows:
        weights, groups, cut = row["inputs"] * row["outputs"] * row["kernel"] ** 2, [], False
        for text, count in ((row["parameters"], weights), (row["compute"], weights * row["positions"])):
            if text[-1] not in scale:
                raise ValueError(f"{text} has no unit.")
            digits = len(text[:-1].partition(".")[2])
            shown, unit = int(text[:-1].replace(".", "")), scale[text[-1]]
            fits = {"cut": [g for g in options if count * 10**digits // (g * unit) == shown],
                    "round": [g for g in options if (2 * count * 10**digits + g * unit) // (2 * g * unit) == shown]}
            groups.append([g for g in options if any(g in fits[how] for how in roundings)])
            cut = cut or (not fits["round"] and bool(fits["cut"]))
        findings.append({"name": row["name"], "parameter_groups": groups[0], "compute_groups": groups[1], "cut": cut,
                         "slip": not set(groups[0]) & set(groups[1]) if slip is None else slip(groups)})
    return findings


@mutant("audit")
def only_rounds(rows):
    """Numbers that were cut off fit nothing."""
    return _audit(rows, roundings=("round",))


@mutant("audit")
def only_cuts(rows):
    """Numbers that were rounded fit nothing."""
    return _audit(rows, roundings=("cut",))


@mutant("audit")
def forgets_that_layers_have_groups(rows):
    """Every layer is taken to have one group, so half of the table looks wrong."""
    return _audit(rows, options=(1,))


@mutant("audit")
def each_column_alone(rows):
    """A row is right if each of its numbers fits some layer, though not the same one."""
    return _audit(rows, slip=lambda groups: not (groups[0] and groups[1]))


@mutant("audit")
def compares_flops(rows):
    """Takes the compute for FLOPs and doubles the exact count."""
    return [finding | {"compute_groups": [], "slip": True} if not finding["slip"] else finding for finding in
            _audit([row | {"positions": 2 * row["positions"]} for row in rows])]


@mutant("audit")
def within_five_percent(rows):
    """Anything near enough fits, so the digits don't matter."""
    scale, findings = {"K": 1e3, "M": 1e6, "G": 1e9}, _audit(rows)
    for row, finding in zip(rows, findings, strict=True):
        weights = row["inputs"] * row["outputs"] * row["kernel"] ** 2
        for key, text, count in (("parameter_groups", row["parameters"], weights),
                                 ("compute_groups", row["compute"], weights * row["positions"])):
            value = float(text[:-1]) * scale[text[-1]]
            finding[key] = [g for g in (1, 2) if abs(value - count / g) <= 0.05 * count / g]
        finding["slip"] = not set(finding["parameter_groups"]) & set(finding["compute_groups"])
    return findings


@mutant("audit")
def returns_slips_only(rows):
    """Rows without a slip are left out."""
    return [finding for finding in _audit(rows) if finding["slip"]]


@alternative("audit")
def with_integers(rows):
    """Integers only: the digits without their point, floor division for both roundings."""
    return _audit(rows)


@alternative("audit")
def with_intervals(rows):
    """A printed number stands for an interval, from half a step below it to a step above."""
    findings = []
    for row in rows:
        layer = row["inputs"] * row["outputs"] * row["kernel"] * row["kernel"]
        found, cuts = {}, []
        for key, text, count in (("parameter_groups", row["parameters"], layer),
                                 ("compute_groups", row["compute"], layer * row["positions"])):
            if text[-1] == "K":
                unit = 1e3
            elif text[-1] == "M":
                unit = 1e6
            elif text[-1] == "G":
                unit = 1e9
            else:
                raise ValueError(text)
            step = unit / 10 ** len(text[:-1].partition(".")[2])
            value = float(text[:-1]) * unit
            near = {g: (count / g - value) / step for g in (1, 2)}
            found[key] = [g for g in (1, 2) if -0.5 <= near[g] < 1]
            cuts.append(any(0.5 <= x < 1 for x in near.values()) and not any(-0.5 <= x < 0.5 for x in near.values()))
        both = [g for g in found["parameter_groups"] if g in found["compute_groups"]]
        findings.append({"name": row["name"], **found, "slip": len(both) == 0, "cut": any(cuts)})
    return findings
