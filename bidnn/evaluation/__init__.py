"""Retrieval, clustering and classification scores: pure functions of arrays."""

from bidnn.evaluation.classification import knn_accuracy, linear_probe_accuracy
from bidnn.evaluation.clustering import (
    ClusterScores,
    MeanDeviation,
    cluster_accuracy,
    cluster_ari,
    cluster_nmi,
    kmeans_scores,
)
from bidnn.evaluation.labels import labelled
from bidnn.evaluation.ranking import RetrievalScores, average_precision, score_rows
from bidnn.evaluation.retrieval import (
    Relevance,
    by_judgement,
    by_label,
    by_pair,
    mean_average_precision,
    retrieve,
)
from bidnn.evaluation.trec import (
    Named,
    rank_targets,
    read_names,
    read_qrels,
    read_run,
    score_by_qrels,
    write_run,
)

__all__ = [
    "ClusterScores",
    "MeanDeviation",
    "Named",
    "Relevance",
    "RetrievalScores",
    "average_precision",
    "by_judgement",
    "by_label",
    "by_pair",
    "cluster_accuracy",
    "cluster_ari",
    "cluster_nmi",
    "kmeans_scores",
    "knn_accuracy",
    "labelled",
    "linear_probe_accuracy",
    "mean_average_precision",
    "rank_targets",
    "read_names",
    "read_qrels",
    "read_run",
    "retrieve",
    "score_by_qrels",
    "score_rows",
    "write_run",
]
