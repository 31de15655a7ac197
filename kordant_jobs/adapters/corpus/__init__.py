"""The corpus: ingested dumps, sorted by blind index. Nothing in it is readable without the master key.

One folder a dump, one file a shard of it (`shards`), written through runs that survive a crash (`writing`), in a local
folder or wherever fsspec reaches. A dump is there whole or not at all: its `meta.json` is written last.
"""

from kordant_jobs.adapters.corpus.place import SECRETS, Corpus, CorpusSize, open_corpus
from kordant_jobs.adapters.corpus.shards import Items
from kordant_jobs.adapters.corpus.writing import CorpusWriter, Facts

__all__ = ["SECRETS", "Corpus", "CorpusSize", "CorpusWriter", "Facts", "Items", "open_corpus"]
