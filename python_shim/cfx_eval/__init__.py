"""Offline work on what runs left behind: codecs on recorded traces, metrics of pictures. Runs in the managed environment."""
