"""Logs, traces and metrics: what other rooms call to report, and what exports it.

``logs`` sets up log lines and ``log_lines`` reads them back; ``tracing`` makes spans and
``opentelemetry`` sends them; ``metrics`` lists every metric. Every room above may call this one.
"""
