"""Every store in memory: the same rules as PostgreSQL, without a database. For tests and for embedding."""

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.memory.unit_of_work import MemoryUnitOfWork, memory_unit_of_work

__all__ = ["MemoryDatabase", "MemoryUnitOfWork", "memory_unit_of_work"]
