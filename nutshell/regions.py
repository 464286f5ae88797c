"""Where the hand is: skin by its colour, what moved before a known background, and the silhouette of a gesture."""

import numpy as np

from nutshell.data.albums import View, scale

# Chai and Ngan 1999, "Face segmentation using skin-color map in videophone applications", section III: whatever the
# light and whoever's the hand, its chrominance lies in one small rectangle.
SKIN_CB, SKIN_CR = (77, 127), (133, 173)
SPECK = 0.005  # share of the frame; what is smaller is no hand


def skin(frame: np.ndarray) -> np.ndarray:
    """Which pixels have the colour of skin, in the plane of the two chrominances Cb and Cr (ITU-R BT.601).

    Parameters
    ----------
    frame : numpy.ndarray
        uint8, shape ``(3, H, W)``.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(H, W)``.

    Examples
    --------
    >>> colours = np.array([[[224, 30]], [[172, 90]], [[140, 200]]], np.uint8)  # a light hand, a blue wall
    >>> skin(colours).tolist()
    [[True, False]]
    """
    red, green, blue = frame.astype(np.float32)
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    return (cb >= SKIN_CB[0]) & (cb <= SKIN_CB[1]) & (cr >= SKIN_CR[0]) & (cr <= SKIN_CR[1])


def moved(frame: np.ndarray, background: np.ndarray, least: int = 40) -> np.ndarray:
    """Which pixels differ from a frame that was taken before the hand came, by ``least`` or more in some channel.

    Parameters
    ----------
    frame, background : numpy.ndarray
        uint8, shape ``(C, H, W)``, of a camera that stands still.
    least : int
        Of 255; below it, it is noise.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(H, W)``.

    Raises
    ------
    ValueError
        If the frames differ in shape.

    Examples
    --------
    >>> moved(np.full((1, 1, 3), 90, np.uint8), np.array([[[90, 100, 20]]], np.uint8)).tolist()
    [[False, False, True]]
    """
    if frame.shape != background.shape:
        raise ValueError(f"The frame has shape {frame.shape}, the background {background.shape}: take it anew.")
    return (np.abs(frame.astype(np.int16) - background) >= least).any(0)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask that hangs together by its sides, with its holes; nothing if the mask is empty.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape ``(H, W)``.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(H, W)``.

    Examples
    --------
    >>> largest(np.array([[True, False, True], [False, False, True]])).astype(int).tolist()
    [[0, 0, 1], [0, 0, 1]]
    """
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    return pieces == 1 + np.bincount(pieces.flat)[1:].argmax() if count else np.zeros_like(mask)


def silhouette(mask: np.ndarray, size: int = 50) -> np.ndarray | None:
    """A hand's mask as the gestures were recorded: its largest piece, white on black, cut out and made square.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape ``(H, W)``: what :func:`skin` or :func:`moved` found, or both together.
    size : int
        Pixels a side.

    Returns
    -------
    numpy.ndarray or None
        uint8, shape ``(1, size, size)``; ``None`` if there is no piece larger than a speck, half a percent of the
        frame.

    Examples
    --------
    >>> mask = np.zeros((40, 60), bool)
    >>> mask[10:30, 20:30] = True
    >>> silhouette(mask, 20)[0, 0].tolist() == 5 * [0] + 10 * [255] + 5 * [0]
    True
    """
    piece = largest(mask)
    if piece.sum() <= SPECK * piece.size:
        return None
    rows, columns = (np.flatnonzero(piece.any(axis)) for axis in (1, 0))
    cut = piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(cut.shape)
    square = np.zeros((1, side, side), np.uint8)
    top, left = ((side - length) // 2 for length in cut.shape)
    square[0, top : top + cut.shape[0], left : left + cut.shape[1]] = 255 * cut
    return scale(square, View((1, size, size)))
