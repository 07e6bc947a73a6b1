"""Ray and HTTP: the application, its deployments, the API and the page."""
