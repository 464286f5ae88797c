"""The meter: what a network stores and what it executes, per layer and in total.

>>> from nutshell import models
>>> report = count(models.build("lenet-5-caffe"), (1, 1, 28, 28))
>>> report.parameters, report.macs, report.flops
(431080, 2293000, 4586000)
"""

from nutshell.meter.counting import count
from nutshell.meter.recorder import Uncounted
from nutshell.meter.report import LayerCount, Report

__all__ = ["LayerCount", "Report", "Uncounted", "count"]
