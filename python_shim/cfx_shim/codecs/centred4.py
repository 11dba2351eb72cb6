"""centred4: 4 bits an element and the mean of every channel; for keyframes.

Payload layout: see ``_centred``, with 4 planes. 2·N + 3·C + 4·N·ceil(C / 8) bytes.
"""

from ._centred import Centred

EXACT = False

_codec = Centred(4)
payload_bytes = _codec.payload_bytes
encode, decode = _codec.encode, _codec.decode
encode_reference, decode_reference = _codec.encode_reference, _codec.decode_reference
