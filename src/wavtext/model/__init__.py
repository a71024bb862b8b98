"""Log-mel or text -> embedding: a model is a folder of graphs, run without torch."""
