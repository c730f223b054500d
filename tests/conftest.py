import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# So that what the tests share says as much as they do when it is not as it should be.
pytest.register_assert_rewrite(*(f"tests.{path.stem}" for path in Path(__file__).parent.iterdir()))

# A busy machine is no failure: no test asserts how long anything takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# These change where a client connects and what it trusts, without a word.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

# At import, so that the processes that tests start do not inherit them either.
for name in (*PROXIES, *CERTIFICATES):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)
os.environ.pop("BALANCEMW_SETTINGS", None)

# Who starts tests in the background may have told them to ignore it, and tests send it to processes of theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
