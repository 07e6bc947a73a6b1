"""Questions over documents become DPO preference data, on Ray."""
