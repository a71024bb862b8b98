"""Beyond one machine: sounds anywhere -> Parquet files of embeddings, by one machine or many."""
