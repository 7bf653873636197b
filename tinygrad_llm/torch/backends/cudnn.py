"""`torch.backends.cudnn`: none; its switches may be set and change nothing."""

deterministic = True
benchmark = False


def is_available() -> bool:
    return False
