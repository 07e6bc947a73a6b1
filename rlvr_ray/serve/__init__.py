"""Ray and HTTP: the application, its deployments, the HTTP interface and the page.

``app`` builds, starts and stops the application, ``deployments`` has what each process holds,
``handles`` calls one process from another, ``doctor`` checks an installation, ``ray_metrics``
exports metrics. ``http/`` has one file a subject of the API, ``ui/`` the page. Ray is imported only
here, in ``bulk/submission.py`` and in ``jobs/``. The command line and ``bulk`` call this room.
"""
