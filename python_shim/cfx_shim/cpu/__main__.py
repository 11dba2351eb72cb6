"""``python -m cfx_shim.cpu FOLDER``: build this machine's kernels, unless they are there; says which of the two.

A build takes so long that its beginning is said too, on standard error.
"""

import sys

from . import library

if __name__ == "__main__":
    print(library.prepare(sys.argv[1], lambda: print("building", file=sys.stderr, flush=True)))
