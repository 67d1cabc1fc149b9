"""Metrics: their names, their labels, what is served."""

import re

from prometheus_client import generate_latest

from pacsbridge import metrics

LABELS = {"service", "reason", "status", "route", "method", "source", "outcome", "certificate", "use", "port"}
"""A source is one of the configuration: no peer names it."""


def test_names_carry_their_unit() -> None:
    """All begin with the product's name; what is timed ends in seconds."""
    for family in metrics.REGISTRY.collect():
        assert re.fullmatch(r"pacsbridge_[a-z_]+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_labels_are_few() -> None:
    """Nothing that a peer chooses can become a label."""
    objects = [one for name, one in vars(metrics).items() if name.isupper() and hasattr(one, "_labelnames")]
    assert len(objects) >= 10
    assert {label for one in objects for label in one._labelnames} == LABELS


def test_what_is_counted_is_served() -> None:
    """A count shows in the text that Prometheus reads."""
    metrics.STORES.labels("0xA700").inc()
    assert b'pacsbridge_dimse_stores_total{status="0xA700"} ' in generate_latest(metrics.REGISTRY)
