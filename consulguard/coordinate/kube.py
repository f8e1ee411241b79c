"""The Lease objects of a Kubernetes API server: connecting to it, and its errors in our words."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import aiohttp

from consulguard.errors import ConfigError, LeaseUnavailable

REQUEST_S = 4.0
CONFLICT, MISSING = 409, 404


class LeaseApi:
    """``lib`` is the library, and ``None`` before the first ``connected``."""

    def __init__(self, kubeconfig: str) -> None:
        self.lib: Any = None
        self._kubeconfig = kubeconfig
        self._api: Any = None

    async def ask(self, call: Any, *, quiet: int | tuple[int, ...] = MISSING) -> Any:
        """The answer; None for one refused with (one of) the status ``quiet``. Raises LeaseUnavailable."""
        try:
            return await call
        except self.lib.ApiException as error:
            if error.status in (quiet if isinstance(quiet, tuple) else (quiet,)):
                return None
            raise LeaseUnavailable(
                f"Kubernetes does not serve the Lease: {error.status} {error.reason}"
            ) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise LeaseUnavailable(f"Kubernetes does not answer: {error or type(error).__name__}") from error

    async def connected(self) -> Any:
        """The library defines hundreds of classes: it is loaded when first needed, beside the loop."""
        if self._api is None:
            self.lib = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.client")
            config = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.config")
            found = self.lib.Configuration()
            try:
                if self._kubeconfig:
                    await config.load_kube_config(
                        config_file=self._kubeconfig, client_configuration=found, persist_config=False
                    )
                else:
                    config.load_incluster_config(client_configuration=found)
            except (config.ConfigException, OSError, ValueError, TypeError) as error:
                where = self._kubeconfig or "the pod's service account"
                raise ConfigError(
                    f"{where} cannot be used to reach Kubernetes ({type(error).__name__})", where="coordinate"
                ) from None
            self._api = self.lib.CoordinationV1Api(self.lib.ApiClient(found))
        return self._api

    async def close(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.api_client.close()
