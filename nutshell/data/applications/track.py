"""Autopilot: frames of a driving simulator's camera, and how the person at the wheel steered.

Udacity's simulator writes ``driving_log.csv`` (centre, left and right camera's file, steering, throttle, brake, speed;
no heading in older versions, one in newer) and a folder ``IMG`` of JPEGs, 320×160 pixels.
"""

import csv
import io
import math
import re
from typing import NamedTuple

from nutshell.data.albums import Album, Picture, View
from nutshell.data.applications import drawn
from nutshell.data.files import Files
from nutshell.data.folders import FolderSource
from nutshell.data.formats import wrong
from nutshell.data.splits import in_stretches
from nutshell.errors import Refused, WrongUse

LOG = "driving_log.csv"
COLUMNS = 7
LONGEST = 64 << 20  # bytes of a log

FRAME = (3, 160, 320)
ROAD = (60 / 160, 135 / 160)  # rows: above them is sky and forest, below them the car's own bonnet
INPUT = (3, 66, 200)  # PilotNet's


class Moment(NamedTuple):
    """A row of the log: what three cameras saw, and what the driver did.

    Attributes
    ----------
    center, left, right : str
        Names within the layout, such as ``"IMG/center_….jpg"``; empty if that camera wasn't kept.
    steering : float
        −1 (full lock to the left) to 1 (to the right), of 25 degrees each.
    throttle, brake : float
        0 to 1.
    speed : float
        Miles an hour, as the simulator says.
    """

    center: str
    left: str
    right: str
    steering: float
    throttle: float
    brake: float
    speed: float


def parse_log(content: bytes, source: str) -> list[Moment]:
    """Read a driving log; of the files' names only the last part counts, since they are another machine's paths.

    Parameters
    ----------
    content : bytes
        UTF-8, with a heading or without.
    source : str
        Names the file in errors.

    Returns
    -------
    list of Moment
        In the log's order, which is that of time.

    Raises
    ------
    Refused
        If a row hasn't the seven columns, or steers by something else than a number from −1 to 1.

    Examples
    --------
    >>> row = rb"C:\\\\car\\\\IMG\\\\center_1.jpg, , ,-0.25,1,0,30.2"
    >>> parse_log(row, "log")[0]
    Moment(center='IMG/center_1.jpg', left='', right='', steering=-0.25, throttle=1.0, brake=0.0, speed=30.2)
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise wrong(source, "a text of comma-separated values", f"something else ({error})") from None
    if rows and rows[0][0].strip() == "center":
        rows = rows[1:]
    return [_moment(row, f"{source}, row {number:,}") for number, row in enumerate(rows, start=1)]


def _moment(row: list[str], source: str) -> Moment:
    if len(row) != COLUMNS:
        raise wrong(source, f"{COLUMNS} columns: three cameras, steering, throttle, brake, speed", f"{len(row)}")
    try:
        steering, throttle, brake, speed = (float(cell) for cell in row[3:])
    except ValueError as error:
        raise wrong(source, "numbers from the fourth column on", str(error)) from None
    if not (math.isfinite(speed) and -1 <= steering <= 1):
        raise wrong(source, "steering from -1 to 1", f"{steering:g}")
    center, left, right = (_within_layout(cell) for cell in row[:3])
    if not center:
        raise wrong(source, "the centre camera's file in the first column", "nothing")
    return Moment(center, left, right, steering, throttle, brake, speed)


def _within_layout(path: str) -> str:
    last = re.split(r"[/\\]", path.strip())[-1]
    return f"IMG/{last}" if last else ""


def album(files: Files, name: str, whole: bool = False, sides: float | None = None) -> Album:
    """List the frames; parts are contiguous stretches of the recording, see :func:`nutshell.data.splits.in_stretches`.

    Parameters
    ----------
    files : Files
        The log and the frames.
    name : str
        Of the data set.
    whole : bool
        Whole frames, ``(3, 160, 320)``, instead of the road ahead at PilotNet's size, ``(3, 66, 200)``.
    sides : float, optional
        Learn from the left and right cameras, too, where the log has them: they see the road as a car that has drifted
        would, so the steering that is right there is the driver's plus or minus this much (0.2 is usual).

    Raises
    ------
    Refused
        If the log is damaged or a frame that it names is missing.
    """
    moments = parse_log(files.read(LOG, LONGEST), f"{files.place}/{LOG}")
    here = set(files.names())
    absent = [one.center for one in moments if one.center not in here]
    if absent:
        raise wrong(files.place, f"all {len(moments):,} frames that {LOG} names",
                    f"{len(absent):,} of them missing, among them {absent[0]}")
    try:
        parts = in_stretches(len(moments))
    except ValueError as error:
        raise Refused(f"{files.place}/{LOG}: {error}") from None
    train, validation, test = ([moments[at] for at in part] for part in parts)
    beside = _from_the_sides(train, here, sides) if sides is not None else ()
    view = View(FRAME) if whole else View(INPUT, ROAD)
    return Album(name, files, (*_ahead(train), *beside), _ahead(validation), _ahead(test), (), view,
                 (0.5,) * 3, (0.5,) * 3)


def _ahead(moments: list[Moment]) -> tuple[Picture, ...]:
    return tuple(Picture(one.center, one.steering) for one in moments)


def _from_the_sides(moments: list[Moment], here: set[str], by: float) -> tuple[Picture, ...]:
    if not 0 <= by <= 1:
        raise WrongUse(f"sides={by!r}: give how much to steer back, from 0 to 1, such as 0.2.")
    seen = [(one.left, one.steering + by) for one in moments] + [(one.right, one.steering - by) for one in moments]
    return tuple(Picture(file, max(-1.0, min(1.0, steering))) for file, steering in seen if file in here)


TRACK = FolderSource(
    key="track",
    folder="track",
    layout=r"(?:^|/)(driving_log\.csv|IMG/[^./\\:][^/\\:]*\.(?:jpg|JPG|jpeg|png))$",
    signs=(LOG,),
    archive="track.zip",
    address="https://codeload.github.com/rslim087a/track/zip/e4f169f056a1c98179db25b76b8b7e4f524e005e",
    megabytes=160,
    list_album=album,
    draw=drawn.road,
    licence="recorded in Udacity's simulator, in rslim087a/track",
)
