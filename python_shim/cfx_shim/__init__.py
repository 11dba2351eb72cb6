"""cfx's side of a rank: hooks, adapters, bases, collectives and codecs.

Importing this package imports nothing and patches nothing; ``boot.start`` does.
"""
