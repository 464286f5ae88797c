"""Malaria: red blood cells under a microscope, with a parasite in them or without (Rajaraman et al. 2018).

27,558 PNGs of differing sizes in the folders ``Parasitized`` and ``Uninfected``, half and half, published by the
National Library of Medicine of the United States: https://lhncbc.nlm.nih.gov/LHC-research/LHC-projects/image-processing
"""

from nutshell.data.albums import Album, Picture, View
from nutshell.data.applications import drawn
from nutshell.data.files import Files
from nutshell.data.folders import FolderSource
from nutshell.data.formats import wrong
from nutshell.data.splits import by_group
from nutshell.errors import Refused

CLASSES = ("Parasitized", "Uninfected")
SHAPE = (3, 48, 48)


def album(files: Files, name: str) -> Album:
    """List the cells, shared out by patient (:func:`nutshell.data.splits.by_group`): one slide's cells share its stain.

    Raises
    ------
    Refused
        If a folder is missing or empty, or there are too few patients to hold some back.
    """
    names = files.names()
    for folder in CLASSES:
        if not any(file.startswith(f"{folder}/") for file in names):
            raise wrong(files.place, f"PNGs in {folder}/", "none")
    try:
        parts = by_group([patient(file) for file in names])
    except ValueError as error:
        raise Refused(f"{files.place}: {error}") from None
    train, validation, test = (
        tuple(Picture(names[at], CLASSES.index(names[at].split("/")[0])) for at in part) for part in parts)
    return Album(name, files, train, validation, test, CLASSES, View(SHAPE), (0.5,) * 3, (0.25,) * 3)


def patient(file: str) -> str:
    """Who a cell comes from, by its file's name; a name of another make counts as a patient of its own.

    Examples
    --------
    >>> patient("Parasitized/C100P61ThinF_IMG_20150918_144104_cell_162.png"), patient("Uninfected/7.png")
    ('C100P61', 'Uninfected/7.png')
    """
    last = file.split("/")[-1]
    before, thin, _ = last.lower().partition("thinf")
    return last[: len(before)] if thin and before else file


MALARIA = FolderSource(
    key="malaria",
    folder="malaria",
    layout=r"(?:^|/)((?:Parasitized|Uninfected)/[^./\\:][^/\\:]*\.(?:png|PNG))$",
    signs=("Parasitized/*", "Uninfected/*"),
    archive="cell_images.zip",
    address="https://data.lhncbc.nlm.nih.gov/public/Malaria/cell_images.zip",
    megabytes=353,
    list_album=album,
    draw=drawn.cells,
    also=("cell_images",),
    licence="National Library of Medicine, in the public domain",
)
