"""``codecs._bit_planes`` in registers: codes of up to four bits against one 32-bit word for eight channels. Longer codes
take a word for each four of their bits.

Byte p of the word is the byte of plane p. A code's bits are spread to the lowest bits of the word's bytes by one
multiplication, and gathered back by another; no two of the products' bits meet.
"""

import triton
import triton.language as tl


@triton.jit
def pack(codes, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """``codes`` [ROWS, WIDTH] int32 in 0..15 -> words [ROWS, WIDTH // 8] int32."""
    spread = (codes * 0x00204081) & 0x01010101
    lanes = tl.arange(0, 8)[None, None, :]
    return tl.sum(tl.reshape(spread, [ROWS, WIDTH // 8, 8]) << lanes, axis=2)


@triton.jit
def unpack(words, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """The reverse."""
    lanes = tl.arange(0, 8)[None, None, :]
    spread = (words[:, :, None] >> lanes) & 0x01010101
    return tl.reshape(((spread * 0x01020408) >> 24) & 15, [ROWS, WIDTH])
