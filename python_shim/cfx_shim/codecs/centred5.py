"""centred5: 5 bits an element and the mean of every channel; for keyframes.

Payload layout: see ``_centred``, with 5 planes. 2·N + 3·C + 5·N·ceil(C / 8) bytes.
"""

from ._centred import Centred

EXACT = False

_codec = Centred(5)
payload_bytes = _codec.payload_bytes
encode, decode = _codec.encode, _codec.decode
encode_reference, decode_reference = _codec.encode_reference, _codec.decode_reference
