"""Deployment: a ``.nut`` file as an ONNX model, run by ONNX Runtime, and its latency at one image and at a frame rate.

>>> import torch
>>> from nutshell import artefact, models
>>> found = artefact.read(artefact.to_bytes(models.build("lenet-300-100"), input_shape=(1, 28, 28)))
>>> session = Session(found)
>>> images = torch.rand(3, 1, 28, 28)
>>> bool(torch.allclose(session(images), found.network(images), atol=1e-4))
True
"""

from nutshell.deploy.export import CannotExport, to_onnx
from nutshell.deploy.runtime import Latency, Session, at_rate, latencies, summary

__all__ = ["CannotExport", "Latency", "Session", "at_rate", "latencies", "summary", "to_onnx"]
