"""The lab: a model that learns, and its inside, in the browser.

One thread owns the model (owner.py). A session trains it on a timeline, which can go back to any step
(training_session.py, timeline.py), and knows what looks are at (session.py). The page asks (requests.py); the server
(server.py) carries questions and answers, to this machine alone (guard.py).
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.lab.opening import open_lab
    from tinygrad_llm.lab.packing import pack, unpack
    from tinygrad_llm.lab.saved_page import saved_page
    from tinygrad_llm.lab.server import LabServer
    from tinygrad_llm.lab.session import Session

__all__ = ["LabServer", "Session", "open_lab", "pack", "saved_page", "unpack"]

__getattr__, __dir__ = lazy_imports(__name__)
