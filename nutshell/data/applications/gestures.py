"""Emojinator: what a hand shows, as an emoji. Silhouettes of hands, cut out of a webcam's pictures by their colour."""

import re

from nutshell.data.albums import Album, Picture, View
from nutshell.data.applications import drawn
from nutshell.data.files import Files
from nutshell.data.folders import FolderSource
from nutshell.data.formats import wrong
from nutshell.data.splits import in_order
from nutshell.errors import Refused

CLASSES = ("index up", "victory", "OK", "five", "horns", "call me", "vulcan", "thumb up", "dog", "fist", "point")
EMOJIS = ("☝", "✌", "👌", "🖐", "🤘", "🤙", "🖖", "👍", "🐶", "✊", "👆")  # in the order of the folders 1 to 11
SHAPE = (1, 50, 50)
GAP = 0.03


def album(files: Files, name: str) -> Album:
    """List the pictures: folders ``1`` to ``11``, in each ``1.jpg``, ``2.jpg`` and so on.

    They are frames of a video, one after the other, so each folder is cut by position
    (:func:`nutshell.data.splits.in_order`) and never at random.

    Raises
    ------
    Refused
        If a folder is missing or holds too few pictures.
    """
    names: dict[int, list[str]] = {number: [] for number in range(1, len(CLASSES) + 1)}
    for file in files.names():
        number = int(file.split("/")[0])
        if number not in names:
            raise wrong(files.place, f"folders 1 to {len(CLASSES)}", f"{number}/")
        names[number].append(file)
    parts: tuple[list[Picture], list[Picture], list[Picture]] = [], [], []
    for number, found in names.items():
        found.sort(key=_position)
        try:
            cut = in_order(len(found), GAP)
        except ValueError as error:
            raise Refused(f"{files.place}/{number}: {error}") from None
        for pictures, chosen in zip(parts, cut, strict=True):
            pictures += [Picture(found[at], number - 1) for at in chosen]
    train, validation, test = map(tuple, parts)
    return Album(name, files, train, validation, test, CLASSES, View(SHAPE), (0.0,), (1.0,))


def _position(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


GESTURES = FolderSource(
    key="gestures",
    folder="gestures",
    layout=r"^(?:(?:.*/)?Emojinator/gestures/|gestures/)?(\d{1,2}/\d{1,6}\.(?:jpg|jpeg|png))$",
    signs=("1/1.*",),
    archive="gestures.zip",
    address="https://codeload.github.com/akshaybahadur21/Emojinator/zip/1377141415fac31033ae4f8f3e148d378a4ad222",
    megabytes=60,
    list_album=album,
    draw=drawn.hands,
    licence="akshaybahadur21/Emojinator, MIT",
)
