"""Finding the nearest rows of an embedding: exactly, or among very many by faiss."""

from bidnn.search.hits import Hits
from bidnn.search.index import Index

__all__ = ["Hits", "Index"]
