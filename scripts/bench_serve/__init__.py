"""Measures the server beside its peers. The driver and what speaks to the server are plain Python;
each peer is a process of its own, with its own packages, that answers one JSON line per question."""

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INNER, VOCAB = 8, 256, 8, 4, 64, 768, 8192
CONTEXT = 8192
