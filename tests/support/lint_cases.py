"""A sound shop, and for each rule the smallest change that breaks it, and one that almost does."""

from typing import NamedTuple

SINK = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: letters}}"
BROKER = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: shop}}"
SHOP = f"""\
apiVersion: eventing.knative.dev/v1alpha1
kind: RabbitmqBrokerConfig
metadata: {{name: shop}}
spec:
  rabbitmqClusterReference: {{name: rabbitmq}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: shop
  annotations:
    eventing.knative.dev/broker.class: RabbitMQBroker
spec:
  config: {{apiVersion: eventing.knative.dev/v1alpha1, kind: RabbitmqBrokerConfig, name: shop}}
  delivery:
    timeout: PT1M
    deadLetterSink: {SINK}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: letters
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/min-scale: "1"
    spec:
      containers:
        - image: shop/letters
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: resize
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/max-scale: "24"
        autoscaling.knative.dev/target-utilization-percentage: "100"
    spec:
      containerConcurrency: 1
      timeoutSeconds: 30
      containers:
        - image: shop/resize
          env:
            - name: TIMEOUT_S
              value: "20"
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: resize
  annotations:
    rabbitmq.eventing.knative.dev/parallelism: "24"
spec:
  broker: shop
  filter:
    attributes:
      type: shop.picture.added
  delivery:
    retry: 3
    backoffDelay: PT1S
    timeout: PT30S
    deadLetterSink: {SINK}
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: resize}}}}
"""
OTHER = """\
---
apiVersion: {version}
kind: {kind}
metadata: {{name: other}}
spec: {spec}
"""
SECOND = SHOP.rpartition("---\n")[2].replace("name: resize\n", "name: second\n").replace('"24"', '"12"')
HALF = SHOP.replace('parallelism: "24"', 'parallelism: "12"')
TRIGGER_SINK = f"    timeout: PT30S\n    deadLetterSink: {SINK}\n"
DELIVERY = f"  delivery:\n    retry: 3\n    backoffDelay: PT1S\n{TRIGGER_SINK}"
FILTER = "  filter:\n    attributes:\n      type: shop.picture.added\n"
SCALED = "{{scaleTargetRef: {{name: {}}}, triggers: [{{type: rabbitmq, metadata: {{{}}}}}]}}"
EVENT_TYPE = OTHER.format(
    version="eventing.knative.dev/v1beta3",
    kind="EventType",
    spec="{{attributes: [{{name: type, required: true, value: {}}}]}}",
).replace("{name: other}", "{{name: other}}")
PING = '{{schedule: "* * * * *", sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: shop}}{}}}}}'
SLOW = SHOP.replace("PT30S", "PT601S").replace("retry: 3", "retry: 0").replace('"24"', '"40"')
UID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
CHANNEL = "{apiVersion: messaging.knative.dev/v1beta1, kind: KafkaChannel}"
PINGED = SHOP.replace("shop.picture.added", "dev.knative.sources.ping")
RESIZE = "  name: resize\nspec:\n  template:"
NEEDING = "  name: resize\n  annotations: {{lint.errands.dev/needs: '{}'}}\nspec:\n  template:"
IMAGE = "      containers:\n        - image: shop/resize\n"
MOUNT = f"{IMAGE}          volumeMounts: [{{{{name: key, mountPath: {{}}}}}}]\n"
BOUND = (
    "{{sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: shop}}}},"
    " subject: {{apiVersion: {}, kind: {}, name: resize}}}}"
)
ANSWERING = "  name: resize\n  annotations: {{lint.errands.dev/answers: {}}}\nspec:\n  template:"


class Case(NamedTuple):
    """`breaks` and `almost` are whole manifests; `at` is on the line that is reported."""

    rule: str
    breaks: str
    almost: str
    at: str


def changed(*pairs: tuple[str, str], base: str = SHOP) -> str:
    for old, new in pairs:
        assert old in base, old
        base = base.replace(old, new)
    return base


