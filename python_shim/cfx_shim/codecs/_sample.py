"""A sample of a block's tokens, from which statistics over tokens can be taken: 0, s, 2·s, …, at most 128 of them."""

MOST = 128


def of_tokens(tokens: int):
    """(how many of N tokens, how far apart): min(N, 128) and s = floor(N / that)."""
    count = min(tokens, MOST)
    return count, tokens // count


def taken(x):
    """The sample [B, n, ...] of ``x`` [B, N, ...], a view."""
    count, stride = of_tokens(x.shape[1])
    return x[:, : count * stride : stride]
