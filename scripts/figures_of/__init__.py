"""The figures of a model behind a URL: `measure(url, ...)` makes them, `table` shows them.

    from figures_of import measure, table
    result = measure("http://127.0.0.1:30000", n=1000)
    print(table.markdown(result))

Standard library only; the cases come from `make_model.cases`. `docs/embedded-model.md` holds the
figures of the embedded model.
"""

from .bench import ROWS
from .measuring import measure
from .server import Trouble

__all__ = ["ROWS", "Trouble", "measure"]
