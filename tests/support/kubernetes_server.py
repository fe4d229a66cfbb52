"""Kubernetes' own API server and controllers, with the definitions of Knative, KEDA and the operators, but no nodes.

What a kubelet or an operator would do, a test does by hand: nothing becomes ready by itself.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from knative.cluster.needs import Needs
from knative.lint.vendor import MODULES, module_folder
from knative.manifests.documents import KubernetesLoader
from tests.support.absent import absent
from tests.support.local_runner import until
from tests.support.overlays import production
from tests.support.ports import free_port

VERSION: Final = os.environ.get("KUBERNETES_VERSION", "1.34.2")
PROGRAMS: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    / "errands"
    / f"kubernetes-{VERSION}"  # .ci/kubernetes
)
TOKEN: Final = "errands-tests"  # of a server that lives for the tests


class KubernetesServer:
    """An API server on free ports of this machine; `kubeconfig` is for kubectl."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = free_port()
        self.kubeconfig = folder / "kubeconfig"

    def start(self) -> "KubernetesServer":
        """Start everything and wait until it answers."""
        etcd, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        urls = [f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peers}"]
        self._run("etcd", *urls, f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync")
        key = self._folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (self._folder / "tokens.csv").write_text(f"{TOKEN},tests,tests,system:masters\n")
        self._write_kubeconfig()
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=AlwaysAllow",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
        )
        until(lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok", poll_s=0.5, what="the API server")
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller",
            "--leader-elect=false",
            f"--secure-port={free_port()}",
            f"--cert-dir={self._folder / 'certificates-of-controllers'}",
        )
        return self

    def kubectl(self, *arguments: str, given: str = "", check: bool = True) -> str:
        """What kubectl prints."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def define(self) -> None:
        """The definitions of the production overlay's kinds, which the operators of a cluster would bring."""
        kinds = {each.kind for each in Needs(production().documents).kinds}
        files = (file for name, pattern in MODULES.items() for file in sorted(module_folder(name).glob(pattern)))
        definitions = [each for file in files for each in _definitions(file.read_text(), kinds)]
        self.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(definitions))
        self.kubectl("wait", "--for=condition=Established", "crds", "--all", "--timeout=60s")

    def stop(self) -> None:
        """End everything at once: nothing of it is kept."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("w") as log:
            command = [str(PROGRAMS / program), *arguments]
            self._processes.append(subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log))

    def _write_kubeconfig(self) -> None:
        server = {"server": f"https://127.0.0.1:{self._port}", "insecure-skip-tls-verify": True}
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "tests", "cluster": server}],
                    "users": [{"name": "tests", "user": {"token": TOKEN}}],
                    "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
                    "current-context": "tests",
                }
            )
        )


def _definitions(text: str, kinds: set[str]) -> Iterator[Any]:
    """Custom resource definitions of these kinds, without the webhooks that convert between their versions."""
    if not kinds & set(re.findall(r"^    kind: (\w+)$", text, re.MULTILINE)):
        return  # some are so large that to read them takes seconds
    for document in yaml.load_all(text, KubernetesLoader):
        if document and document["kind"] == "CustomResourceDefinition":
            document["spec"].pop("conversion", None)
            document.pop("status", None)
            yield document


@contextmanager
def kubernetes_server(folder: Path) -> Iterator[KubernetesServer]:
    """A started server with all definitions; skips the test where its programs are not built."""
    if not all((PROGRAMS / each).exists() for each in ("etcd", "kube-apiserver", "kube-controller-manager")):
        absent("Kubernetes is not built (.ci/kubernetes)")
    server = KubernetesServer(folder)
    try:
        server.start().define()
        yield server
    finally:
        server.stop()
