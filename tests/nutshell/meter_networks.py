"""Small networks that the tests of the meter count."""

import torch
from torch import nn


class Forward(nn.Module):
    """A network whose forward is a function of itself and its inputs."""

    def __init__(self, forward, **members):
        super().__init__()
        for name, member in members.items():
            if isinstance(member, nn.Parameter | nn.Module):
                setattr(self, name, member)
            else:
                self.register_buffer(name, member)
        self._function = forward

    def forward(self, *inputs):
        return self._function(self, *inputs)


def weight(*shape):
    return nn.Parameter(torch.ones(shape))
