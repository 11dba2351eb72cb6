"""tcq2: 2 bits an element, 8 levels on a trellis of 8 states, times 8-bit token × channel scales.

Payload layout: see ``_trellis``, with 2 planes. 2·N + C + 2·N·ceil(C / 8) bytes.
"""

from . import _log_scales
from ._trellis import Trellis

EXACT = False
TAKES_ENERGY = True
CHANNEL_SCALES = _log_scales

_codec = Trellis(2)
payload_bytes = _codec.payload_bytes
encode, decode = _codec.encode, _codec.decode
encode_reference, decode_reference = _codec.encode_reference, _codec.decode_reference
