"""HTTP service and web page: uploads within limits, a queue in front of one model."""