def memory(*, limit: str, each: int, at_once: int | None = None, concurrency: int = 1) -> str:
    """The shop, where resize may take so much memory for each job."""
    variables = f'          env:\n            - {{name: FILL_MEMORY_LIMIT_BYTES, value: "{each}"}}\n'
    if at_once:
        variables += f'            - {{name: FILL_AT_ONCE, value: "{at_once}"}}\n'
    return changed(
        ("          env:\n", f"          resources: {{limits: {{memory: {limit}}}}}\n{variables}"),
        ("containerConcurrency: 1\n", f"containerConcurrency: {concurrency}\n"),
        ('max-scale: "24"', f'max-scale: "{24 if concurrency == 1 else 3}"'),
    )


def other(version: str, kind: str, spec: str, base: str = SHOP) -> str:
    return base + OTHER.format(version=version, kind=kind, spec=spec)


def in_namespaces(namespace: str, text: str) -> str:
    """Every resource in a namespace, as an overlay puts them."""
    block = text.replace("metadata:\n  name", f"metadata:\n  namespace: {namespace}\n  name")
    return block.replace("metadata: {name", f"metadata: {{namespace: {namespace}, name")


def scaled_by(host: str) -> str:
    """The shop, and a scaler that asks there how long a queue is."""
    return other(
        "keda.sh/v1alpha1", "ScaledObject", SCALED.format("printer", f"queueName: x, mode: QueueLength, host: '{host}'")
    )


