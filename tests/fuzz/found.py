"""Inputs that once made a reader fail, found by fuzzing: the reader's name, and the bytes of its file."""

LONG = b"x" * 5000

FOUND: list[tuple[str, bytes]] = [
    ("metrics", b'{"step": "' + LONG + b'"}\n'),
    ("own_tokenizer", b'{"version": 1, "kind": "char", "characters": ["' + LONG + b'"], "special_tokens": []}'),
    ("own_tokenizer", b'{"version": 1, "kind": "words", "words": [" ' + LONG + b'"]}'),
    ("tsv", b'"' + LONG + b'"'),
    ("csv", b"a," * 3000 + b"b"),
    ("run_config", b'{"version": 1, "model_type": "gpt", "model": {"' + LONG + b'": 1}}'),
    (  # biases that were filled took 8 GB
        "run_config",
        b'{"version": 1, "model_type": "gpt", "model": {"vocab_size": 262, "context_length": 8, "embedding_dim": 2, '
        b'"num_heads": 1, "num_layers": 1, "feed_forward_dim": 2147483648}}',
    ),
    (  # experts without end
        "run_config",
        b'{"version": 1, "model_type": "llama", "model": {"vocab_size": 262, "context_length": 8, "embedding_dim": 2, '
        b'"num_heads": 1, "num_layers": 1, "num_experts": 10000000}}',
    ),
]
