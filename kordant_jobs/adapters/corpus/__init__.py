"""The corpus: ingested dumps, sorted by blind index. It cannot be read without the master key.

Each dump has a folder, each shard of it a file (`shards`), written through runs that survive a crash (`writing`), in a
local folder or any store that fsspec supports. A dump is in the corpus completely or not at all: its `meta.json` is
written last.
"""

from kordant_jobs.adapters.corpus.place import SECRETS, Corpus, CorpusSize, open_corpus
from kordant_jobs.adapters.corpus.shards import Items
from kordant_jobs.adapters.corpus.writing import CorpusWriter, Facts

__all__ = ["SECRETS", "Corpus", "CorpusSize", "CorpusWriter", "Facts", "Items", "open_corpus"]
