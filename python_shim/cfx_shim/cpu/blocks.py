"""Where a block's tensor, state and payload begin: addresses, by what ``launch`` wrote of the block's section.

``block`` is counted without the sender's own rank, which tensors and messages have a place for and states have none.
"""

from . import shared
from .arithmetic import inlined
from .vectors import whole_at


@inlined
def section_of(common, sections, index):
    """The section of block ``index``, counted through all sections."""
    return sections + index // whole_at(common + shared.BLOCKS) * shared.SECTION_BYTES


@inlined
def x_of(common, section, block):
    return whole_at(section + shared.X) + _rank_of(common, block) * whole_at(common + shared.X_BLOCK_STEP)


@inlined
def state_of(common, section, block):
    return whole_at(section + shared.STATE) + block * whole_at(common + shared.STATE_BLOCK_STEP)


@inlined
def payload_of(common, section, block):
    return whole_at(section + shared.PAYLOAD) + _rank_of(common, block) * whole_at(common + shared.MESSAGE_STEP)


@inlined
def _rank_of(common, block):
    return block + (block >= whole_at(common + shared.OWN))
