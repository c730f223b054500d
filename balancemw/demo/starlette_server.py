"""Serves the demo's app for Starlette: ``python -m balancemw.demo.starlette_server PORT``.

uvicorn starts workers that cannot import their app again and again. Here it is imported before, and says what it needs.
"""

import sys

import uvicorn

from balancemw.demo import starlette_app
from balancemw.demo.processes import WORKERS

if __name__ == "__main__":
    uvicorn.run(f"{starlette_app.__name__}:app", port=int(sys.argv[1]), workers=WORKERS, log_level="warning")
