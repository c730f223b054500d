"""The clients' own tests that an adapter cannot pass, by how their names begin, with the reason."""

KNOWN: dict[str, dict[str, str]] = {
    "aiohttp": {
        "test_ssl_client": "its certificate is for the address, not for the service's name",
        "test_aiohttp_request_ssl": "its certificate is for the address, not for the service's name",
        "test_redirect_same_scheme_without_authority": "expects the server's address as the host",
        "test_request_conn_closed": "a lost connection is told as `LastTryFailed`, lest aiohttp tries again by itself",
        "test_upload_retry_persistent_connection_unseekable_body": "the same",
        "test_connection_timeout_error": "counts the tries",
        "test_request_with_wrong_proxy": "replicas are reached without a proxy, whoever names one",
        "test_upload_tracker_middleware_resend": "middlewares of a request replace those of the session",
    },
    "httpx": {
        "test_httpcore_exception_mapping": "replaces the inside of httpx's own transport",
        "test_verbose": "shows the headers that are sent, and ours are among them",
        "test_auth": "shows the headers that are sent, and ours are among them",
    },
    "requests": {
        "test_respect_proxy_env": "replicas are reached without a proxy, whatever the environment says",
        "test_proxy_authorization_preserved_on_request": "no proxy is asked, so none is told a secret",
        "test_transport_adapter_ordering": "looks at the adapters that are mounted",
        "test_urllib3_retries": "mounts an adapter of its own, which is less specific than ours",
    },
}
