"""Nibbles: four bits an element, two elements to a byte.

Element 2·j of a row lies in the low four bits of its byte j, element 2·j + 1 in the high four; the last byte of a row
of odd length is filled up with zero bits. Plain torch, which any device can do.
"""

import torch


def row_bytes(length: int) -> int:
    return (length + 1) // 2


def pack(codes):
    """``codes`` [B, R, L], whole numbers 0 to 15 of any dtype -> [B, R · row_bytes] uint8."""
    batch, rows, length = codes.shape
    padded = torch.nn.functional.pad(codes.to(torch.uint8), (0, length % 2))
    low, high = padded.reshape(batch, rows, -1, 2).unbind(dim=3)
    return (low + high * 16).reshape(batch, rows * row_bytes(length))


def unpack(packed, rows: int, length: int):
    """``packed`` [B, R · row_bytes] uint8 -> [B, R, L] uint8, 0 to 15."""
    packed = packed.reshape(packed.shape[0], rows, -1)
    return torch.stack([packed & 15, packed >> 4], dim=3).flatten(2)[:, :, :length]
