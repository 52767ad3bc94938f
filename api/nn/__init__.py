"""`gradc.nn`."""
from gradc.nn import functional
