"""`serve`: a language model behind OpenAI's endpoints and a page to chat in. Read engine.py first, then server.py."""