CASES = [
    Case(
        "not-a-resource",
        other("shop.example/v1", "Shop", "{}").replace("name: other", "labels: {}"),
        other("shop.example/v1", "Shop", "{}"),
        "metadata: {labels",
    ),
    Case(
        "not-a-resource",
        changed(("  broker: shop\n", "  broker: shop\n  broker: shop\n")),
        changed(("  broker: shop\n", "  broker: shop # broker: shop\n")),
        "  broker: shop",
    ),
    Case(
        "unknown-kind",
        other("eventing.knative.dev/v1", "Brokr", "{}"),
        other("shop.example/v1", "Brokr", "{}"),
        "kind: Brokr",
    ),
    Case(
        "schema",
        changed(("backoffDelay", "backOffDelay")),
        changed(("retry: 3\n", "retry: 3\n    backoffPolicy: linear\n")),
        "    backOffDelay",
    ),
    Case("schema", changed(("retry: 3", 'retry: "3"')), changed(("retry: 3", "retry: 4")), 'retry: "3"'),
    Case("schema", changed(('max-scale: "24"', "max-scale: 24")), changed(), "max-scale: 24"),
    Case("schema", other("v1", "ConfigMap", "{}"), other("shop.example/v1", "Shop", "{}"), "spec: {}"),
    Case(
        "unknown-annotation",
        changed(('min-scale: "1"\n', 'min-scale: "1"\n        autoscaling.knative.dev/max-scal: "1"\n')),
        changed(('min-scale: "1"\n', 'min-scale: "1"\n        autoscaling.knative.dev/maxScale: "1"\n')),
        "max-scal:",
    ),
    Case(
        "misplaced-annotation",
        changed(("  name: letters\n", "  name: letters\n  annotations: {autoscaling.knative.dev/min-scale: '1'}\n")),
        changed(("  name: letters\n", "  name: letters\n  annotations: {serving.knative.dev/creator: me}\n")),
        "  annotations: {autoscaling",
    ),
    Case(
        "broker-without-sink",
        changed((f"    timeout: PT1M\n    deadLetterSink: {SINK}\n", "    timeout: PT1M\n")),
        changed(
            (
                f"    timeout: PT1M\n    deadLetterSink: {SINK}\n",
                "    timeout: PT1M\n    deadLetterSink: {uri: http://x}\n",
            )
        ),
        "  delivery:",
    ),
    Case(
        "trigger-without-sink",
        changed((TRIGGER_SINK, "    timeout: PT30S\n")),
        changed((DELIVERY, ""), ("PT1M", "PT30S")),
        "  delivery:",
    ),
    Case(
        "unknown-broker",
        changed(("  broker: shop\n", "  broker: shopp\n")),
        changed(("  broker: shop\n", "  brokerRef: {name: shop}\n")),
        "  broker: shopp",
    ),
    Case("no-timeout", changed(("    timeout: PT30S\n", "")), changed(), "  delivery:"),
    Case("bad-delivery", changed(("PT30S", "30s")), changed(("PT30S", "PT0.5M")), "timeout: 30s"),
    Case(
        "bad-delivery",
        changed(("    retry: 3\n", "    retry: 3\n    backoffPolicy: fixed\n")),
        changed(("    retry: 3\n", "    retry: 3\n    backoffPolicy: linear\n")),
        "    backoffPolicy",
    ),
    Case(
        "no-effect",
        changed(("    retry: 3\n", "    retry: 3\n    retryAfterMax: PT9S\n")),
        changed(("    retry: 3\n", "    retry: 0\n")),
        "    retryAfterMax",
    ),
    Case(
        "no-effect",
        other("eventing.knative.dev/v1alpha1", "EventPolicy", "{to: []}"),
        other("eventing.knative.dev/v1alpha1", "EventPolicy", "{to: []}").replace("RabbitMQBroker", "Kafka"),
        "kind: EventPolicy",
    ),
    # 100 x (4 x 30 + 2 + 4 + 8 s) / 7 = 1914 s, / 8 = 1675 s
    Case(
        "consumer-timeout",
        changed(('"24"', '"7"')),
        changed(('"24"', '"8"')),
        "  delivery:",
    ),
    Case(
        "sink-scales-to-zero",
        changed(('min-scale: "1"', 'min-scale: "0"')),
        changed(("min-scale", "minScale")),
        'min-scale: "0"',
    ),
    Case(
        "sink-replies",
        changed(("  name: letters\n", "  name: letters\n  annotations: {lint.errands.dev/answers: a}\n")),
        changed((RESIZE, ANSWERING.format("a"))),
        "metadata:",
    ),
    Case(
        "sink-in-the-way",
        changed((TRIGGER_SINK, f"    timeout: PT30S\n    deadLetterSink: {BROKER}\n")),
        changed(),
        "    deadLetterSink",
    ),
    Case(
        "broker-class",
        changed(("  annotations:\n    eventing.knative.dev/broker.class: RabbitMQBroker\n", "")),
        changed(),
        "metadata:",
    ),
    Case(
        "broker-config",
        changed(("kind: RabbitmqBrokerConfig, name", "kind: ConfigMap, name")),
        changed(
            (
                "{apiVersion: eventing.knative.dev/v1alpha1, kind: RabbitmqBrokerConfig, name: shop}",
                "{apiVersion: rabbitmq.com/v1beta1, kind: RabbitmqCluster, name: rabbitmq}",
            )
        ),
        "  config:",
    ),
    Case(
        "classic-queue",
        changed(("  rabbitmqClusterReference", "  queueType: classic\n  rabbitmqClusterReference")),
        changed(("  rabbitmqClusterReference", "  queueType: quorum\n  rabbitmqClusterReference")),
        "  queueType",
    ),
    Case(
        "filters-ignored",
        changed((FILTER, "  filters: [{exact: {type: shop.picture.added}}]\n")),
        changed(),
        "  filters:",
    ),
    Case(
        "empty-filter-value",
        changed(("shop.picture.added", '""')),
        changed(("shop.picture.added", "' '")),
        '      type: ""',
    ),
    Case(
        "filter-on-datacontenttype",
        changed(("shop.picture.added", "a\n      datacontenttype: application/json")),
        changed(("shop.picture.added", "a\n      dataschema: application/json")),
        "      datacontenttype",
    ),
    Case(
        "never-emitted",
        HALF + "---\n" + SECOND.replace("added", "aded") + EVENT_TYPE.format("shop.picture.added"),
        changed(("added\n", "added\n      source: /a\n")) + EVENT_TYPE.format("shop.picture.added"),
        "      type: shop.picture.aded",
    ),
    Case(
        "unwanted-event",
        SHOP + EVENT_TYPE.format("shop.picture.added") + EVENT_TYPE.format("shop.order.paid"),
        SHOP + EVENT_TYPE.format("shop.picture.added") + EVENT_TYPE.format("shop.picture.added"),
        "value: shop.order.paid",
    ),
    Case(
        "loop",
        changed((RESIZE, ANSWERING.format("shop.picture.added"))),
        changed((RESIZE, ANSWERING.format("shop.picture.resized"))),
        "metadata:",
    ),
    Case("catch-all", changed((FILTER, "")), changed((FILTER, "  filter: {attributes: {outcome: failed}}\n")), "spec:"),
    Case(
        "delivered-twice",
        HALF + "---\n" + SECOND.replace("added\n", "added\n      source: /a\n"),
        HALF + "---\n" + SECOND.replace("shop.picture.added", "shop.picture.changed"),
        "  filter:",
    ),
    Case(
        "unknown-service",
        changed(("kind: Service, name: resize", "kind: Service, name: risize")),
        changed(("serving.knative.dev/v1, kind: Service, name: resize", "v1, kind: Service, name: x")),
        "  subscriber:",
    ),
    Case(
        "not-the-ingress",
        other("sources.knative.dev/v1", "PingSource", PING.format(", uri: /events"), PINGED),
        other("sources.knative.dev/v1", "PingSource", PING.format(", uri: /"), PINGED),
        "spec: {schedule",
    ),
    Case(
        "not-the-ingress",
        changed(('value: "20"', "value: http://shop-broker-ingress.default.svc/default/shop")),
        changed(('value: "20"', "value: http://shop-broker-ingress.default.svc.cluster.local/")),
        "value: http:",
    ),
    Case(
        "other-namespace",
        in_namespaces("shop", changed(('value: "20"', "value: http://letters.shop2.svc.cluster.local/"))),
        in_namespaces("shop", changed(('value: "20"', "value: http://letters.shop.svc.cluster.local/"))),
        "value: http:",
    ),
    Case(
        "other-namespace",
        in_namespaces("shop", scaled_by("amqp://rabbitmq.default.svc:5672/")),
        scaled_by("amqp://rabbitmq.default.svc:5672/"),
        "spec: {scaleTargetRef",
    ),
    Case(
        "scaler-host-without-namespace",
        scaled_by("amqp://rabbitmq:5672/"),
        scaled_by("amqp://rabbitmq.mq:5672/"),
        "spec: {scaleTargetRef",
    ),
    Case(
        "sink-binding-on-service",
        other("sources.knative.dev/v1", "SinkBinding", BOUND.format("serving.knative.dev/v1", "Service")),
        other("sources.knative.dev/v1", "SinkBinding", BOUND.format("apps/v1", "Deployment")),
        "spec: {sink",
    ),
    Case(
        "file-not-mounted",
        changed(('value: "20"', "value: /var/run/secrets/shop/key"), (IMAGE, MOUNT.format("/var/run/secrets/shops"))),
        changed(('value: "20"', "value: /var/run/secrets/shop/key"), (IMAGE, MOUNT.format("/var/run/secrets/shop"))),
        "value: /var",
    ),
    *(
        Case(
            "needs-a-feature",
            changed((IMAGE, f"{given}{IMAGE}")),
            changed((IMAGE, f"{given}{IMAGE}"), (RESIZE, NEEDING.format(", ".join(features)))),
            given.strip(),
        )
        for given, *features in (
            ("      tolerations: []\n", "kubernetes.podspec-tolerations"),
            ("      initContainers: [{image: shop/fill}]\n", "kubernetes.podspec-init-containers"),
            ("      volumes: [{name: a, hostPath: {path: /a}}]\n", "kubernetes.podspec-volumes-hostpath"),
            (
                "      volumes: [{name: a, persistentVolumeClaim: {claimName: a}}]\n",
                "kubernetes.podspec-persistent-volume-claim",
                "kubernetes.podspec-persistent-volume-write",
            ),
        )
    ),
    Case(
        "needs-a-feature",
        changed(('              value: "20"', "              valueFrom: {fieldRef: {fieldPath: metadata.namespace}}")),
        changed((IMAGE, f"      volumes: [{{name: a, emptyDir: {{sizeLimit: 1Gi}}}}]\n{IMAGE}")),
        "valueFrom",
    ),
    Case(
        "timeout-too-long",
        changed(("timeoutSeconds: 30", "timeoutSeconds: 601"), base=SLOW),
        changed(("timeoutSeconds: 30", "timeoutSeconds: 600"), base=SLOW),
        "timeoutSeconds: 601",
    ),
    Case("attempt-outlives-trigger", changed(("PT30S", "PT29S")), changed(("PT30S", "PT31S")), "timeout: PT29S"),
    Case("work-outlives-request", changed(('"20"', '"30"')), changed(('"20"', '"29.9"')), 'value: "30"'),
    Case(
        "bad-parallelism",
        changed(('parallelism: "24"', 'parallelism: "1001"'), ('max-scale: "24"', 'max-scale: "1001"')),
        changed(('parallelism: "24"', 'parallelism: "1000"'), ('max-scale: "24"', 'max-scale: "1000"')),
        'parallelism: "1001"',
    ),
    Case("too-parallel", changed(('parallelism: "24"', 'parallelism: "25"')), changed(), 'parallelism: "25"'),
    Case(
        "hardly-parallel",
        changed(('max-scale: "24"', 'max-scale: "49"')),
        changed(('max-scale: "24"', 'max-scale: "48"')),
        'parallelism: "24"',
    ),
    Case(
        "idle-share",
        changed(('        autoscaling.knative.dev/target-utilization-percentage: "100"\n', "")),
        changed(
            ('        autoscaling.knative.dev/target-utilization-percentage: "100"\n', ""),
            ("ncy: 1", "ncy: 2"),
            ('max-scale: "24"', 'max-scale: "12"'),
        ),
        "containerConcurrency: 1",
    ),
    Case(
        "scaler-on-dispatcher",
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("resize-dispatcher", "queueName: x")),
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("resize-worker", "queueName: x")),
        "spec: {scaleTargetRef",
    ),
    Case(
        "scaler-on-dispatcher",
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("w", f"queueName: default.resize.{UID}")),
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("w", "queueName: default.resize")),
        "spec: {scaleTargetRef",
    ),
    Case(
        "memory-over-limit",
        memory(limit="1Gi", each=1 << 30),
        memory(limit="1025Mi", each=1 << 30),
        f'value: "{1 << 30}"',
    ),
    Case(
        "memory-over-limit",
        memory(limit="1000M", each=250_000_000, at_once=4),
        memory(limit="1G", each=250_000_000, at_once=3),
        'value: "250000000"',
    ),
    Case(
        "memory-over-limit",
        memory(limit="320Mi", each=256 << 20, concurrency=10),
        memory(limit="320Mi", each=16 << 20, concurrency=10),
        f'value: "{256 << 20}"',
    ),
    Case(
        "runs-on-channels",
        other("flows.knative.dev/v1", "Sequence", "{steps: []}"),
        other("flows.knative.dev/v1", "Sequence", f"{{steps: [], channelTemplate: {CHANNEL}}}"),
        "kind: Sequence",
    ),
    Case(
        "scaler-mode-needs-http",
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("w", "protocol: amqp, mode: MessageRate")),
        other("keda.sh/v1alpha1", "ScaledObject", SCALED.format("w", "protocol: http, mode: MessageRate")),
        "spec: {scaleTargetRef",
    ),
    Case(
        "secret-in-plain-text",
        changed(("name: TIMEOUT_S", "name: SMTP_PASSWORD")),
        changed(("name: TIMEOUT_S", "name: SMTP_PASSWORD_FILE")),
        'value: "20"',
    ),
    Case(
        "secret-in-plain-text",
        changed(('value: "20"', "value: amqp://me:hidden@rabbitmq")),
        changed(('value: "20"', "value: amqp://me:$(PASSWORD)@rabbitmq")),
        "value: amqp:",
    ),
    Case(
        "secret-in-plain-text",
        other("v1", "Secret", "").replace("spec: ", "stringData: {password: hidden}"),
        other("v1", "Secret", "").replace("spec: ", "stringData: {}"),
        "stringData:",
    ),
    Case(
        "flow-asks-the-machine",
        changed(("name: TIMEOUT_S", "name: FLOWS"), ('value: "20"', "value: tests.support.unrepeatable_flow")),
        changed(("name: TIMEOUT_S", "name: FLOWS"), ('value: "20"', "value: functions.flows.examples.onboarding")),
        "value: tests.support",
    ),
    Case(
        "flow-has-no-longest-time",
        changed(("name: TIMEOUT_S", "name: FLOWS"), ("picture.added", "picture.requested.v1")),
        changed(
            ("name: TIMEOUT_S", "name: FLOWS"),
            ("picture.added", "picture.requested.v1"),
            ("    rabbitmq.eventing", "    errands.dev/longest-flow: P1D\n    rabbitmq.eventing"),
        ),
        "type: shop.picture.requested.v1",
    ),
]
