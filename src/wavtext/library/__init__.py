"""Embeddings -> a durable library -> search results.  SQLite is the truth, the rest a cache.

library.py is the way in; store.py, rows.py and schema.py keep the SQLite file, pipeline.py and
indexing.py fill it, exact.py and quantised.py search it, salvage.py and pages.py rescue it.
"""
