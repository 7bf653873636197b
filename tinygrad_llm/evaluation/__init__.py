"""Evaluation of language models: multiple choice, generate-and-match, perplexity of documents.

Metrics and the log-likelihoods behind them are those of lm-evaluation-harness (Gao et al. 2021,
https://github.com/EleutherAI/lm-evaluation-harness).
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.evaluation.answers import AnsweredQuestion, answer_report, evaluate_answers, generate_until
    from tinygrad_llm.evaluation.choices import ScoredChoices, choice_report, evaluate_choices
    from tinygrad_llm.evaluation.documents import (
        ScoredDocument,
        document_report,
        encode_document,
        evaluate_documents,
        rolling_windows,
    )
    from tinygrad_llm.evaluation.matching import extract, matches
    from tinygrad_llm.evaluation.prompts import EncodedQuestion, Prompts, encode_continuations, prefix_id
    from tinygrad_llm.evaluation.reports import Metric, TaskReport, mean_metric, ratio_error
    from tinygrad_llm.evaluation.scoring import ContextReader, Score
    from tinygrad_llm.evaluation.task_files import Document, Question, Task, read_task
    from tinygrad_llm.evaluation.task_settings import TaskSettings

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "AnsweredQuestion",
    "ContextReader",
    "Document",
    "EncodedQuestion",
    "Metric",
    "Prompts",
    "Question",
    "Score",
    "ScoredChoices",
]
__all__ += ["ScoredDocument", "Task", "TaskReport", "TaskSettings", "answer_report", "choice_report", "document_report"]
__all__ += [
    "encode_continuations",
    "encode_document",
    "evaluate_answers",
    "evaluate_choices",
    "evaluate_documents",
    "extract",
    "generate_until",
]
__all__ += ["matches", "mean_metric", "prefix_id", "ratio_error", "read_task", "rolling_windows"]
