"""Replace attributes of modules and classes, once, and remember what was replaced.

A replacement carries ``__wrapped__`` (the original) and a marker, so that patching twice changes nothing. The digest
of all patches is part of what the ranks agree on.
"""

import functools
import hashlib

_MARKER = "__cfx_patch__"


class PatchError(RuntimeError):
    """A symbol that should be patched is not there."""


class Patches:
    def __init__(self):
        self._applied = []

    def replace(self, owner, name, wrap):
        """Set ``owner.name`` to ``wrap(original)``. Raises PatchError if ``owner`` has no such attribute."""
        label = f"{_label(owner)}.{name}"
        original = owner.__dict__.get(name, None) if isinstance(owner, type) else getattr(owner, name, None)
        if original is None:
            raise PatchError(f"{label} was not found")
        if getattr(original, _MARKER, False):
            return
        replacement = wrap(original)
        if callable(original) and not isinstance(original, type):
            replacement = functools.wraps(original)(replacement)
        setattr(replacement, _MARKER, True)
        setattr(owner, name, replacement)
        self._applied.append((label, owner, name, original))

    def undo(self):
        """Restore every original, last first."""
        while self._applied:
            _, owner, name, original = self._applied.pop()
            setattr(owner, name, original)

    @property
    def names(self):
        return [label for label, *_ in self._applied]

    def digest(self):
        return hashlib.sha256("\n".join(sorted(self.names)).encode()).hexdigest()[:16]


def _label(owner):
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
