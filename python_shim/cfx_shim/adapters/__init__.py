"""Adapters: the only files that name symbols of xfuser, yunchang or diffusers.

An adapter is a module with ``arm(hooks, session)``, which arms import hooks and returns at once; it must not import
torch or the framework itself. What it does when its framework arrives: patch, name sites, and set ``session.adapter``
to an object with

- ``agreement_group()``: the process group, on the CPU, of all ranks that exchange with each other,
- ``participants()``: the global ranks of all such groups together,
- ``check(session)``: report problems that show only at run time.
"""
