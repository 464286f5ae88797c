"""What stands in for the applications' pictures without them: drawn by seeded generators, in the publishers' layouts.

None is the real thing, and each data set's name says so. Each is learnable, and is read by the code that reads the real
files. Only whole numbers are drawn, and Pillow fills the shapes.
"""

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SEED = 20_261_121
FRAMES = 320
HANDS = 60  # of a gesture
CELLS = 200  # of a class
SKETCHES = 300  # of a word
PATIENTS = 20

Point = tuple[float, float]


def road() -> dict[str, bytes]:
    """A driver's log and 320 frames, 320×160, of a grey road with yellow edges on sand, under a blue sky.

    The road bends by a sum of slow sines; the driver steers by how much it bends, and the car drifts a little, against
    which it is steered, too.

    Returns
    -------
    dict
        ``driving_log.csv`` and ``IMG/center_….jpg`` (PNG inside, which loses nothing).
    """
    rng = np.random.default_rng((SEED, 0))
    grain = rng.integers(-12, 13, (FRAMES // 8, 160, 320, 1), dtype=np.int16)
    files, rows = {}, []
    for number in range(FRAMES):
        bend = round(100 * (0.7 * math.sin(number / 11) + 0.3 * math.sin(number / 5 + 2)))  # −100 … 100
        drift = int(rng.integers(-20, 21))  # pixels at the bottom
        steering = max(-100, min(100, bend - drift)) / 100
        image = _road_ahead(bend, drift, number)
        pixels = np.clip(np.asarray(image, np.int16) + grain[number % len(grain)], 0, 255).astype(np.uint8)
        name = f"IMG/center_{number:04d}.jpg"
        files[name] = _png(Image.fromarray(pixels))
        rows.append(f"{name},,,{steering},1,0,30")
    return files | {"driving_log.csv": "\n".join(rows).encode()}


def _road_ahead(bend: int, drift: int, number: int) -> Image.Image:
    image = Image.new("RGB", (320, 160), (110, 160, 220))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 62, 320, 160), fill=(190, 170, 110))
    for tree in range(12):
        left = (tree * 53 - 3 * number - bend) % 380 - 40
        pen.rectangle((left, 40 - tree % 4 * 5, left + 10, 63), fill=(40, 80, 40))
    for y in range(62, 160):
        near = y - 61  # 1 at the horizon, 98 at the bottom
        middle = 160 + drift * near // 98 + bend * (98 - near) * (98 - near) // 9_000
        half = 6 + near * 3 // 2
        pen.line((middle - half, y, middle + half, y), fill=(200, 180, 40))
        pen.line((middle - half + 1 + near // 16, y, middle + half - 1 - near // 16, y), fill=(90, 90, 92))
    pen.ellipse((60, 140, 260, 190), fill=(150, 130, 110))
    return image


# Of each gesture: angles in degrees and lengths in eighths of a palm of the fingers that are stretched out.
FINGERS = (
    ((0, 12),), ((-14, 13), (14, 13)), ((-5, 12), (15, 12), (35, 11), (-40, 6)),
    ((-20, 11), (-7, 13), (7, 13), (20, 11), (-60, 9)), ((-22, 13), (22, 11)), ((-70, 11), (60, 11)),
    ((-22, 12), (-12, 13), (12, 13), (22, 12), (-60, 9)), ((-50, 11),), ((75, 13), (95, 13), (0, 9)), (),
    ((0, 13), (-75, 10)),
)  # fmt: skip


def hands() -> dict[str, bytes]:
    """Silhouettes of hands, 50×50: a palm, a wrist and the fingers of each of eleven gestures, turned and moved about.

    Returns
    -------
    dict
        ``1/1.jpg`` to ``11/60.jpg`` (PNG inside).
    """
    rng = np.random.default_rng((SEED, 1))
    files = {}
    for gesture, fingers in enumerate(FINGERS, start=1):
        for number in range(1, HANDS + 1):
            turn, x, y, palm = (int(value) for value in rng.integers((-12, 84, 110, 34), (13, 117, 135, 45)))
            image = Image.new("L", (200, 200))
            pen = ImageDraw.Draw(image)
            pen.ellipse((x - palm, y - palm, x + palm, y + palm), fill=255)
            pen.rectangle((x - palm * 2 // 3, y, x + palm * 2 // 3, 200), fill=255)
            for angle, length in fingers:
                tip = _along((x, y), angle + turn, palm * (8 + length) / 8)
                pen.line((x, y, *tip), fill=255, width=palm * 2 // 5)
                pen.ellipse((tip[0] - palm / 5, tip[1] - palm / 5, tip[0] + palm / 5, tip[1] + palm / 5), fill=255)
            files[f"{gesture}/{number}.jpg"] = _png(image.resize((50, 50), Image.Resampling.BOX))
    return files


def cells() -> dict[str, bytes]:
    """Red blood cells on black, of differing sizes; in half of them a purple parasite, in some others a stain.

    Returns
    -------
    dict
        ``Parasitized/C1P1thinF_….png`` and ``Uninfected/…``, of twenty patients with a stain each.
    """
    rng = np.random.default_rng((SEED, 2))
    stains = rng.integers(-14, 15, (PATIENTS, 3))
    files = {}
    for label, folder in enumerate(("Parasitized", "Uninfected")):
        for number in range(CELLS):
            who = number % PATIENTS
            width, height = (int(size) for size in rng.integers(90, 171, 2))
            image = _cell((width, height), stains[who], label == 0, rng)
            files[f"{folder}/C{who + 1}P{who + 1}thinF_IMG_2026_cell_{number}.png"] = _png(image)
    return files


def _cell(size: tuple[int, int], stain: np.ndarray, infected: bool, rng: np.random.Generator) -> Image.Image:
    width, height = size
    flesh, mark = (tuple(int(c) for c in np.array(base) + stain) for base in ((220, 150, 165), (130, 60, 150)))
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    pen.ellipse((2, 2, width - 3, height - 3), fill=flesh)
    count = int(rng.integers(1, 4)) if infected else int(rng.integers(0, 8) == 0)
    for _ in range(count):
        angle, radius = int(rng.integers(0, 360)), int(rng.integers(5, 11))
        away = 0.3 if infected else 0.47  # what a healthy cell shows is dirt at its edge
        x, y = _along((width / 2, height / 2), angle, away * min(size))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius * 3 // 4), fill=mark)
    pixels = np.asarray(image.filter(ImageFilter.BoxBlur(1)), np.int16)
    grain = rng.integers(-8, 9, pixels.shape, dtype=np.int16) * (pixels > 0)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def sketches() -> dict[str, bytes]:
    """Six words as wobbly lines, 28×28, 300 of each: ``apple.npy`` to ``fish.npy``, uint8 ``(300, 784)``."""
    rng = np.random.default_rng((SEED, 3))
    files = {}
    for word, lines in WORDS.items():
        rows = np.stack([_sketch(lines, rng) for _ in range(SKETCHES)])
        buffer = io.BytesIO()
        np.save(buffer, rows)
        files[f"{word}.npy"] = buffer.getvalue()
    return files


def _sketch(lines: tuple[tuple[Point, ...], ...], rng: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (112, 112))
    pen = ImageDraw.Draw(image)
    wide, high, right, down, tilt = (int(v) for v in rng.integers((36, 36, -8, -8, -3), (47, 47, 9, 9, 4)))
    for line in lines:
        wobble = rng.integers(-3, 4, (len(line), 2))
        points = [(56 + right + wide * x + tilt * y * 3 + dx, 56 + down + high * y + dy)
                  for (x, y), (dx, dy) in zip(line, wobble, strict=True)]
        pen.line(points, fill=255, width=6, joint="curve")
    return np.asarray(image.resize((28, 28), Image.Resampling.BOX)).reshape(-1)


def _circle(
    x: float, y: float, across: float, down: float | None = None, start: int = 0, end: int = 360
) -> tuple[Point, ...]:
    down = across if down is None else down
    return tuple((x + across * math.cos(math.radians(a)), y + down * math.sin(math.radians(a)))
                 for a in range(start, end + 1, 24))


WORDS: dict[str, tuple[tuple[Point, ...], ...]] = {  # lines through points from −1 to 1, x to the right, y down
    "apple": (_circle(0, 0.15, 0.8), ((0, -0.6), (0.1, -1)), ((0.1, -0.8), (0.5, -0.95), (0.3, -0.7))),
    "bicycle": (_circle(-0.6, 0.4, 0.4), _circle(0.6, 0.4, 0.4),
                ((-0.6, 0.4), (-0.2, -0.3), (0.4, -0.3), (0.6, 0.4)),
                ((-0.2, -0.3), (0, 0.4), (0.4, -0.3), (0.3, -0.6))),
    "cat": (_circle(0, 0.2, 0.75, 0.7), ((-0.7, -0.1), (-0.65, -0.9), (-0.2, -0.45)),
            ((0.7, -0.1), (0.65, -0.9), (0.2, -0.45)),
            ((-0.2, 0.3), (-0.95, 0.2)), ((0.2, 0.3), (0.95, 0.2))),
    "diamond": (((0, 0.9), (-0.9, -0.2), (-0.5, -0.7), (0.5, -0.7), (0.9, -0.2), (0, 0.9)),
                ((-0.9, -0.2), (0.9, -0.2))),
    "eye": (_circle(0, 0.5, 1, 1, 204, 336), _circle(0, -0.35, 1, 1, 24, 156), _circle(0, 0.05, 0.3)),
    "fish": (_circle(-0.2, 0, 0.7, 0.45), ((0.5, 0), (0.95, -0.45), (0.95, 0.45), (0.5, 0)), _circle(-0.6, -0.1, 0.06)),
}  # fmt: skip


def _along(start: Point, angle: float, length: float) -> Point:
    """A point so far away, ``angle`` degrees to the right of upwards, rounded to whole pixels."""
    turned = math.radians(angle)
    return round(start[0] + length * math.sin(turned)), round(start[1] - length * math.cos(turned))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
