"""tcq1: 1 bit an element, 4 levels on a trellis of 8 states, times 8-bit token × channel scales.

Payload layout: see ``_trellis``, with 1 plane. 2·N + C + 1·N·ceil(C / 8) bytes.
"""

from . import _log_scales
from ._trellis import Trellis

EXACT = False
TAKES_ENERGY = True
CHANNEL_SCALES = _log_scales
# as ``lm1``'s: .6 to .75 is best at 28 steps, .8 to 1 at 10, by a hundredth either way
TREND_GAIN = 0.6875

_codec = Trellis(1)
payload_bytes = _codec.payload_bytes
encode, decode = _codec.encode, _codec.decode
encode_reference, decode_reference = _codec.encode_reference, _codec.decode_reference
