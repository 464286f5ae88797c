"""The data of the applications in unit 02's gallery and unit 13's projects, in their publishers' formats.

Autopilot's track, Emojinator's gestures, the malaria cells of the NIH and Google's Quick, Draw! (MNIST, the fifth, is
in :mod:`nutshell.data.catalogue`).
"""

from nutshell.data.applications.gestures import GESTURES
from nutshell.data.applications.malaria import MALARIA
from nutshell.data.applications.quickdraw import QUICKDRAW
from nutshell.data.applications.track import TRACK

APPLICATIONS = (TRACK, GESTURES, MALARIA, QUICKDRAW)

__all__ = ["APPLICATIONS", "GESTURES", "MALARIA", "QUICKDRAW", "TRACK"]
