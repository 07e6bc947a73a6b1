"""Every reply of the HTTP interface, defined once: the server's models, the clients' values.

``base`` says how they are read and written; ``batches``, ``dataset``, ``documents``, ``reviews``
and ``system`` hold them by subject. A field that is added here is in ``/openapi.json``, in what the
server sends and in both clients.
"""
