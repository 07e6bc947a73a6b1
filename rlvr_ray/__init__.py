"""Questions over documents become DPO preference data, on Ray."""

__version__ = "0.1.0"
