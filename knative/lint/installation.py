"""Rules about what a default installation of Knative has not switched on."""

from collections.abc import Iterator

from knative.lint.findings import Flaw, rule
from knative.lint.resources import Resources
from knative.manifests.features import NEEDS, ON_BY_DEFAULT, features, needed


@rule(
    "needs-a-feature",
    "error",
    consequence="Serving's webhook refuses the Service where its config-features are as they were installed",
    fix=f"do without; or enable it in ConfigMap config-features of knative-serving, and say so: {NEEDS} on the Service",
)
def needs_a_feature(resources: Resources) -> Iterator[Flaw]:
    """A Service that uses a feature which is off by default, and does not say that it needs it."""
    for service in resources.services.values():
        known = ON_BY_DEFAULT | set(needed(service))
        for feature, place in features(service):
            if feature not in known:
                yield Flaw(place, f"{place.path[-1]} needs {feature}")
