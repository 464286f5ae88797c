"""The meter: what a network stores, what it executes, and an estimate of its energy, per layer and in total.

>>> from nutshell import models
>>> report = count(models.build("lenet-5-caffe"), (1, 1, 28, 28))
>>> report.parameters, report.macs, report.flops
(431080, 2293000, 4586000)
>>> report["conv2"].macs, int(report.render("torchinfo"))
(1600000, 2308230)
"""

from nutshell.meter.counting import count
from nutshell.meter.energy import Energy, energy, fetch_power
from nutshell.meter.recorder import Uncounted
from nutshell.meter.render import TOOLS, Rendering
from nutshell.meter.report import LayerCount, Report

__all__ = ["TOOLS", "Energy", "LayerCount", "Rendering", "Report", "Uncounted", "count", "energy", "fetch_power"]
