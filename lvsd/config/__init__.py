"""The configuration language: text in, `lvsd.core.model.Config` out.

`syntax` makes statements of bytes, `document` makes sections of files, `services` and `routers`
make the nouns of the model of sections, `load` puts them together. `recall` knows again what has
not changed since the last reading. `table` holds every directive. `original`, which nobody needs to
read a file, tells what ldirectord would do with it.
"""

from lvsd.config.diagnostics import ConfigError, Diagnostic
from lvsd.config.directives import describe, reference
from lvsd.config.load import load, loads
from lvsd.config.recall import Recall
from lvsd.config.render import render

__all__ = [
    "ConfigError",
    "Diagnostic",
    "Recall",
    "describe",
    "load",
    "loads",
    "reference",
    "render",
]
