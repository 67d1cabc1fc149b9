"""Configuration: TOML, overridden by the environment, checked against one table of keys (`schema`)."""

from pacsbridge.config.loading import load, secret
from pacsbridge.config.schema import Config

__all__ = ["Config", "load", "secret"]
