"""Signals that are made up, to be read as a trace is: what a step changes, and how that follows from the step before."""

import torch

from cfx_eval.trace import Site

_TOKENS, _CHANNELS = 264, 256


class MadeUp:
    """Blocks [1, 264, 256] float16 whose changes correlate by ``memory`` from step to step.

    A block begins as channel means plus noise, both Gaussian of variance 1. Each step adds a change of ``change`` times
    the first tensor's norm: elements of a Gaussian, or of Student's t with ``freedom`` degrees of freedom (0: Gaussian),
    times exp(.4 · Gaussian) for each token and exp(``spread`` · Gaussian) for each channel.
    """

    def __init__(self, steps, memory, freedom, spread, change, blocks=8):
        self.sites = {Site(0, 0, "made-up", layer, "k", "all_gather", 0): list(range(steps)) for layer in range(blocks)}
        self._parameters = steps, memory, freedom, spread, change

    def read(self, site):
        """As ``Trace.read``: (step, block), the same for the same site."""
        steps, memory, freedom, spread, change = self._parameters
        generator = torch.Generator().manual_seed(site.layer)

        def noise(*shape):
            return torch.randn(shape, generator=generator)

        def step():
            draw = noise(_TOKENS, _CHANNELS)
            return draw / (noise(freedom, _TOKENS, _CHANNELS).square().mean(dim=0).sqrt() if freedom else 1)

        scale = torch.exp(spread * noise(1, _CHANNELS)) * torch.exp(0.4 * noise(_TOKENS, 1))
        x = noise(1, _CHANNELS) + noise(_TOKENS, _CHANNELS)
        size, d = x.norm(), step() * scale
        for index in range(steps):
            yield index, x.unsqueeze(0).half()
            d = memory * d + (1 - memory**2) ** 0.5 * step() * scale
            x = x + change * size * d / d.norm()


class Walk:
    """Blocks [1, N, C] of any shape and dtype for checks: Gaussian, then changes of a tenth, Gaussian or of Student's t, 3."""

    def __init__(self, tokens, channels, dtype, heavy):
        self._shape, self._dtype, self._heavy = (1, tokens, channels), dtype, heavy

    def steps(self, count):
        generator = torch.Generator().manual_seed(1000003 * self._shape[1] + self._shape[2])

        def noise(*shape):
            return torch.randn((*shape, *self._shape), generator=generator)

        x, found = noise(), []
        for _ in range(count):
            found.append(x.to(self._dtype))
            x = x + 0.1 * noise() / (noise(3).square().mean(dim=0).sqrt() if self._heavy else 1)
        return found


# what ``cfx bench codecs`` runs on where it is given no trace
BUILT_IN = {
    "Gaussian": lambda: MadeUp(16, 0.7, 0, 0.5, 0.07, blocks=2),
    "heavy tails": lambda: MadeUp(16, 0.7, 3, 0.5, 0.07, blocks=2),
}
