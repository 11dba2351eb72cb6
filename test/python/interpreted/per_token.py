"""A byte an element and a scale a token, without a state."""

import torch
from case import DTYPES, POISON, VALUES, Sent, same, there

from cfx_shim.kernels import per_token_launch


class EveryQuotient(Sent):
    """A token for each scale, of 8 bits, over numbers of all mantissas: from the largest down to less than any code."""

    def __init__(self, codec, dtype, bits):
        mantissas = torch.arange(2 ** (bits - 1), 2**bits) * 2.0**-bits
        sizes = torch.cat([mantissas * 2.0**-power for power in range(19 if codec == "fp8" else 9)])
        super().__init__(codec, 0, dtype, 1, None, tokens=128, channels=len(sizes))
        largest = torch.arange(128, 256)[:, None] * self.codec.most / 256
        x = torch.minimum(sizes * 2.0 ** largest.log2().ceil(), largest)
        x[:, 1::2] *= -1
        x[:, :1] = largest
        self.xs[0].copy_(x)

    def run(self):
        message, found = self.eager()[0], torch.full(self.shape, POISON, dtype=torch.uint8)
        there(per_token_launch.encode, self.codec, self.xs, [], found, self.offsets, self.own, 0, True, True)
        return same("message", message, found)


def per_token():
    for codec in ("fp8", "int8"):
        for dtype in DTYPES:
            yield f"{codec}, {dtype}", Sent(codec, 0, dtype, tokens=66)
            for what, change in VALUES.items():
                # what a float16 can hold
                if dtype != "float16" or what in ("NaN", "Inf", "a row and a column of zeros"):
                    yield f"{codec}, {dtype}, {what}", Sent(codec, 0, dtype, change=change)
        for channels in (1, 7, 64, 130, 768, 5120):
            yield f"{codec}, {channels} channels", Sent(codec, 0, "bfloat16", tokens=3, channels=channels, own=None)
        yield f"{codec}, 13824 channels", Sent(codec, 0, "bfloat16", 1, None, tokens=2, channels=13824)
        yield f"{codec}, many tokens", Sent(codec, 0, "bfloat16", tokens=200, channels=9)
        yield f"{codec}, q, k, v of three ranks", Sent(codec, 0, "bfloat16", 3, 1, sections=3)
        for dtype, bits in (("bfloat16", 8), ("float16", 11)):
            yield f"{codec}, every quotient in {dtype}", EveryQuotient(codec, dtype, bits)
