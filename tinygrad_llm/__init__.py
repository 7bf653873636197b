"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it."""
