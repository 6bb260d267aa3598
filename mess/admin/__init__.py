"""HTTP for operators: status, health, metrics. Start reading at `routes`."""

from mess.admin.server import AdminServer
from mess.admin.view import View

__all__ = ["AdminServer", "View"]
