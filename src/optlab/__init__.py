"""OptLab: which optimizer should I use here, and how sure can I be?"""

__version__ = "0.1.0"

# Runs compare only within one protocol version. Raise it with every change that alters numbers
# (initialization, batch order, splits, update rules) and say so in CHANGELOG.md.
PROTOCOL_VERSION = 4
