"""Run a callback once a module has been imported. Imports nothing but the standard library.

A hook armed before its module is imported runs right after the module's body, before anyone can take names from it;
armed later, it runs at once. A callback that raises does not break the import: it is handed to ``on_error``.
"""

import importlib.abc
import importlib.util
import sys


class _Loader(importlib.abc.Loader):
    """The module's own loader, with the callbacks behind ``exec_module``."""

    def __init__(self, loader, fire):
        self._loader = loader
        self._fire = fire

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        self._fire(module)


class ImportHooks(importlib.abc.MetaPathFinder):
    def __init__(self, on_error):
        self._callbacks = {}
        self._on_error = on_error
        self._finding = set()

    def arm(self, name, callback):
        """Call ``callback(module)`` when ``name`` is imported; at once if it already is."""
        module = sys.modules.get(name)
        if module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False) is False:
            self._call(callback, module)
            return
        self._callbacks.setdefault(name, []).append(callback)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._callbacks or fullname in self._finding:
            return None
        self._finding.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        except (ImportError, ValueError):
            return None
        finally:
            self._finding.discard(fullname)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, self._fire)
        return spec

    def _fire(self, module):
        for callback in self._callbacks.pop(module.__name__, ()):
            self._call(callback, module)

    def _call(self, callback, module):
        try:
            callback(module)
        except Exception as error:  # the user's import must not fail because of us
            self._on_error(module.__name__, error)
