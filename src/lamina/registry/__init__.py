"""A registry as a target: the OCI distribution protocol (1.1, and Docker's v2 before it) over HTTP.

    configuration  which origins serve a registry, and how each may be reached: registries.toml, certs.d, proxies
    http           one exchange: connections, TLS, time-outs, whole bodies; no redirects, no credentials, no second try
    client         with one registry: authorization, redirects, patience with what fails, errors in the registry's words
    credentials    who we are: docker's and podman's files (authfile.py), helpers
    auth           what a registry asks for: basic, or a bearer token of a realm (challenge.py, realm.py, tokens.py)
    repository     the verbs for one repository: reading.py, uploading.py, referrers.py
    target         a repository as a `Target`
    network        what a process shares of all this

Everything that comes from a registry is hostile until it is checked: every size, count, depth and time has a limit.
Credentials go to the origin (scheme, host, port) that they belong to and to no other, and into no error or log.
"""
