"""Triton kernels of the codecs, with the payload bytes and the decoded bits of plain torch.

Nothing here is imported before ``available`` says yes.
"""
