"""Encodings that may stand inside another one: for the numbers that it keeps."""

from nutshell.artefact.encodings.affine import Affine
from nutshell.artefact.encodings.base import Encoding, Settings
from nutshell.artefact.encodings.codebook import Codebook
from nutshell.artefact.encodings.dense import Dense
from nutshell.artefact.encodings.fixed_point import FixedPoint

VALUES: dict[str, type[Encoding]] = {kind.name: kind for kind in (Dense, Codebook, Affine, FixedPoint)}


def allowed(values: Encoding | None, outer: str) -> Encoding:
    """The encoding for the numbers, ``Dense()`` if none is given; ``outer`` is named if it isn't possible."""
    values = Dense() if values is None else values
    if not isinstance(values, tuple(VALUES.values())):
        raise ValueError(f"{outer}: values in {getattr(values, 'name', values)!r} aren't possible; "
                         f"choose one of {', '.join(VALUES)}.")
    return values


def written(values: Encoding, inner: Settings) -> Settings:
    """The setting ``values`` of the encoding around it; nothing for plain numbers."""
    if values.name == "dense" and not inner:
        return {}
    return {"values": [values.name, inner] if inner else [values.name]}


def checked(settings: Settings, count: int, dtype: str, size: int) -> None:
    """Refuse what a stranger wrote unless it makes so many numbers of so many bytes."""
    kind, inner = read(settings)
    try:
        kind.check((count,), dtype, inner, size)
    except ValueError as error:
        raise ValueError(f"values: {error}") from None


def read(settings: Settings) -> tuple[type[Encoding], Settings]:
    """Encoding of the numbers and its settings, from what a stranger wrote.

    Examples
    --------
    >>> read({"values": ["codebook", {"k": 16}]})[1]
    {'k': 16}
    """
    given = settings.get("values", ["dense"])
    if not isinstance(given, list) or not 1 <= len(given) <= 2:
        raise ValueError("values must be a list: encoding and settings, the latter left out if possible")
    name, inner = given[0], given[1] if len(given) > 1 else {}
    if not isinstance(name, str) or name not in VALUES:
        raise ValueError(f"values in {name!r}; possible are {', '.join(VALUES)}")
    if not isinstance(inner, dict):
        raise ValueError("settings of the values must be a JSON object")
    return VALUES[name], inner
