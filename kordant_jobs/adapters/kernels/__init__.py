"""Loops over every byte of a dump, compiled by Numba: what Polars and NumPy would need many passes for.

    lines    where the addresses in a block of text stand, for lines that are plain enough to be sure of
    blake2b  their blind indexes, several at a time in the lanes of a vector register
    members  which of these are watched
    hosts    where in an address its host stands
    sorted   runs of records put in order, and looked up in

Whatever a kernel is not sure of it leaves to `adapters.dumps`, which decides every line; a property in the tests
holds both to the same answer. Compiled once a machine, for its processor, into the folder that NUMBA_CACHE_DIR
names, else beside the source. A kernel runs without the interpreter's lock, so one thread a core.
"""
