"""``python -m cfx_shim.cpu FOLDER``: build this machine's kernels, unless they are there; says which of the two."""

import sys

from . import library

if __name__ == "__main__":
    print(library.prepare(sys.argv[1]))
