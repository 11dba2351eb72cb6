"""lm1: 1 bit an element, the sign and one level of a Lloyd-Max quantiser, times 8-bit token × channel scales.

Payload layout: see ``_lloyd_max``, with 1 plane. 2·N + C + 1·N·ceil(C / 8) bytes.
"""

from . import _log_scales
from ._lloyd_max import LloydMax

EXACT = False
TAKES_ENERGY = True
CHANNEL_SCALES = _log_scales
# a third of what one bit decodes is noise, of which the next prediction should not take too much over: measured on
# traces of three models, .7 to .8 is best at 28 steps (error ×.88 to ×.95) and costs up to 2 % at 10 steps
TREND_GAIN = 0.6875

_codec = LloydMax(1)
payload_bytes = _codec.payload_bytes
encode, decode = _codec.encode, _codec.decode
encode_reference, decode_reference = _codec.encode_reference, _codec.decode_reference
