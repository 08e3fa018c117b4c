"""MXNet's lists of arrays (``.params``), of every version."""
