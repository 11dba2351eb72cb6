"""stale: the tensor itself, used one step late (DistriFusion's displaced activations, arXiv 2402.19481).

Payload: N · C elements in the tensor's own dtype, row by row, as ``identity``'s. A receiver computes with what it
got at the step before and keeps what it gets now for the next one, so the bytes stay and only the waiting can go.
A keyframe is used at once: the first step is exact.
"""

EXACT = True
# what arrives serves from the next step on; the base serves until then
DELAYED = True


def payload_bytes(tokens: int, channels: int, item_bytes: int) -> int:
    return tokens * channels * item_bytes
