"""Loops over every byte of a dump, compiled by Numba: what Polars and NumPy would need many passes for.

    sweep, numbers        the addresses and numbers in a text of any shape
    cells, tuples         the rows and cells of lines with separators, and of SQL
    names, keyed, labels  known names, and the values that stand beside them in JSON and in lines of labels
    nested                the values in XML and in PHP's arrays
    attach, hosts         the cell of each address, and the host in a site's address
    unread                phones in lines that no reader understood
    lines                 the addresses of combo lists that are plain enough to be sure of
    blake2b               blind indexes, several at a time in the lanes of a vector register
    members, runs         which of these are watched; records in order, and looked up in
    machine               operations of the processor that Numba does not offer

Whatever a kernel is not sure of it leaves to `adapters.dumps`, which decides every line; a property in the tests
holds both to the same answer. Compiled once a machine, for its processor, into the folder that NUMBA_CACHE_DIR
names, else beside the source. A kernel runs without the interpreter's lock, so one thread a core.
"""
