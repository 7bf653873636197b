"""Files, independent of models: strict JSON, safetensors, GGUF, atomic writes, snapshots, logs, locks and downloads."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.formats.atomic import atomic_write, remove_leftovers
    from tinygrad_llm.formats.download import fetch
    from tinygrad_llm.formats.gguf import GGUF, read_gguf
    from tinygrad_llm.formats.lock import RunLock
    from tinygrad_llm.formats.manifest import (
        check_published,
        newest_whole_snapshot,
        prune_snapshots,
        publish_files,
        verify_snapshot,
        write_snapshot,
    )
    from tinygrad_llm.formats.metrics_log import MetricsLog, read_metrics
    from tinygrad_llm.formats.regular_file import open_regular, read_utf8
    from tinygrad_llm.formats.safetensors import (
        Header,
        TensorInfo,
        dump_safetensors,
        read_header,
        read_safetensors,
        write_safetensors,
    )
    from tinygrad_llm.formats.sharded_safetensors import read_sharded_safetensors
    from tinygrad_llm.formats.strict_json import (
        json_bytes,
        parse_json,
        read_json,
        read_json_object,
        read_optional_json_object,
        write_json,
    )

__all__ = [
    "GGUF",
    "Header",
    "MetricsLog",
    "RunLock",
    "TensorInfo",
    "atomic_write",
    "check_published",
    "dump_safetensors",
    "fetch",
]
__all__ += ["json_bytes", "newest_whole_snapshot", "open_regular", "parse_json", "prune_snapshots", "publish_files"]
__all__ += ["read_gguf", "read_header", "read_json", "read_json_object", "read_metrics"]
__all__ += ["read_optional_json_object", "read_safetensors", "read_utf8"]
__all__ += ["read_sharded_safetensors", "remove_leftovers", "verify_snapshot", "write_json", "write_safetensors"]
__all__ += ["write_snapshot"]

__getattr__, __dir__ = lazy_imports(__name__)
