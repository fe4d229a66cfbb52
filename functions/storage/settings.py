"""What the manifests say of the store, which every function that keeps results is told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from functions.runtime.settings import from_environment
from functions.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A function's environment; a frozen dataclass that inherits it adds the function's own, units in their names."""

    store_url: str
    store_public_url: str | None = None
    store_names_secret: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read each field from the variable of its name in capitals; exit and name all that is missing or malformed."""
        return from_environment(cls, environment)

    def store(self) -> Store:
        """The store that these settings name."""
        return Store(self.store_url, public_url=self.store_public_url, names_secret=self.store_names_secret)
