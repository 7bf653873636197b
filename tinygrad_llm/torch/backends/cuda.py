"""`torch.backends.cuda`: none."""


def is_built() -> bool:
    return False
