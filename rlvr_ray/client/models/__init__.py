"""Every reply of the HTTP interface, defined once: the server's models are the clients' values.

``base`` reads and writes them; ``batches``, ``dataset``, ``documents``, ``reviews`` and ``system``
have them by subject. A field that is added here is in ``/openapi.json``, in the server's replies
and in both clients.
"""
