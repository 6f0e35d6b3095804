"""Reports and exports: functions of the records alone. No torch."""

from gambeson.reports.export import export
from gambeson.reports.report import report

__all__ = ["export", "report"]
